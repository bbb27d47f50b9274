"""Messages of an archive, replayed: what an experiment holds after them. Pure but for reading the archive's lines.

What is changed later counts last, as it would at the service. A message of a kind that says nothing about the run is passed over; a line
that is no message is counted, and told as a problem of the run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any
from zipfile import BadZipFile, ZipFile

import orjson

from multitrack.backend import TAG_RUN_ID
from multitrack.errors import PermanentError

from . import names
from .archive import Archive
from .decode import metric_name, metric_value
from .native import CHUNK, Column, ConsoleText, NativeAsset, NativeRun

_METRIC = b'"type":"metric_msg"}\n'
"""How the line of a metric ends, as Comet's SDK writes it."""
_POINT = b'"metric"'
_VALUES = frozenset((int, float, str, bool))
_STEPS = frozenset((int, float, type(None)))
_PATCH_LENGTH = 64 << 20


@dataclass(frozen=True)
class ArchivedRun:
    """An experiment, and where its files are."""

    native: NativeRun
    parts: Sequence[Archive]
    """In the order in which they were recorded."""
    files: Mapping[str, tuple[Archive, str]]
    """By asset id: which archive, and the file's name in it."""
    damaged: int
    """Lines that are no messages, or not whole ones; points aside."""


def replay(parts: Sequence[Archive], project: str) -> ArchivedRun:
    """Return what the archives of one experiment hold, all but its points; `project` is that of a run that names none.

    Raises:
        PermanentError: one of them is damaged.
    """
    state = _State()
    for part in parts:
        state.archive = part
        point = b""
        for line in part.lines():
            if not line.endswith(_METRIC):
                state.take(line)
            else:
                point = line
        if point:
            state.take(point)  # for its time
    return ArchivedRun(_native(state, parts, project), parts, state.files, state.damaged)


def columns(parts: Sequence[Archive], note: Callable[[], None]) -> Iterator[Column]:
    """Yield the points, at most `CHUNK` at a time, in the order in which such chunks were filled; call `note` for each that is damaged."""
    open_columns: dict[tuple[str, str | None], Column] = {}
    for part in parts:
        for line in part.lines():
            payload = _metric_payload(line) if _POINT in line else None
            if payload is None:
                if line.endswith(_METRIC):
                    note()
                continue
            metric = payload["metric"]
            key = metric["metricName"], payload.get("context")
            column = open_columns.get(key)
            if column is None:
                column = open_columns[key] = Column(metric_name(str(key[0]), key[1]), [], [], [], [])
            column.times.append(payload["local_timestamp"])
            value = metric["metricValue"]
            column.values.append(value if type(value) is float else metric_value(value))
            column.steps.append(metric.get("step"))  # type: ignore[union-attr]
            column.epochs.append(metric.get("epoch"))  # type: ignore[union-attr]
            if len(column.times) >= CHUNK:
                yield _closed(open_columns.pop(key))
    yield from map(_closed, open_columns.values())


def _metric_payload(line: bytes) -> Mapping[str, Any] | None:
    message = _parse(line)
    if message is None or message[0] not in ("metric_msg", "ws_msg"):
        return None
    payload = message[1]
    metric = payload.get("metric")
    is_point = (
        type(metric) is dict
        and type(metric.get("metricName")) is str
        and type(metric.get("metricValue")) in _VALUES
        and type(metric.get("step")) in _STEPS
        and type(metric.get("epoch")) in _STEPS
        and type(payload.get("local_timestamp")) is int
    )
    return payload if is_point else None


def _closed(column: Column) -> Column:
    """Return the column without steps or epochs that no point has."""
    for field_ in ("steps", "epochs"):
        if all(value is None for value in getattr(column, field_)):
            setattr(column, field_, None)
    return column


def _parse(line: bytes) -> tuple[str, dict[str, Any]] | None:
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            message = json.loads(line)  # ints beyond 64 bits, NaN, lone surrogates
        except (ValueError, RecursionError):
            return None
    if not isinstance(message, dict) or not isinstance(message.get("payload"), dict):
        return None
    return str(message.get("type")), message["payload"]


# -- the run ----------------------------------------------------------------------------------------------------------


@dataclass
class _State:
    """What the messages so far have made of the run."""

    archive: Archive | None = None
    others: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    patch: str | None = None
    file_name: str | None = None
    packages: list[str] = field(default_factory=list)
    os_packages: list[str] = field(default_factory=list)
    system: dict[str, Any] = field(default_factory=dict)
    gpus: list[dict[str, Any]] = field(default_factory=list)
    output: list[ConsoleText] = field(default_factory=list)
    assets: dict[str, NativeAsset] = field(default_factory=dict)
    files: dict[str, tuple[Archive, str]] = field(default_factory=dict)
    html: str | None = None
    graph: str | None = None
    damaged: int = 0
    mark: str = ""
    """Something that no other run has: the first time or id in its messages."""
    first: int | None = None
    last: int | None = None
    """Milliseconds: of the first and the last message that has a time."""

    def take(self, line: bytes) -> None:
        """Take a message in."""
        message = _parse(line)
        if message is None:
            self.damaged += 1
            return
        kind, payload = message
        self._note_time(payload)
        takes = _TAKES.get(kind)
        if takes is not None:
            try:
                takes(self, payload)
            except (KeyError, TypeError, ValueError, AttributeError):
                self.damaged += 1

    def _note_time(self, payload: Mapping[str, Any]) -> None:
        time = payload.get("local_timestamp")
        if isinstance(time, int):
            self.first = time if self.first is None else min(self.first, time)
            self.last = time if self.last is None else max(self.last, time)
        if not self.mark:
            asset_id = (payload.get("additional_params") or {}).get("assetId")
            self.mark = f"{time}{asset_id or ''}" if time is not None or asset_id else ""

    def take_other(self, payload: Mapping[str, Any]) -> None:
        self.others[str(payload["key"])] = payload["value"]

    def take_params(self, payload: Mapping[str, Any]) -> None:
        param = payload.get("param") or payload["params"]
        self.params[str(param["paramName"])] = param["paramValue"]

    def take_git(self, payload: Mapping[str, Any]) -> None:
        self.git = dict(payload["git_metadata"])

    def take_file_name(self, payload: Mapping[str, Any]) -> None:
        self.file_name = str(payload["file_name"])

    def take_packages(self, payload: Mapping[str, Any]) -> None:
        self.packages = [str(line) for line in payload["installed_packages"]]

    def take_os_packages(self, payload: Mapping[str, Any]) -> None:
        self.os_packages = [str(line) for line in payload["os_packages"]]

    def take_system(self, payload: Mapping[str, Any]) -> None:
        self.system = dict(payload)

    def take_gpus(self, payload: Mapping[str, Any]) -> None:
        self.gpus = [dict(gpu) for gpu in payload["gpu_static_info"]]

    def take_output(self, payload: Mapping[str, Any]) -> None:
        self.output.append(ConsoleText(str(payload["output"]), payload.get("local_timestamp"), bool(payload.get("stderr"))))

    def take_html(self, payload: Mapping[str, Any]) -> None:
        self.html = (self.html or "") + str(payload["html"])

    def take_html_override(self, payload: Mapping[str, Any]) -> None:
        self.html = str(payload["htmlOverride"])

    def take_graph(self, payload: Mapping[str, Any]) -> None:
        self.graph = str(payload["graph"])

    def take_dependency(self, payload: Mapping[str, Any]) -> None:
        self.packages.append(f"{payload['name']}=={payload['version']}")

    def take_upload(self, payload: Mapping[str, Any]) -> None:
        file = str(payload["file_path"])
        if payload["upload_type"] == names.GIT_PATCH:
            self.patch = self._read_patch(file)
            return
        details = payload.get("additional_params") or {}
        asset_id = str(details.get("assetId") or details.get("imageId") or file)
        assert self.archive is not None  # noqa: S101 - `replay` sets it
        self.assets.pop(asset_id, None)
        self.assets[asset_id] = replace(_asset(asset_id, payload, details), size=self.archive.size(file))
        self.files[asset_id] = (self.archive, file)

    def take_remote(self, payload: Mapping[str, Any]) -> None:
        details = payload.get("additional_params") or {}
        asset_id = str(details.get("assetId") or payload["remote_uri"])
        self.assets.pop(asset_id, None)
        self.assets[asset_id] = replace(_asset(asset_id, payload, details), uri=str(payload["remote_uri"]))

    def take_remote_model(self, payload: Mapping[str, Any]) -> None:
        for number, asset in enumerate(payload["remote_assets"]):
            uri, name = str(asset["uri"]), str(asset.get("logical_path") or asset["uri"])
            asset_id = f"{payload['model_name']}/{number}/{name}"
            self.assets[asset_id] = NativeAsset(id=asset_id, name=name, uri=uri, model=str(payload["model_name"]))

    def take_old(self, payload: Mapping[str, Any]) -> None:
        """Take in a message of Comet's SDK before 3.31, of which one kind had everything."""
        for key, takes in _OLD.items():
            if payload.get(key) is not None:
                takes(self, payload)

    def _read_patch(self, file: str) -> str | None:
        """Return the patch in the zip that Comet keeps it in."""
        assert self.archive is not None  # noqa: S101 - `replay` sets it
        try:
            with self.archive.reading(file) as packed:
                content = packed.read(_PATCH_LENGTH)
            with ZipFile(BytesIO(content)) as patch, patch.open(names.PATCH_MEMBER) as member:
                return member.read(_PATCH_LENGTH).decode("utf-8", "surrogateescape")
        except (BadZipFile, KeyError, PermanentError):
            self.damaged += 1
            return None


def _asset(asset_id: str, payload: Mapping[str, Any], details: Mapping[str, Any]) -> NativeAsset:
    metadata = payload.get("metadata")
    return NativeAsset(
        id=asset_id,
        name=str(details.get("fileName") or details.get("figName") or asset_id),
        type=str(details.get("type") or payload["upload_type"]),
        step=details.get("step"),
        time=payload.get("local_timestamp"),
        metadata=metadata if isinstance(metadata, dict) else {},
        model=details.get("groupingName"),
    )


_Take = Callable[[_State, Mapping[str, Any]], None]
_TAKES: dict[str, _Take] = {
    "log_other": _State.take_other,
    "parameter_msg": _State.take_params,
    "git_metadata": _State.take_git,
    "file_name": _State.take_file_name,
    "installed_packages": _State.take_packages,
    "os_packages": _State.take_os_packages,
    "system_details": _State.take_system,
    "gpu_static_info": _State.take_gpus,
    "standard_output": _State.take_output,
    "html": _State.take_html,
    "htmlOverride": _State.take_html_override,
    "graph": _State.take_graph,
    "log_dependency": _State.take_dependency,
    "file_upload": _State.take_upload,
    "remote_file": _State.take_remote,
    "remote_model": _State.take_remote_model,
    "ws_msg": _State.take_old,
}
_OLD: dict[str, _Take] = {
    "param": _State.take_params,
    "params": _State.take_params,
    "html": _State.take_html,
    "htmlOverride": _State.take_html_override,
    "graph": _State.take_graph,
    "installed_packages": _State.take_packages,
    "os_packages": _State.take_os_packages,
    "gpu_static_info": _State.take_gpus,
    "log_other": lambda state, payload: state.take_other({"key": payload["log_other"]["key"], "value": payload["log_other"]["val"]}),
    "fileName": lambda state, payload: state.take_file_name({"file_name": payload["fileName"]}),
    "git_meta": lambda state, payload: state.take_git({"git_metadata": payload["git_meta"]}),
    "env_details": lambda state, payload: state.take_system(payload["env_details"]),
    "log_dependency": lambda state, payload: state.take_dependency(payload["log_dependency"]),
    "stdout": lambda state, payload: state.take_output({**payload, "output": payload["stdout"]}),
}


def _native(state: _State, parts: Sequence[Archive], project: str) -> NativeRun:
    told = [part.metadata() for part in parts]
    known = [found for found in (*told, *(part.beginning() for part in parts)) if found is not None]
    is_ours = TAG_RUN_ID in state.others
    is_whole = told[-1] is not None
    starts = [int(found["start_time"]) for found in known if found.get("start_time") is not None]
    ends = [int(found["stop_time"]) for found in told if found is not None and found.get("stop_time") is not None]
    trouble = [str(found.get("customer_error_message")) for found in known if found.get("customer_error_reported")]
    return NativeRun(
        key=_key(state, parts, known),
        project=next((str(found["project_name"]) for found in known if found.get("project_name")), project),
        workspace=next((str(found["workspace"]) for found in known if found.get("workspace")), None),
        start=min(starts, default=state.first),
        end=max(ends, default=None) if is_whole else None if is_ours else state.last,
        state="finished" if is_whole else "running" if is_ours else "crashed",
        trouble="; ".join(trouble) or None,
        tags=list(dict.fromkeys(str(tag) for found in known for tag in found.get("tags") or ())),
        others=state.others,
        params=state.params,
        git=state.git,
        patch=state.patch,
        file_name=state.file_name,
        packages=state.packages,
        os_packages=state.os_packages,
        system=state.system,
        gpus=state.gpus,
        output=state.output,
        assets=list(state.assets.values()),
        html=state.html,
        graph=state.graph,
        deleted=bool(is_ours and state.others.get(names.OTHER_DELETED)),
        version="/".join(part.version() for part in parts),
    )


def _key(state: _State, parts: Sequence[Archive], known: Sequence[Mapping[str, Any]]) -> str:
    """Return the experiment's key. The folder of a killed run does not know it: there a text stands in that no other run has."""
    told = next((str(found["offline_id"]) for found in known if found.get("offline_id")), None)
    return told or next((part.key for part in parts if part.key), None) or f"killed-{state.mark or parts[0].path.name}"

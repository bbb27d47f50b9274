"""From Comet's words to records. Pure: `names` holds the table, the readers bring the words, nothing here asks a service.

What is **ours** is a run that has the other `multitrack.run_id`: only there does what starts with `multitrack` mean what the table says.
In anybody else's run those are others and assets like any.

Everything comes back from Comet's service as text. In a run that is not ours, the text of a metric's value is a float where Python reads
one; the text of a param is an int or a float where Python writes that number in exactly these characters, a bool where it is `True` or
`False`, and stays text otherwise. An archive has the types that the user gave; they stay.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit, urlunsplit

import orjson
from pydantic import ValidationError

from multitrack.backend import TAG_PARENT, TAG_RUN_ID, RunRef, derive_run_id
from multitrack.errors import RecordError
from multitrack.records import (
    RUN_ID,
    Artifact,
    CaptureFailed,
    CodeVersion,
    DataVersion,
    Environment,
    Gpu,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Microseconds,
    Model,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunStatus,
    RunUpdated,
    Summary,
    Value,
    from_wire,
)

from . import names
from .encode import error_text, text_file
from .native import CHUNK, Column, NativeAsset, NativeRun, microseconds

RecordType = TypeVar("RecordType", bound=Record)
Read = Callable[[NativeAsset], bytes]
"""Gives an asset's content."""

_BRANCH = "refs/heads/"
_STATUSES = frozenset(("scheduled", "running", "finished", "failed", "killed", "crashed"))
_OUR_OTHERS = frozenset(
    (
        TAG_PARENT, names.OTHER_NAME, names.OTHER_STATUS, names.OTHER_ERROR, names.OTHER_GROUP, names.OTHER_JOB_TYPE, names.OTHER_USER,
        names.OTHER_HOST, names.OTHER_REPRODUCES, names.OTHER_BATCHES, names.OTHER_DELETED,
    )
)  # fmt: skip
_TEXT_SAMPLE = "auto-generated-in-the-backend"


# -- identity ---------------------------------------------------------------------------------------------------------


def is_ours(run: NativeRun) -> bool:
    """Return whether multitrack wrote the run."""
    return RUN_ID.fullmatch(str(run.others.get(TAG_RUN_ID, ""))) is not None


def neutral_id(run: NativeRun) -> str:
    """Return the run's neutral id: its other `multitrack.run_id`, else its key, else one derived from it."""
    return str(run.others[TAG_RUN_ID]) if is_ours(run) else key_to_neutral(run.key, run.project)


def key_to_neutral(key: str, project: str) -> str:
    """Return the neutral id of a run that carries none."""
    return key if RUN_ID.fullmatch(key) else derive_run_id("comet", project, key)


def started_at(run: NativeRun) -> Microseconds:
    """Return when the run started; a run without a start has its end for one, and the epoch failing that."""
    return next((at * 1000 for at in (run.start, run.end) if at is not None), 0)


def status_of(run: NativeRun) -> RunStatus:
    """Return how the run stands: as we noted it, else as Comet has it."""
    noted = run.others.get(names.OTHER_STATUS) if is_ours(run) else None
    return cast(RunStatus, noted) if noted in _STATUSES else run.state


def name_of(run: NativeRun) -> str | None:
    """Return the run's name."""
    name = run.others.get(names.OTHER_NAME)
    return None if name is None else _text(name)


def reference(run: NativeRun, metrics: Mapping[str, Any] | None = None) -> RunRef:
    """Return the run as a listing shows it; `metrics` are the values that stand for its metrics, as far as they are known."""
    return RunRef(
        id=neutral_id(run),
        native_id=run.key,
        project=run.project,
        name=name_of(run),
        status=status_of(run),
        started=microseconds(run.start),
        ended=microseconds(run.end),
        parent=_parent(run),
        tags=all_tags(run),
        params=_flat(params_of(run)),
        metrics=metrics,
        deleted=run.deleted,
        url=run.url,
        version=run.version,
    )


def _parent(run: NativeRun) -> str | None:
    parent = str(run.others.get(TAG_PARENT, ""))
    return parent if is_ours(run) and RUN_ID.fullmatch(parent) else None


# -- the run's life ---------------------------------------------------------------------------------------------------


def records(run: NativeRun, columns: Iterable[Column], read: Read) -> Iterator[Record]:
    """Yield everything that Comet holds of the run; see `names` for what becomes what.

    Args:
        run: the run.
        columns: its points.
        read: called for our own documents alone.
    """
    documents = _Documents(run, read)
    yield run_started(run, documents.notes())
    code = code_version(run, documents.one(CodeVersion, names.CODE_FILE))
    yield from [code] if code is not None else []
    environments = list(documents.all(Environment, names.ENVIRONMENT_FILES))
    yield from environments or _environment(run)
    yield from documents.all(DataVersion, names.DATA_FILES)
    yield from documents.all(MetricDefinition, names.DEFINITION_FILES)
    yield from _hyperparameters(run)
    yield from all_points(run, columns)
    yield from _summary(run)
    yield from documents.console() if is_ours(run) else _output(run)
    yield from _captures_failed(run, documents)
    yield from documents.all(Model, names.MODEL_FILES) if is_ours(run) else _models(run)
    ending = list(_ending(run, documents))  # which consumes a document
    yield from (artifact for asset, artifact in artifacts(run) if asset.id not in documents.consumed)
    yield from ending


def run_started(run: NativeRun, notes: str | None = None) -> RunStarted:
    """Return the run's first record. Others that no field holds are tags."""
    ours = {key: _text(value) for key, value in run.others.items()} if is_ours(run) else {}
    return RunStarted(
        time=started_at(run),
        id=neutral_id(run),
        project=run.project,
        name=name_of(run),
        parent=_parent(run),
        tags={name: value for name, value in all_tags(run).items() if not _stands_elsewhere(name, ours=bool(ours))},
        notes=notes,
        user=ours.get(names.OTHER_USER) or (None if ours else _text(run.system.get("user") or run.git.get("user") or "") or None),
        group=ours.get(names.OTHER_GROUP),
        job_type=ours.get(names.OTHER_JOB_TYPE),
        host=ours.get(names.OTHER_HOST) or (None if ours else _text(run.system.get("hostname") or "") or None),
        reproduces=ours.get(names.OTHER_REPRODUCES),
    )


def all_tags(run: NativeRun) -> dict[str, str | None]:
    """Return tags and others as tags: an other with its value, a tag without one."""
    tags: dict[str, str | None] = dict.fromkeys(sorted(run.tags))
    tags |= {name: _text(value) for name, value in sorted(run.others.items())}
    if not is_ours(run):
        return tags
    return {name: None if value == names.BARE else value for name, value in tags.items() if value != names.REMOVED}


def _stands_elsewhere(name: str, *, ours: bool) -> bool:
    if name == names.OTHER_NAME:
        return True
    return ours and (name in _OUR_OTHERS or name.startswith((names.OTHER_SUMMARY, names.OTHER_CAPTURE_FAILED)))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _captures_failed(run: NativeRun, documents: _Documents) -> Iterator[CaptureFailed]:
    for name, error in sorted(run.others.items()):
        if is_ours(run) and name.startswith(names.OTHER_CAPTURE_FAILED):
            yield CaptureFailed(
                time=started_at(run), what=name.removeprefix(names.OTHER_CAPTURE_FAILED), error=documents.text(name, _text(error))
            )
    if run.trouble and not is_ours(run):
        yield CaptureFailed(time=started_at(run), what="comet", error=run.trouble)


def _ending(run: NativeRun, documents: _Documents) -> Iterator[RunUpdated | RunFinished]:
    status = status_of(run)
    last = microseconds(run.end) if run.end is not None else started_at(run)
    going_on = status if status in ("running", "scheduled") else None
    if going_on is not None or run.deleted:
        yield RunUpdated(time=last or 0, status=going_on, deleted=run.deleted or None)
    if going_on is None:
        error = all_tags(run).get(names.OTHER_ERROR) if is_ours(run) else None
        text = None if error is None else documents.text(names.OTHER_ERROR, error)
        yield RunFinished(time=last or 0, status=cast(Any, status), error=text)


# -- points -----------------------------------------------------------------------------------------------------------


def metric_name(name: str, context: str | None) -> str:
    """Return a metric's name with its context, as Comet's pages show it: `train_loss`."""
    return name if not context or name.startswith(f"{context}_") else f"{context}_{name}"


def metric_value(value: Any) -> Value:
    """Return a point's value: text that Python reads as a float is one."""
    if not isinstance(value, str):
        return cast(Value, value)
    try:
        return float(value)
    except ValueError:
        return value


def all_points(run: NativeRun, columns: Iterable[Column]) -> Iterator[Points]:
    """Yield the points; the epochs that others than us have noted as points of their own metric, where it does not exist."""
    has_epoch = is_ours(run)
    epochs: dict[tuple[int | float | None, int], int | float] = {}
    for column in columns:
        has_epoch = has_epoch or column.name == names.EPOCH
        if not has_epoch and column.epochs is not None:
            steps = column.steps or [None] * len(column.times)
            epochs |= {
                (step, time): epoch for step, time, epoch in zip(steps, column.times, column.epochs, strict=True) if epoch is not None
            }
        yield points(column)
    if epochs and not has_epoch:
        keys = sorted(epochs, key=lambda key: (key[1], key[0] is not None, key[0] or 0))
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            yield points(Column(names.EPOCH, [time for _, time in part], [epochs[key] for key in part], [step for step, _ in part]))


def points(column: Column) -> Points:
    """Return a column as a record. It is not validated: the readers' types are known, and there may be millions of points."""
    return Points.model_construct(
        time=column.times[0] * 1000,
        name=column.name,
        steps=column.steps,
        times=[at * 1000 for at in column.times],
        values=column.values,
        source="system" if column.name.startswith(names.SYSTEM_METRICS) else "user",
    )


def _summary(run: NativeRun) -> Iterator[Summary]:
    if not is_ours(run):
        return
    start = names.OTHER_SUMMARY
    values: dict[str, Value] = {
        key[len(start) :]: _summary_value(_text(text)) for key, text in sorted(run.others.items()) if key.startswith(start)
    }
    if values:
        yield Summary(time=started_at(run), values=values)


def _summary_value(text: str) -> Value:
    if text.startswith('"'):
        try:
            found = json.loads(text)
        except ValueError:
            return text
        return found if isinstance(found, str) else text
    return metric_value(text)


# -- params -----------------------------------------------------------------------------------------------------------


def _hyperparameters(run: NativeRun) -> Iterator[Hyperparameters]:
    values = params_of(run)
    if values:
        yield Hyperparameters(time=started_at(run), values=values)


def params_of(run: NativeRun) -> dict[str, Any]:
    """Return the params, nested at the bars in their names; typed by the rule above where they are text and not ours.

    A name stays whole where a level of it is empty, or is a param itself.
    """
    ours = is_ours(run)
    nested: dict[str, Any] = {}
    for name, value in sorted(run.params.items()):
        path = _path(name, run.params)
        level = nested
        for key in path[:-1]:
            level = level.setdefault(key, {})
        level[path[-1]] = value if ours or not run.typed_as_text else param_value(value)
    return nested


def _path(name: str, params: Mapping[str, Any]) -> list[str]:
    path = name.split(names.PARAM_SEPARATOR)
    above = (names.PARAM_SEPARATOR.join(path[:depth]) for depth in range(1, len(path)))
    return [name] if not all(path) or any(folder in params for folder in above) else path


def param_value(value: Any) -> Any:
    """Return what a text stands for, as far as that is sure: a number that Python writes in exactly these characters, or a bool."""
    if not isinstance(value, str):
        return value
    if value in ("True", "False"):
        return value == "True"
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        if math.isfinite(number) and repr(number) == value:
            return number
    return value


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[above + key] = value
    return flat


# -- code, environment ------------------------------------------------------------------------------------------------


def code_version(run: NativeRun, written: CodeVersion | None = None) -> CodeVersion | None:
    """Return which code ran: what Comet shows, completed from the record that we left there; what Comet shows wins."""
    branch = run.git.get("branch")
    found: dict[str, Any] = {
        "commit": run.git.get("parent") or None,
        "branch": str(branch).removeprefix(_BRANCH) if branch else None,
        "remote": strip_credentials(str(run.git["origin"])) if run.git.get("origin") else None,
        "entry_point": run.file_name or None,
    }
    shown = {field: value for field, value in found.items() if value is not None}
    if written is not None:
        return written.model_copy(update=shown)
    if run.patch:
        shown["diff"], shown["dirty"] = run.patch, True
    command = run.system.get("command")
    if isinstance(command, list) and command:
        shown["command"] = [str(word) for word in command]
    if not shown:
        return None
    return CodeVersion(time=started_at(run), vcs="git" if shown.keys() - {"entry_point", "command"} else None, **shown)


def strip_credentials(url: str) -> str:
    """Return a web address without user name and password; any other text as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _environment(run: NativeRun) -> Iterator[Environment]:
    """Yield what Comet's SDK noted of the machine and the software."""
    if is_ours(run) or not (run.system or run.packages):
        return
    system = {key: value if isinstance(value, str) and value else None for key, value in run.system.items()}
    packages = dict(line.partition("==")[::2] for line in run.packages if "==" in line)
    yield Environment(
        time=started_at(run),
        host=system.get("hostname"),
        python=system.get("python_version"),
        executable=system.get("python_exe"),
        packages=packages,
        os=system.get("os_type"),
        distribution=system.get("os"),
        architecture=system.get("machine"),
        cpu=system.get("processor"),
        gpus=[
            Gpu(name=str(gpu["name"]), memory=_int(gpu.get("totalMemory")), uuid=gpu.get("uuid"), number=_int(gpu.get("gpuIndex")))
            for gpu in run.gpus
            if gpu.get("name")
        ],
    )


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) else None


# -- console ----------------------------------------------------------------------------------------------------------


def _output(run: NativeRun) -> Iterator[LogLines]:
    """Yield the console lines that the pieces of output make, each with the time of its first piece."""
    lines: list[tuple[bool, Microseconds, str]] = []
    open_lines: dict[bool, tuple[Microseconds, str]] = {}
    start = started_at(run)
    for piece in run.output:
        time, text = open_lines.pop(piece.stderr, (start if piece.time is None else piece.time * 1000, ""))
        *whole, rest = (text + piece.text).split("\n")
        lines += ((piece.stderr, time, line.removesuffix("\r")) for line in whole)
        if rest:
            open_lines[piece.stderr] = (time if not whole or piece.time is None else piece.time * 1000, rest)
    lines += ((stderr, time, text) for stderr, (time, text) in open_lines.items())
    return _in_runs((("stderr" if stderr else "stdout"), None, time, text) for stderr, time, text in lines)


def _in_runs(lines: Iterable[tuple[str, str | None, Microseconds, str]]) -> Iterator[LogLines]:
    """Yield lines as records, consecutive ones of one stream together."""
    found: LogLines | None = None
    for stream, label, time, text in lines:
        if found is None or (found.stream, found.label) != (stream, label) or len(found.lines) >= CHUNK:
            if found is not None:
                yield found
            found = LogLines(time=time, stream=cast(Any, stream), label=label, times=[], lines=[])
        found.times.append(time)
        found.lines.append(text)
    if found is not None:
        yield found


_CONSOLE_LINE = re.compile(r"(\S+) (\w+)(?:\[([^]]*)\])? (.*)", re.DOTALL)


def log_lines(content: bytes) -> list[LogLines] | None:
    """Return the console lines of one of our files; None when it is no such file."""
    lines: list[tuple[str, str | None, Microseconds, str]] = []
    try:
        for line in content.decode("utf-8", "surrogatepass").removesuffix("\n").split("\n"):
            match = _CONSOLE_LINE.fullmatch(line)
            if match is None:
                return None
            when, stream, label, text = match.groups()
            lines.append((stream, None if label is None else unquote(label, errors="surrogatepass"), to_microseconds(when), text))
        return list(_in_runs(lines))
    except ValueError:  # a ValidationError is one
        return None


def to_microseconds(text: str) -> Microseconds:
    """Return an ISO time with its offset as microseconds since the epoch, exactly."""
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


# -- files ------------------------------------------------------------------------------------------------------------


def artifacts(run: NativeRun) -> Iterator[tuple[NativeAsset, Artifact]]:
    """Yield every asset with the artifact that it is; what Comet keeps beside the assets has an id that is its artifact's name."""
    all_assets = [*run.assets, *_besides(run)]
    plain = {asset.id: _plain_name(asset) for asset in all_assets}
    several = {name for name, count in Counter(plain.values()).items() if count > 1}
    for asset in all_assets:
        details = asset.metadata.get(names.DETAILS) if is_ours(run) else None
        if isinstance(details, Mapping) and isinstance(details.get("name"), str):
            yield asset, _our_artifact(asset, details)
        else:
            name = plain[asset.id]
            yield asset, _artifact(run, asset, _numbered(name, asset.id) if name in several and not is_ours(run) else name)


def _besides(run: NativeRun) -> Iterator[NativeAsset]:
    for name, text in _texts(run).items():
        yield NativeAsset(id=name, name=name, size=len(text.encode("utf-8", "surrogatepass")))


def beside(run: NativeRun, artifact: Artifact) -> bytes | None:
    """Return the content of an artifact that is no asset at Comet; None for one that is."""
    text = _texts(run).get(artifact.name)
    return None if text is None else text.encode("utf-8", "surrogatepass")


def _texts(run: NativeRun) -> dict[str, str]:
    """Return what Comet keeps beside the assets of somebody else's run, and no record holds, by the names of artifacts."""
    packages = "".join(f"{line}\n" for line in run.os_packages)
    found = {names.HTML_FILE: run.html, names.GRAPH_FILE: run.graph, names.OS_PACKAGES_FILE: packages}
    return {} if is_ours(run) else {name: text for name, text in found.items() if text}


def _plain_name(asset: NativeAsset) -> str:
    """Return the asset's name as a relative path."""
    name = f"text/{asset.id}.txt" if asset.name == _TEXT_SAMPLE else asset.name.replace("\\", "/")
    if asset.model is not None and not name.startswith(f"{_model_folder(asset.model)}/"):
        name = f"{_model_folder(asset.model)}/{name}"
    return "/".join(part for part in name.replace("\0", "_").split("/") if part not in ("", ".", "..")) or asset.id


def _numbered(name: str, asset_id: str) -> str:
    """Return the name of one of several assets that have the same one: with the beginning of its id before the suffix."""
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{asset_id[:8]}{path.suffix}"))


def _our_artifact(asset: NativeAsset, details: Mapping[str, Any]) -> Artifact:
    kept = details.get("keys") or ()
    step = from_wire(details.get("step"))
    return Artifact(
        time=details["time"] if isinstance(details.get("time"), int) else (asset.time or 0) * 1000,
        name=str(details["name"]),
        size=None if asset.uri is not None else asset.size,
        media_type=details.get("media_type"),
        uri=asset.uri,
        step=step if isinstance(step, int | float) else None,
        type=details.get("type"),
        metadata={key: from_wire(asset.metadata[key]) for key in kept if key in asset.metadata},
    )


def _artifact(run: NativeRun, asset: NativeAsset, name: str) -> Artifact:
    return Artifact(
        time=started_at(run) if asset.time is None else asset.time * 1000,
        name=name,
        size=None if asset.uri is not None else asset.size,
        uri=asset.uri,
        step=asset.step,
        type={names.ASSET: None, names.IMAGE: "image"}.get(asset.type, asset.type),
        metadata=dict(asset.metadata),
    )


def _model_folder(model: str) -> str:
    return f"models/{model}"


def _models(run: NativeRun) -> Iterator[Model]:
    """Yield the models that somebody else has logged: at Comet they are names that assets stand under, and ready once these are there."""
    steps: dict[str, list[int]] = {}
    for asset in run.assets:
        if asset.model is not None:
            steps.setdefault(asset.model, []).extend([int(asset.step)] if asset.step is not None else [])
    for name, known in sorted(steps.items()):
        step = max(known, default=None)
        yield Model(
            time=started_at(run),
            name=name,
            id=name,
            path=_model_folder(name),
            role="unlisted" if step is None else "output",
            status="READY",
            step=step,
        )


# -- our documents ----------------------------------------------------------------------------------------------------


class _Documents:
    """What multitrack left among a run's assets for itself. One that somebody has made unreadable counts as an asset like others.

    Attributes:
        consumed: the ids of the assets that have become records.
    """

    def __init__(self, run: NativeRun, read: Read) -> None:
        self._assets = {asset.name: asset for asset in run.assets} if is_ours(run) else {}
        self._read = read
        self.consumed: set[str] = set()

    def notes(self) -> str | None:
        found = self._assets.get(names.NOTES_FILE)
        if found is None:
            return None
        self.consumed.add(found.id)
        return self._read(found).decode("utf-8", "surrogatepass")

    def text(self, other: str, end: str) -> str:
        """Return the text of which an other holds the end; somebody may have changed the other since."""
        found = self._assets.get(text_file(other))
        if found is None:
            return end
        self.consumed.add(found.id)
        text = self._read(found).decode("utf-8", "surrogatepass")
        return text if error_text(text) == end else end

    def one(self, cls: type[RecordType], name: str) -> RecordType | None:
        return next(self.all(cls, name), None)

    def all(self, cls: type[RecordType], start: str) -> Iterator[RecordType]:
        """Yield the records of the documents whose names begin like this."""
        for name in sorted(self._assets):
            if name.startswith(start) and name.endswith(".json"):
                record = document(cls, self._read(self._assets[name]))
                if record is not None:
                    self.consumed.add(self._assets[name].id)
                    yield record

    def console(self) -> Iterator[LogLines]:
        """Yield the console output, in the order it was written."""
        for name in sorted(self._assets):
            if name.startswith(names.CONSOLE_FILES):
                lines = log_lines(self._read(self._assets[name]))
                if lines is not None:
                    self.consumed.add(self._assets[name].id)
                    yield from lines


def document(cls: type[RecordType], content: bytes) -> RecordType | None:
    """Return the record that a document holds; None when it holds none, because somebody has changed it."""
    try:
        wire = orjson.loads(content)
        fields = {key: from_wire(value) for key, value in wire.items() if key not in ("kind", "seq")}
        return cls.model_validate(fields, extra="allow")
    except (orjson.JSONDecodeError, AttributeError, RecordError, ValidationError):
        return None

"""From records to Comet's terms. Pure: `names` holds the table, nothing here asks a service.

The records have been fitted to the capabilities. What has no place in Comet's own model becomes a document, that is an asset under
`multitrack/`, which the source reads back.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote

from multitrack.backend import Entry, entry_points
from multitrack.records import (
    Artifact,
    CaptureFailed,
    CodeVersion,
    DataVersion,
    Environment,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    Microseconds,
    Model,
    Points,
    Record,
    RunStarted,
    RunUpdated,
    Summary,
    encode,
    requirements,
    to_wire,
)
from multitrack.records.media_names import parse_media_name

from . import names
from .native import ConsoleText

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHAT_LENGTH = 60
_BRANCH = "refs/heads/"

Line = tuple[str, int]
"""(writer, sequence number): where console lines stand."""


class Point(NamedTuple):
    """A point as Comet takes it. What is not finite is text there: `NaN`, `Infinity`, `-Infinity`."""

    name: str
    value: float | str
    step: int | None
    epoch: int | None
    time: int
    """Milliseconds."""


@dataclass(frozen=True, slots=True)
class Asset:
    """An artifact as Comet takes it."""

    id: str
    """Always the same for the same artifact of a run, so that it is replaced when it is sent again."""
    name: str
    type: str
    step: int | None
    metadata: Mapping[str, Any]
    time: int
    """Milliseconds."""
    uri: str | None = None
    """Of a reference."""


@dataclass(slots=True)
class Content:
    """What a batch holds, in Comet's terms. Of several values of one name the last stands here."""

    start: RunStarted | None = None
    points: list[Point] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    """By their joined names."""
    tags: dict[str, str | None] = field(default_factory=dict)
    """See `split_tags`; `names.REMOVED`: the tag is taken away."""
    others: dict[str, str] = field(default_factory=dict)
    """The run's name among them."""
    status: str | None = None
    git: dict[str, str | None] | None = None
    patch: bytes | None = None
    file_name: str | None = None
    packages: list[str] | None = None
    system: dict[str, Any] | None = None
    artifacts: dict[str, tuple[Entry, Artifact]] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    """Assets of our own, by name."""
    console: dict[Line, LogLines] = field(default_factory=dict)


def encode_entries(entries: Sequence[Entry]) -> Content:
    """Return the entries' content. RunFinished is left out: `finish` brings it."""
    content = Content(points=points_of(entries))
    for entry in entries:
        if type(entry.record) not in (Metrics, Points):  # those are nearly all, and stand in `points` already
            _add(content, entry)
    return content


def _add(content: Content, entry: Entry) -> None:
    record = entry.record
    if isinstance(record, RunStarted):
        content.start = record
        content.tags |= record.tags
        content.others |= start_others(record)
        _add_notes(content, record.notes)
    elif isinstance(record, RunUpdated):
        _add_update(content, record)
    elif isinstance(record, Hyperparameters):
        content.params.update(flatten(record.values))
    elif isinstance(record, Artifact):
        content.artifacts[record.name] = (entry, record)
    elif isinstance(record, LogLines):
        content.console[entry.writer, entry.seq] = record
    elif isinstance(record, Summary):
        content.others |= {names.OTHER_SUMMARY + name: summary_text(value) for name, value in record.values.items()}
    elif isinstance(record, CaptureFailed):
        other = failure_other(record.what)
        content.others[other] = error_text(record.error)
        content.documents |= long_text(other, record.error)
    else:
        _add_document(content, entry)


def _add_document(content: Content, entry: Entry) -> None:
    record = entry.record
    name = document_name(record)
    if name is not None:
        content.documents[name] = encode(record, entry.seq)
    if isinstance(record, CodeVersion):
        content.git, content.file_name = git_metadata(record), record.entry_point
        content.patch = None if not record.diff else diff_bytes(record.diff)
    elif isinstance(record, Environment) and content.system is None:  # Comet shows one machine: that of the first rank
        content.packages, content.system = requirements(record), system_details(record)


def document_name(record: Record) -> str | None:
    """Return the name of the asset that holds the record as the journal has it; None for a record of another kind."""
    if isinstance(record, CodeVersion):
        return names.CODE_FILE
    if isinstance(record, DataVersion):
        return f"{names.DATA_FILES}{_hash8(record.name, record.role or '', record.digest or '')}.json"
    if isinstance(record, MetricDefinition):
        return f"{names.DEFINITION_FILES}{_hash8(record.name)}.json"
    if isinstance(record, Model):
        return f"{names.MODEL_FILES}{_hash8(record.id)}.json"
    if isinstance(record, Environment):
        host = re.sub(r"[^\w.-]|^\.+", "_", record.host or "unknown", flags=re.ASCII)[:64]
        return f"{names.ENVIRONMENT_FILES}{host}.json"
    return None


def _hash8(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:8]


# -- points -----------------------------------------------------------------------------------------------------------


def points_of(entries: Sequence[Entry]) -> list[Point]:
    """Return every point: the value as float, the time in milliseconds, rounded down, and the epoch that was logged along with it."""
    epochs = epochs_of(entries)
    system = names.SYSTEM_METRICS
    return [
        Point(
            name if source == "user" or name.startswith(system) else system + name,
            metric_value(value),
            None if step is None else int(step),
            epochs.get((step, time)) if epochs else None,
            time // 1000,
        )
        for name, step, time, value, source in entry_points(entries)
    ]


def epochs_of(entries: Iterable[Entry]) -> dict[tuple[Any, Microseconds], int]:
    """Return the epoch at each (step, time) at which a metric `epoch` has a whole number."""
    return {
        (step, time): int(value)
        for name, step, time, value, source in entry_points(_with_epochs(entries))
        if name == names.EPOCH and source == "user" and isinstance(value, float) and value.is_integer()
    }


def _with_epochs(entries: Iterable[Entry]) -> Iterable[Entry]:
    for entry in entries:
        record = entry.record
        if (isinstance(record, Metrics) and names.EPOCH in record.values) or (isinstance(record, Points) and record.name == names.EPOCH):
            yield entry


def metric_value(value: float) -> float | str:
    """Return a value as JSON can say it, in Comet's words."""
    value = float(value)
    return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def summary_text(value: Any) -> str:
    """Return a summary's value as text: a number in digits, a text as it is unless that is what a number looks like."""
    if isinstance(value, int | float):
        return repr(float(value))
    text = str(value)
    return json.dumps(text) if text.startswith('"') or looks_like_number(text) else text


def looks_like_number(text: str) -> bool:
    """Return whether Python reads a float from the text."""
    try:
        float(text)
    except ValueError:
        return False
    return True


# -- the run itself ---------------------------------------------------------------------------------------------------


def start_others(run: RunStarted) -> dict[str, str]:
    """Return the others that hold the run's own fields. Its tags come besides: see `split_tags`."""
    fields = {
        names.OTHER_NAME: run.name,
        names.OTHER_GROUP: run.group,
        names.OTHER_JOB_TYPE: run.job_type,
        names.OTHER_USER: run.user,
        names.OTHER_HOST: run.host,
        names.OTHER_REPRODUCES: run.reproduces,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _add_update(content: Content, record: RunUpdated) -> None:
    fields = {names.OTHER_NAME: record.name, names.OTHER_GROUP: record.group, names.OTHER_JOB_TYPE: record.job_type}
    content.others |= {name: value for name, value in fields.items() if value is not None}
    content.tags |= record.tags
    content.tags |= dict.fromkeys(record.removed_tags, names.REMOVED)
    _add_notes(content, record.notes)
    content.status = record.status or content.status


def _add_notes(content: Content, notes: str | None) -> None:
    if notes is not None:
        content.documents[names.NOTES_FILE] = notes.encode("utf-8", "surrogatepass")


def split_tags(tags: Mapping[str, str | None], held: Container[str]) -> tuple[list[str], dict[str, str]]:
    """Return the tags, in Comet's sense, and the others that stand for tags.

    Args:
        tags: `Content.tags`.
        held: the names of the tags and others that the run has at Comet already, which takes none of them away.
    """
    bare = [name for name, value in tags.items() if value is None]
    others = {name: value for name, value in tags.items() if value is not None and (value != names.REMOVED or name in held)}
    return bare, others | {name: names.BARE for name in bare if name in held}


def failure_other(what: str) -> str:
    """Return the name of the other that tells what could not be captured."""
    return names.OTHER_CAPTURE_FAILED + what[:_WHAT_LENGTH]


def error_text(error: str) -> str:
    """Return an error as an other holds it. Of a longer one the end, which names the exception; `long_text` holds all of it."""
    return error[-names.MAX_VALUE :]


def long_text(other: str, text: str | None) -> dict[str, bytes]:
    """Return the document that holds all of a text of which the other holds the end; nothing where that is all of it."""
    return {text_file(other): text.encode("utf-8", "surrogatepass")} if text is not None and text != error_text(text) else {}


def text_file(other: str) -> str:
    """Return the name of that document."""
    return f"{names.TEXT_FILES}{_hash8(other)}.txt"


# -- params -----------------------------------------------------------------------------------------------------------


def flatten(values: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Return the params by their joined names."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{above}{key}{names.PARAM_SEPARATOR}")
        else:
            flat[above + key] = str(value)
    return flat


# -- code, environment ------------------------------------------------------------------------------------------------


def git_metadata(record: CodeVersion) -> dict[str, str | None] | None:
    """Return the git metadata; None where no commit, branch or remote is known. What Comet calls the parent is the commit itself."""
    if record.commit is None and record.branch is None and record.remote is None:
        return None
    return {
        "parent": record.commit,
        "branch": None if record.branch is None else _BRANCH + record.branch,
        "origin": record.remote,
        "root": None,
        "user": None,
    }


def diff_bytes(diff: str) -> bytes:
    """Return a diff as a file: byte for byte where it was captured here, where lone surrogates stand for bytes that are no UTF-8."""
    try:
        return diff.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return diff.encode("utf-8", "replace")


def system_details(record: Environment) -> dict[str, Any]:
    """Return the system details in the words of Comet's message. Its schema wants every one of them, and no null."""
    return {
        "command": [],
        "env": {**record.variables},
        "hostname": record.host or "",
        "ip": "",
        "machine": record.architecture or "",
        "os": record.distribution or record.os or "",
        "os_release": "",
        "os_type": record.os or "",
        "pid": 0,
        "processor": record.cpu or "",
        "python_exe": record.executable or "",
        "python_version": record.python or "",
        "python_version_verbose": " ".join(part for part in (record.implementation, record.python) if part),
        "user": "",
    }


# -- files ------------------------------------------------------------------------------------------------------------


def asset(run_id: str, record: Artifact) -> Asset:
    """Return the artifact as an asset; an image of ours as one that Comet's pages show, under its metric's name and step."""
    picture = parse_media_name(record.name)
    is_image = picture is not None and picture.kind == "image" and record.sha256 is not None
    details = {
        "name": record.name,
        "type": record.type,
        "step": to_wire(record.step),
        "media_type": record.media_type,
        "time": record.time,
        "keys": sorted(record.metadata),
    }
    return Asset(
        id=asset_id(run_id, record.name),
        name=picture.key if is_image and picture is not None else record.name,
        type=names.IMAGE if is_image else names.ASSET,
        step=_asset_step(record.step),
        metadata={**{key: to_wire(value) for key, value in record.metadata.items()}, names.DETAILS: details},
        time=record.time // 1000,
        uri=record.uri if record.sha256 is None else None,
    )


def document(run_id: str, name: str, time: Microseconds) -> Asset:
    """Return the asset that one of our own files is."""
    return Asset(id=asset_id(run_id, name), name=name, type=names.ASSET, step=None, metadata={}, time=time // 1000)


def asset_id(run_id: str, name: str) -> str:
    """Return an asset's id: 32 hexadecimal digits, as Comet's SDK makes them."""
    return sha256(f"{run_id}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _asset_step(step: float | None) -> int | None:
    """Return the step as Comet's upload has it, an int; None for one that is beyond 64 bits."""
    if step is None or not math.isfinite(step) or abs(step) >= 2**63:
        return None
    return math.floor(step)


# -- console ----------------------------------------------------------------------------------------------------------


def console_file(batch: int) -> str:
    """Return the name of the file that holds the console lines of a batch, with their times."""
    return f"{names.CONSOLE_FILES}{batch:08}.log"


def console_bytes(console: Mapping[Line, LogLines]) -> bytes:
    """Return the content of that file."""
    return "".join(map(console_text, console.values())).encode("utf-8", "surrogatepass")


def console_text(record: LogLines) -> str:
    """Return the lines, each as ISO time, stream, text and a line end; the stream with the process's label, as in `stderr[rank 3]`."""
    stream: str = record.stream
    if record.label is not None:
        stream += f"[{quote(record.label, safe=' /:', errors='surrogatepass')}]"
    return "".join(
        f"{iso_time(time)} {stream} {line.replace(chr(10), ' ')}\n" for time, line in zip(record.times, record.lines, strict=True)
    )


def console_output(console: Mapping[Line, LogLines]) -> list[ConsoleText]:
    """Return the lines as Comet's own page of output shows them."""
    return [
        ConsoleText((f"[{record.label}] " if record.label is not None else "") + line + "\n", time // 1000, record.stream == "stderr")
        for record in console.values()
        for time, line in zip(record.times, record.lines, strict=True)
    ]


def iso_time(time: Microseconds) -> str:
    """Return a time as ISO 8601, UTC, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds")

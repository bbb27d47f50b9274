"""Operations of the 1.x client -> what a server would hold after them. Pure.

Two readings of a log: `survey` finds what stands at the end (last values, what was deleted or cleared), `blocks` then streams the
points that still count, in chunks. Memory is for one chunk a series, however long the log.

Where a server would refuse an operation (a step that is not above the last one, an attribute of another type at the same path), what
it carries is kept here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .log import Operation

CHUNK = 10_000
"""Points."""

_ASSIGNED = {
    "AssignFloat": "float",
    "AssignInt": "int",
    "AssignBool": "bool",
    "AssignString": "string",
    "AssignDatetime": "datetime",
}
_LOGGED = {"LogFloats": "float_series", "LogStrings": "string_series", "LogImages": "file_series"}
_CLEARED = {"ClearFloatLog": "float_series", "ClearStringLog": "string_series", "ClearImageLog": "file_series"}
_IGNORED = frozenset({"ConfigFloatSeries"})  # the range and unit of a chart's axis


class Key(NamedTuple):
    """An attribute: its path, and its type in neptune-exporter's words."""

    path: str
    type: str


class Upload(NamedTuple):
    """A file that was to be uploaded: where it was, where the client kept it, or what was in it."""

    extension: str
    place: str | None = None
    """Absolute, on the machine of the run."""
    kept_as: str | None = None
    """Below `upload_path`."""
    content: str | None = None
    """In base64."""


@dataclass(slots=True)
class FileSet:
    """Files below one attribute: patterns on the machine of the run, and what was deleted from them."""

    patterns: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Survey:
    """What a log leaves standing."""

    scalars: dict[Key, Any] = field(default_factory=dict)
    """Datetimes in milliseconds since the epoch; string sets as sorted lists."""
    series: dict[Key, int] = field(default_factory=dict)
    """For each series, the version after which its points count: it was cleared there, or 0."""
    files: dict[str, Upload] = field(default_factory=dict)
    sets: dict[str, FileSet] = field(default_factory=dict)
    tracked: dict[str, list[str]] = field(default_factory=dict)
    """For each artifact the places of its files; [] where only its hash is known."""
    hashes: dict[str, str] = field(default_factory=dict)
    copied: list[str] = field(default_factory=list)
    """Attributes whose values are to be copied from another run, at the server."""
    unknown: dict[str, int] = field(default_factory=dict)
    """Types of operations that only a later client knows, and how many there are of each."""
    first: float | None = None
    last: float | None = None
    """Seconds since the epoch, of operations."""

    def forget(self, path: str, *types: str) -> None:
        """Take an attribute away; without types, whatever it is."""
        for kept in (self.scalars, self.series):
            for key in [key for key in kept if key.path == path and (not types or key.type in types)]:
                del kept[key]
        if not types:
            for place in (self.files, self.sets, self.tracked, self.hashes):
                place.pop(path, None)


def survey(operations: Iterable[Operation]) -> Survey:
    """Return what the operations leave standing."""
    found = Survey()
    cleared: dict[Key, int] = {}
    for operation in operations:
        if operation.at is not None:
            found.first = operation.at if found.first is None else min(found.first, operation.at)
            found.last = operation.at if found.last is None else max(found.last, operation.at)
        if series := _LOGGED.get(operation.type):
            key = Key(operation.path, series)
            if key not in found.series:
                found.series[key] = cleared.get(key, 0)
        elif series := _CLEARED.get(operation.type):
            key = Key(operation.path, series)
            cleared[key] = operation.version
            found.series.pop(key, None)
        elif operation.type == "DeleteAttribute":
            for series in _LOGGED.values():
                cleared[Key(operation.path, series)] = operation.version
            found.forget(operation.path)
        else:
            _apply(found, operation)
    return found


def _apply(found: Survey, operation: Operation) -> None:
    kind, path, body = operation.type, operation.path, operation.body
    if scalar := _ASSIGNED.get(kind):
        found.scalars[Key(path, scalar)] = body.get("value")
    elif kind in {"AddStrings", "RemoveStrings", "ClearStringSet"}:
        _apply_strings(found, kind, Key(path, "string_set"), body)
    elif kind in {"UploadFile", "UploadFileContent", "UploadFileSet", "DeleteFiles"}:
        _apply_files(found, kind, path, body)
    elif kind == "TrackFilesToArtifact":
        found.tracked.setdefault(path, []).extend(str(entry[0]) for entry in body.get("entries") or [])
    elif kind == "AssignArtifact":
        found.hashes[path] = str(body.get("hash"))
    elif kind == "ClearArtifact":
        found.tracked[path] = []
        found.hashes.pop(path, None)
    elif kind == "CopyAttribute":
        found.copied.append(path)
    elif kind not in _IGNORED:
        found.unknown[kind] = found.unknown.get(kind, 0) + 1


def _apply_files(found: Survey, kind: str, path: str, body: Mapping[str, Any]) -> None:
    if kind == "UploadFile":
        found.files[path] = Upload(str(body.get("ext") or ""), body.get("file_path"), body.get("tmp_file_name"))
    elif kind == "UploadFileContent":
        found.files[path] = Upload(str(body.get("ext") or ""), content=body.get("file_content"))
    elif kind == "DeleteFiles":
        found.sets.setdefault(path, FileSet()).deleted += body.get("file_paths") or []
    else:
        if body.get("reset") != "False" or path not in found.sets:  # the client writes it as a text
            found.sets[path] = FileSet()
        found.sets[path].patterns += body.get("file_globs") or []


def _apply_strings(found: Survey, kind: str, key: Key, body: Mapping[str, Any]) -> None:
    before = set(found.scalars.get(key, ()))
    values = set(map(str, body.get("values") or ()))
    after = before | values if kind == "AddStrings" else before - values if kind == "RemoveStrings" else set()
    found.scalars[key] = sorted(after)


# -- series ---------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Block:
    """Some points of one series."""

    key: Key
    first: int
    """The ordinal, in its series, of the first of them."""
    steps: list[int | float] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    """Microseconds."""
    values: list[Any] = field(default_factory=list)
    """Floats, texts, or images as the client wrote them (`data` in base64, `name`, `description`)."""


class _Series:
    """One series while it is read."""

    def __init__(self, key: Key) -> None:
        self.block = Block(key, 0)
        self._last_step: float = -1

    def append(self, point: Mapping[str, Any]) -> None:
        step = point.get("step")
        # The client leaves a missing step to the server, which takes the one after the last.
        self._last_step = step = self._last_step + 1 if step is None else step
        self.block.steps.append(whole(step))
        self.block.times.append(round(float(point["ts"]) * 1_000_000))
        self.block.values.append(point.get("value"))

    def take(self) -> Block:
        block = self.block
        self.block = Block(block.key, block.first + len(block.times))
        return block


def blocks(operations: Iterable[Operation], found: Survey, *, types: Sequence[str], chunk: int = CHUNK) -> Iterator[Block]:
    """Yield the points that stand, of series of these types: each series' in its order, at most `chunk` at a time."""
    reading: dict[Key, _Series] = {}
    for operation in operations:
        series = _LOGGED.get(operation.type)
        if series not in types or series is None:
            continue
        key = Key(operation.path, series)
        if operation.version <= found.series.get(key, operation.version):
            continue
        current = reading.get(key)
        if current is None:
            current = reading[key] = _Series(key)
        for point in operation.body.get("values") or ():
            current.append(point)
            if len(current.block.times) >= chunk:
                yield current.take()
    for current in reading.values():
        if current.block.times:
            yield current.take()


def whole(step: float) -> int | float:
    """Return a step as an int where it is a whole number: Neptune has floats only."""
    return int(step) if step == step // 1 else step

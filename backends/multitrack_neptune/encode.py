"""From records to operations of Neptune's 1.x protocol, as its client writes them into its log. Pure but for the files that it names.

`names` tells where things stand. What Neptune has no place for goes, record by record, into a file a batch: `multitrack/records/<batch>`.
It is read back from there; what people look at (parameters, tags, texts, console) stands beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from multitrack.backend import RESERVED_TAGS, TAG_RUN_ID, Batch, Conclusion, Entry
from multitrack.records import (
    Artifact,
    CodeVersion,
    Environment,
    Hyperparameters,
    LogLines,
    Metrics,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Summary,
    encode,
    replaces,
    to_wire,
)
from multitrack.records import requirements as requirement_lines

from . import names
from .steps import place

Operation = dict[str, Any]
"""As in the client's log: `type`, `path`, and what belongs to the type."""
FLOATS, STRINGS = 100, 10
"""Points in an operation: as many as the client itself puts into one."""
STRING_LENGTH, POINT_LENGTH = 16_384, 1000
"""Characters of a text, and of a point that is one."""
_INT = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class File:
    """A file that is to stand at an attribute."""

    path: str
    extension: str
    content: bytes | Path


Item = Operation | File


@dataclass
class Known:
    """What a run holds already, as far as what comes next depends on it."""

    types: dict[str, str] = field(default_factory=dict)
    """Attributes' types by path."""
    last: dict[str, float] = field(default_factory=dict)
    """Where the last point of each float series stands."""
    tags: set[str] = field(default_factory=set)
    """What is shown as tags."""
    writers: dict[str, int] = field(default_factory=dict)
    """The last sequence number of each writer that is there."""
    batches: int = 0
    concluded: bool = False


class Encoder:
    """Encodes the batches of one run, one after the other."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self._tags: dict[str, str] = {}

    def batch(self, batch: Batch) -> Iterator[Item]:
        """Yield what brings a batch, less the entries that are there already. What says that it is there comes last."""
        if any(replaces(entry.writer, other) for entry in batch.entries for other in self.known.writers):
            yield from self._begin_anew()
        known = self.known
        entries = [entry for entry in batch.entries if entry.seq > known.writers.get(entry.writer, -1)]
        if known.concluded:
            yield from self._forget(names.CONCLUSION)
            known.concluded = False
        if not entries:
            return
        for entry in entries:
            yield from self._entry(entry, batch)
        lines = [encode(left, entry.seq) for entry in entries if (left := without_floats(entry.record)) is not None]
        known.batches += 1
        if lines:
            yield self._file(f"{names.RECORDS}{known.batches:08}", "jsonl", b"".join(lines))
        for writer, seq in {entry.writer: entry.seq for entry in entries}.items():
            known.writers[writer] = seq
            yield self._assign(names.WRITERS + writer, seq)
        yield self._assign(names.BATCHES, known.batches)

    def _begin_anew(self) -> Iterator[Item]:
        """Take away what an earlier migration brought of the run: a later version of it comes."""
        for path in list(self.known.types):
            if not path.startswith((names.SYS, names.SOURCE_CODE)):
                yield from self._forget(path)
        if self.known.tags:
            yield _operation("ClearStringSet", "sys/tags")
        self.known = Known(types=self.known.types)

    def conclude(self, conclusion: Conclusion) -> Iterator[Item]:
        """Yield what concludes the run, the conclusion itself last."""
        for name, content in conclusion.files.items():
            yield self._file(names.ARTIFACTS + name, _extension(name), content)
        yield self._assign("sys/failed", conclusion.status in {"failed", "killed", "crashed"})
        time = None if conclusion.time is None else max(conclusion.time // 1000 * 1000, 0)  # as every other time there
        told = {"status": conclusion.status, "time": time, "error": conclusion.error, "deleted": conclusion.deleted}
        document = json.dumps(to_wire({**told, "tags": dict(conclusion.tags)})).encode()
        yield self._file(names.CONCLUSION, "json", document)
        self.known.concluded = True

    # -- one record

    def _entry(self, entry: Entry, batch: Batch) -> Iterator[Item]:
        record = entry.record
        if isinstance(record, Points):
            steps: Sequence[Any] = record.steps if record.steps is not None else [None] * len(record.times)
            yield from self._points(record.name, list(zip(steps, record.times, record.values, strict=True)))
        elif isinstance(record, Metrics):
            for name, value in record.values.items():
                yield from self._points(name, [(record.step, record.time, value)])
        elif isinstance(record, Artifact):
            if record.sha256 is not None:
                yield self._file(names.ARTIFACTS + record.name, _extension(record.name), batch.files(record))
        elif isinstance(record, RunStarted | RunUpdated):
            yield from self._life(record)
        elif isinstance(record, Hyperparameters):
            yield from self._tree(names.PARAMETERS, record.values)
        elif isinstance(record, Summary):
            for name, value in record.values.items():
                yield from self._scalar(names.SUMMARY + name, value)
        elif isinstance(record, LogLines):
            yield from self._console(record)
        elif isinstance(record, CodeVersion | Environment):
            yield from self._described(record)

    def _points(self, name: str, rows: Sequence[tuple[Any, int, Any]]) -> Iterator[Operation]:
        """Yield a metric's points: numbers under its own name, texts under `multitrack/text/`."""
        floats: list[Operation] = []
        steps: list[Operation] = []
        texts: list[Operation] = []
        for step, time, value in rows:
            if isinstance(value, str):
                texts.append(_point(None, time, value[:POINT_LENGTH]))
            elif isinstance(value, int | float):
                stands, text = place(step, self.known.last.get(name))
                self.known.last[name] = stands
                floats.append(_point(stands, time, float(value)))
                if text is not None:
                    steps.append(_point(stands, time, text))
        # What tells the steps comes first: a point whose true step is not told yet would be read as another one.
        yield from self._log("LogStrings", names.STEPS + name, steps, STRINGS)
        yield from self._log("LogFloats", name, floats, FLOATS)
        yield from self._log("LogStrings", names.TEXTS + name, texts, STRINGS)

    def _log(self, kind: str, path: str, points: Sequence[Operation], size: int) -> Iterator[Operation]:
        for start in range(0, len(points), size):
            self.known.types[path] = "float_series" if kind == "LogFloats" else "string_series"
            yield _operation(kind, path, values=list(points[start : start + size]))

    def _life(self, record: RunStarted | RunUpdated) -> Iterator[Operation]:
        if isinstance(record, RunStarted):
            yield self._assign(names.RUN_ID, record.tags.get(TAG_RUN_ID) or record.id)
            if record.host is not None:
                yield self._assign("sys/hostname", record.host)
        if record.name is not None:
            yield self._assign("sys/name", record.name[:STRING_LENGTH])
        if record.notes is not None:
            yield self._assign("sys/description", record.notes[:STRING_LENGTH])
        if record.group is not None:
            yield _operation("ClearStringSet", "sys/group_tags")
            yield _operation("AddStrings", "sys/group_tags", values=[record.group])
        removed = record.removed_tags if isinstance(record, RunUpdated) else []
        yield from self._change_tags(record.tags, removed)

    def _change_tags(self, tags: Mapping[str, str | None], removed: Sequence[str]) -> Iterator[Operation]:
        """Yield what makes the tags look so: a bare one as it is, one with a value as `name=value`."""
        shown = {name: f"{name}={value}" if value else name for name, value in tags.items() if not name.startswith(RESERVED_TAGS)}
        old = [self._tags.pop(name, name) for name in (*removed, *shown)]
        self._tags |= shown
        gone = [text for text in old if text in self.known.tags and text not in shown.values()]
        new = [text for text in shown.values() if text not in self.known.tags and len(text) <= POINT_LENGTH]
        self.known.tags = self.known.tags - set(gone) | set(new)
        if gone:
            yield _operation("RemoveStrings", "sys/tags", values=sorted(gone))
        if new:
            yield _operation("AddStrings", "sys/tags", values=sorted(new))

    def _tree(self, path: str, values: Mapping[str, Any]) -> Iterator[Operation]:
        for key, value in values.items():
            if isinstance(value, Mapping) and value:
                yield from self._tree(f"{path}{key}/", value)
            else:
                yield from self._scalar(path + key, value)

    def _scalar(self, path: str, value: Any) -> Iterator[Operation]:
        """Yield what sets an attribute, out of the way of which goes what had the place in another shape."""
        parts = path.split("/")
        folders = ["/".join(parts[:depth]) for depth in range(2, len(parts))]
        below = [other for other in self.known.types if other.startswith(f"{path}/")]
        value = shown_value(value)
        retyped = self.known.types.get(path, _type_of(value)) != _type_of(value)
        for other in (*(folder for folder in folders if folder in self.known.types), *below, *([path] if retyped else ())):
            yield from self._forget(other)
        yield self._assign(path, value)

    def _console(self, record: LogLines) -> Iterator[Operation]:
        path = f"monitoring/multitrack/{record.stream}"
        lines = zip(record.times, record.lines, strict=True)
        label = f"[{record.label}] " if record.label else ""
        yield from self._log(
            "LogStrings", path, [_point(None, time, f"{label}{line}"[: POINT_LENGTH - 1] + "\n") for time, line in lines], STRINGS
        )

    def _described(self, record: CodeVersion | Environment) -> Iterator[Item]:
        if isinstance(record, Environment):
            lines = "".join(f"{line}\n" for line in requirement_lines(record))
            if lines:
                yield self._file("source_code/requirements", "txt", lines.encode("utf-8", "backslashreplace"))
            return
        if record.entry_point is not None:
            yield self._assign("source_code/entrypoint", record.entry_point[:STRING_LENGTH])
        if record.diff:
            yield self._file(
                "source_code/diff", "patch", record.diff.encode("utf-8", "surrogateescape" if _escapes(record.diff) else "replace")
            )

    # -- one attribute

    def _assign(self, path: str, value: bool | int | float | str) -> Operation:
        self.known.types[path] = _type_of(value)
        return _operation(f"Assign{_type_of(value).capitalize()}", path, value=value)

    def _file(self, path: str, extension: str, content: bytes | Path) -> File:
        self.known.types[path] = "file"
        return File(path, extension, content)

    def _forget(self, path: str) -> Iterator[Operation]:
        if self.known.types.pop(path, None) is not None:
            yield _operation("DeleteAttribute", path)


def without_floats(record: Record) -> Record | None:
    """Return what of a record does not stand in float series; None where nothing does. How a run ends is told by its conclusion."""
    if isinstance(record, RunFinished):
        return None
    if isinstance(record, Metrics):
        values = {name: value for name, value in record.values.items() if not isinstance(value, int | float)}
        if not values:
            return None
        return record if len(values) == len(record.values) else record.model_copy(update={"values": values})
    if isinstance(record, Points):
        kept = [place for place, value in enumerate(record.values) if not isinstance(value, int | float)]
        if not kept:
            return None
        columns = ("times", "values", *(["steps"] if record.steps is not None else []))
        return record.model_copy(update={column: [getattr(record, column)[place] for place in kept] for column in columns})
    return record


def shown_value(value: Any) -> bool | int | float | str:
    """Return a value as Neptune takes it: ints beyond 32 bits, floats that are not finite, lists and None as texts."""
    if isinstance(value, bool) or (isinstance(value, int) and value in _INT) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if not isinstance(value, str):
        value = "null" if value is None else repr(value) if isinstance(value, float) else json.dumps(to_wire(value), ensure_ascii=False)
    return str(value)[:STRING_LENGTH]


def _type_of(value: bool | int | float | str) -> str:
    return {bool: "bool", int: "int", float: "float", str: "string"}[type(value)]


def _operation(kind: str, path: str, **body: Any) -> Operation:
    return {"type": kind, "path": path.split("/"), **body}


def _point(step: float | None, time: int, value: float | str) -> Operation:
    # The client cuts seconds down to milliseconds: a quarter more, or it may cut one too many.
    return {"value": value, "step": step, "ts": (time // 1000 + 0.25) / 1000}


def _extension(name: str) -> str:
    return PurePosixPath(name).suffix[1:]


def _escapes(diff: str) -> bool:
    try:
        diff.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True

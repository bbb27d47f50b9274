"""The messages that neptune-scale writes, decoded: `neptune.ingest.v1` as of neptune-api 0.24, the fields that carry what was logged.

    Run                1 run_id  2 fork_point  3 creation_time  5 experiment_id
    ForkPoint          2 parent_run_id  4 step
    UpdateRunSnapshot  1 step  2 timestamp  4 assign  5 modify_sets  8 append  10 preview
    Step               1 whole  2 micro
    Value              1 float64  3 int64  5 bool  6 string  8 timestamp  12 string_set  13 file_ref  14 histogram
    FileRef            1 path  2 size_bytes  3 mime_type
    Histogram          1 bin_edges  4 counts (1 values)  5 densities (1 values)
    ModifySet          1 string: a map of text to 0 no-op, 1 add, 2 remove
    Preview            1 is_preview

Fields that a later version adds are passed over, as Protocol Buffers have it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .wire import bytes_of, double, doubles, number_of, read_fields, signed, text, varints

MICRO = 1_000_000
ADD, REMOVE = 1, 2


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file, by its name in the server's store."""

    path: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Bins:
    """A histogram: bin edges, and for each bin a count or a density."""

    edges: list[float]
    counts: list[int] | None
    densities: list[float] | None


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A point in time, in microseconds since the epoch: the value of an attribute."""

    microseconds: int


ScaleValue = float | int | bool | str | Timestamp | FileRef | Bins | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Creation:
    """What `Run(...)` wrote: who the run is."""

    run_id: str | None = None
    name: str | None = None
    created: int | None = None
    """Microseconds since the epoch."""
    parent: str | None = None
    """The run that it was forked off, by its run id."""
    fork_step: int | float | None = None


@dataclass(slots=True)
class Update:
    """What one logging call wrote."""

    step: int | float | None = None
    time: int | None = None
    """Microseconds since the epoch."""
    assign: dict[str, ScaleValue] = field(default_factory=dict)
    append: dict[str, ScaleValue] = field(default_factory=dict)
    sets: dict[str, dict[str, int]] = field(default_factory=dict)
    """For each string set, what becomes of which text: `ADD` or `REMOVE`."""
    preview: bool = False
    """Its points are provisional: later ones take their places."""


def read_creation(data: bytes) -> Creation:
    """Return a `Run`.

    Raises:
        WireError: the bytes are no message.
    """
    found: dict[str, Any] = {}
    for number, value in read_fields(data):
        if number == 1:
            found["run_id"] = text(value)
        elif number == 2:
            found |= _read_fork(bytes_of(value))
        elif number == 3:
            found["created"] = _read_time(value)
        elif number == 5:
            found["name"] = text(value)
    return Creation(**found)


def read_update(data: bytes) -> Update:
    """Return an `UpdateRunSnapshot`.

    Raises:
        WireError: the bytes are no message.
    """
    update = Update()
    for number, value in read_fields(data):
        if number == 1:
            update.step = _read_step(value)
        elif number == 2:
            update.time = _read_time(value)
        elif number in {4, 8}:
            name, inner = _read_entry(value)
            held = _read_value(inner)
            if held is not None:
                (update.assign if number == 4 else update.append)[name] = held
        elif number == 5:
            name, inner = _read_entry(value)
            update.sets[name] = dict(_read_changes(inner))
        elif number == 10:
            update.preview = any(key == 1 and flag for key, flag in read_fields(bytes_of(value)))
    return update


def _read_fork(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in read_fields(data):
        if number == 2:
            found["parent"] = text(value)
        elif number == 4:
            found["fork_step"] = _read_step(value)
    return found


def _read_step(value: int | bytes) -> int | float:
    parts = {number: number_of(part) for number, part in read_fields(bytes_of(value)) if number in {1, 2}}
    whole, micro = parts.get(1, 0), parts.get(2, 0)
    return (whole * MICRO + micro) / MICRO if micro else whole


def _read_time(value: int | bytes) -> int:
    """`google.protobuf.Timestamp`: 1 seconds, 2 nanoseconds."""
    parts = {number: signed(part) for number, part in read_fields(bytes_of(value)) if number in {1, 2}}
    return parts.get(1, 0) * MICRO + round(parts.get(2, 0) / 1000)  # the client makes them of floats


def _read_entry(value: int | bytes) -> tuple[str, bytes]:
    """An entry of a map: 1 key, 2 value."""
    parts = dict(read_fields(bytes_of(value)))
    return text(parts.get(1, b"")), bytes_of(parts.get(2, b""))


def _read_changes(data: bytes) -> Iterator[tuple[str, int]]:
    for number, value in read_fields(data):
        if number == 1:
            for inner, entry in read_fields(bytes_of(value)):
                if inner == 1:
                    parts = dict(read_fields(bytes_of(entry)))
                    yield text(parts.get(1, b"")), number_of(parts.get(2, 0))


def _read_value(data: bytes) -> ScaleValue | None:
    """Return a value; None for one of a type that a later version has."""
    found: ScaleValue | None = None
    for number, value in read_fields(data):
        if number == 1:
            found = double(value)
        elif number == 3:
            found = signed(value)
        elif number == 5:
            found = bool(value)
        elif number == 6:
            found = text(value)
        elif number == 8:
            found = Timestamp(_read_time(value))
        elif number == 12:
            found = tuple(sorted(text(item) for key, item in read_fields(bytes_of(value)) if key == 1))
        elif number == 13:
            found = _read_file(bytes_of(value))
        elif number == 14:
            found = _read_bins(bytes_of(value))
    return found


def _read_file(data: bytes) -> FileRef:
    parts = dict(read_fields(data))
    return FileRef(text(parts.get(1, b"")), signed(parts.get(2, 0)), text(parts.get(3, b"")))


def _read_bins(data: bytes) -> Bins:
    edges: list[float] = []
    counts: list[int] | None = None
    densities: list[float] | None = None
    for number, value in read_fields(data):
        if number == 1:
            edges += doubles(value)
        elif number == 4:
            counts = [one for key, item in read_fields(bytes_of(value)) if key == 1 for one in varints(item)]
        elif number == 5:
            densities = [one for key, item in read_fields(bytes_of(value)) if key == 1 for one in doubles(item)]
    return Bins(edges, counts, densities)

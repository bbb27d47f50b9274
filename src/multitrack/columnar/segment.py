"""A side file: the points of a stretch of one writer's file, as columns, in Parquet.

Each row is a point; each metric has rows of its own, so that one is read without the others. A row group holds one large metric's points,
or those of several small ones. Whatever no column holds is whole in `odd`, in the terms of the codec.

    step int64 | fraction float64    the step; neither where there is none
    time int64
    value float64 | integer int64    the value
    odd                              [step, time, value] in JSON, where any of the three is something else: a text, a huge int, ...

What the file covers, and where each metric is, stands in the metadata under `multitrack`, with a checksum for each row group; the name of
the file has that of the metadata. (Parquet's own are of a page's content, and leave out its header: a changed bit there goes unnoticed.)
"""

from __future__ import annotations

import os
import tempfile
import zlib
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import RecordError
from ..records import MetricSource, from_wire, to_wire
from ..state import ColumnName, Series

VERSION = 1
SCHEMA = pa.schema(
    {
        "step": pa.int64(),
        "fraction": pa.float64(),
        "time": pa.int64(),
        "value": pa.float64(),
        "integer": pa.int64(),
        "odd": pa.binary(),
    }
)
_KEY = "multitrack"
_GROUP = 1 << 16
"""Rows in a row group, at most."""
_FULL = 1 << 15
"""Rows from which on a row group is not shared with the next metric."""
_INT64 = range(-(2**63), 2**63)
_SOURCES: tuple[str, ...] = get_args(MetricSource)
_COLUMNS_OF: dict[ColumnName, tuple[str, ...]] = {"steps": ("step", "fraction"), "times": ("time",), "values": ("value", "integer")}


class SideFileError(Exception):
    """A side file cannot be used: it is damaged, gone, or of another version. The lines say the same."""


@dataclass(slots=True)
class Held:
    """What a side file has of one metric."""

    source: MetricSource
    length: int = 0
    columns: set[str] = field(default_factory=set)
    """Those with any value."""
    stepless: bool = False
    """Whether some points have no step."""
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    """Row group, first row in it, number of rows."""

    def __len__(self) -> int:
        return self.length


@dataclass(slots=True)
class Covered:
    """What a side file covers."""

    run: str
    writer: str
    start: int
    end: int
    stamp: tuple[int, int, int]
    """What the journal's file looked like: its inode, size and time of change in ns."""
    crc: int
    """CRC-32 of the bytes that are covered."""
    others: list[tuple[int, int]]
    """Where, in bytes of the journal's file, those lines are that are no points, and perhaps a few that are."""
    metrics: dict[str, Held] = field(default_factory=dict)
    groups: list[tuple[int, int]] = field(default_factory=list)
    """Of each row group, the byte after it, and the CRC-32 of its bytes."""


# -- points as columns


def table_of(series: Series) -> pa.Table:
    """Return a series as a table of `SCHEMA`."""
    steps, times, values = series.steps, series.times, series.values
    step_types, value_types = set(map(type, steps)), set(map(type, values))
    if len(step_types) == 1 and len(value_types) == 1 and value_types <= _VALUE_COLUMN.keys():
        usual: dict[str, list[Any]] = {"time": times, _VALUE_COLUMN[value_types.pop()]: values}
        if name := _STEP_COLUMN[step_types.pop()]:
            usual[name] = steps
        with suppress(OverflowError):
            return _table({name: _pack(column, name) for name, column in usual.items()}, len(times))
    columns: dict[str, list[Any]] = {name: [None] * len(times) for name in SCHEMA.names}
    for row, (step, time, value) in enumerate(zip(steps, times, values, strict=True)):
        if type(value) not in _VALUE_COLUMN or not all(type(number) is not int or number in _INT64 for number in (step, time, value)):
            columns["odd"][row] = orjson.dumps(to_wire([step, time, value]))
            continue
        if name := _STEP_COLUMN[type(step)]:
            columns[name][row] = step
        columns["time"][row] = time
        columns[_VALUE_COLUMN[type(value)]][row] = value
    return _table({name: pa.array(column, SCHEMA.field(name).type) for name, column in columns.items()}, len(times))


_STEP_COLUMN: dict[type, str | None] = {int: "step", float: "fraction", type(None): None}
_VALUE_COLUMN: dict[type, str] = {float: "value", int: "integer"}


def _pack(numbers: list[Any], column: str) -> pa.Array:
    """Return numbers of one type as an array, by way of the standard library's: `pa.array` imports pandas, which takes half a second.

    Raises:
        OverflowError: one of them is beyond 64 bits.
    """
    kind = SCHEMA.field(column).type
    packed = pa.py_buffer(array("q" if kind == pa.int64() else "d", numbers))
    return pa.Array.from_buffers(kind, len(numbers), [None, packed])


def _table(columns: Mapping[str, pa.Array], rows: int) -> pa.Table:
    return pa.Table.from_arrays([columns.get(one.name, pa.nulls(rows, one.type)) for one in SCHEMA], schema=SCHEMA)


def columns_for(part: ColumnName, there: set[str]) -> list[str]:
    """Return the columns to read for a part of the points, of those that are there."""
    return [name for name in (*_COLUMNS_OF[part], "odd") if name in there]


def list_of(table: pa.Table, part: ColumnName) -> list[Any]:
    """Return a part of a table's points as they were recorded. The table has the columns that `columns_for` names."""
    place = list(_COLUMNS_OF).index(part)
    merged: list[Any] = [None] * len(table)
    for name in _COLUMNS_OF[part]:
        if name in table.column_names and (column := table[name]).null_count < len(table):
            found = column.to_pylist()
            merged = found if column.null_count == 0 else [new if new is not None else old for new, old in zip(found, merged, strict=True)]
    if "odd" in table.column_names and (odd := table["odd"]).null_count < len(table):
        for row, wire in enumerate(odd.to_pylist()):
            if wire is not None:
                merged[row] = from_wire(orjson.loads(wire))[place]
    return merged


def note(held: Held, table: pa.Table) -> None:
    """Bring what is known of a metric up to date with more of its points."""
    held.length += len(table)
    held.columns.update(name for name in SCHEMA.names if table[name].null_count < len(table))
    with_step = sum(len(table) - table[name].null_count for name in ("step", "fraction", "odd"))
    held.stepless = held.stepless or with_step < len(table)


# -- writing


class SegmentWriter:
    """Writes a side file."""

    def __init__(self, path: Path) -> None:
        self.name: str | None = None
        """What the file has to be called; None before it is finished."""
        self._path = path
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(
            self._file,
            SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=False,
            column_encoding={
                **dict.fromkeys(("step", "time", "integer"), "DELTA_BINARY_PACKED"),
                **dict.fromkeys(("fraction", "value"), "BYTE_STREAM_SPLIT"),
                "odd": "PLAIN",
            },
            store_schema=False,
        )
        self._metrics: dict[str, Held] = {}
        self._groups: list[tuple[int, int]] = []
        self._open: list[pa.Table] = []
        self._rows = 0

    def add(self, metrics: Mapping[str, Series]) -> None:
        """Write points, metric by metric."""
        for name, series in metrics.items():
            held = self._metrics.setdefault(name, Held(series.source))
            table = table_of(series)
            note(held, table)
            for first in range(0, len(table), _GROUP):
                piece = table.slice(first, _GROUP)
                if self._rows + len(piece) > _GROUP:
                    self._close_group()
                held.spans.append((len(self._groups), self._rows, len(piece)))
                self._open.append(piece)
                self._rows += len(piece)
                if self._rows >= _FULL:
                    self._close_group()
        self._close_group()

    def _close_group(self) -> None:
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._open), row_group_size=_GROUP)
            self._file.flush()
            start, end = self._groups[-1][0] if self._groups else 0, self._file.tell()
            self._groups.append((end, crc_of(self._path, start, end)))
        self._open, self._rows = [], 0

    def finish(self, covered: Covered) -> None:
        """Write what the file covers, which makes it one that can be read."""
        covered.metrics, covered.groups = self._metrics, self._groups
        self._writer.add_key_value_metadata({_KEY: _to_json(covered)})
        self.close()
        self.name = f"{covered.writer}.{covered.start}-{covered.end}.{_crc_of_metadata(self._path):08x}.parquet"

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()
        self._file.close()


@contextmanager
def writing(folder: Path) -> Iterator[SegmentWriter]:
    """A side file under way: in its place only once it was finished and all went well."""
    fd, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=".parquet")
    os.close(fd)
    temporary = Path(name)
    try:
        writer = SegmentWriter(temporary)
        try:
            yield writer
        finally:
            writer.close()
        if writer.name is not None:
            temporary.chmod(0o644)
            temporary.replace(folder / writer.name)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _to_json(covered: Covered) -> bytes:
    return orjson.dumps(
        {
            "version": VERSION,
            "run": covered.run,
            "writer": covered.writer,
            "covers": [covered.start, covered.end],
            "stamp": covered.stamp,
            "crc": covered.crc,
            "others": covered.others,
            "groups": covered.groups,
            "metrics": [
                [to_wire(name), held.source, held.length, sorted(held.columns), held.stepless, held.spans]
                for name, held in covered.metrics.items()
            ],
        }
    )


def _from_json(data: bytes) -> Covered:
    told = orjson.loads(data)
    if told["version"] != VERSION:
        raise ValueError(f"version {told['version']}")
    metrics = {}
    for name, source, length, columns, stepless, spans in told["metrics"]:
        if source not in _SOURCES or sum(rows for _, _, rows in spans) != length or not set(SCHEMA.names).issuperset(columns):
            raise ValueError(f"metric {name!r}")
        metrics[from_wire(name)] = Held(source, length, set(columns), stepless, [(group, first, rows) for group, first, rows in spans])
    inode, size, changed = told["stamp"]
    start, end = told["covers"]
    others = [(first, last) for first, last in told["others"]]
    groups = [(last, crc) for last, crc in told["groups"]]
    return Covered(told["run"], told["writer"], start, end, (inode, size, changed), told["crc"], others, metrics, groups)


def crc_of(path: Path, start: int, end: int) -> int:
    """Return the CRC-32 of a file's bytes."""
    crc, left = 0, end - start
    with path.open("rb") as file:
        file.seek(start)
        while left > 0 and (data := file.read(min(1 << 20, left))):
            crc = zlib.crc32(data, crc)
            left -= len(data)
    return crc


def _crc_of_metadata(path: Path) -> int:
    """Return the CRC-32 of what follows the row groups [Parquet: the metadata, their length in four bytes, and `PAR1`]."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        length = int.from_bytes(file.read(4), "little")
    return crc_of(path, max(0, size - 8 - length), size)


# -- reading


@contextmanager
def _said_plainly(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, RecordError) as error:
        raise SideFileError(f"{path.name}: {error}") from error


class Segment:
    """A side file that was found."""

    def __init__(self, path: Path) -> None:
        """Read what it covers.

        Raises:
            SideFileError: it cannot be used.
        """
        self.path = path
        with _said_plainly(path):
            if f".{_crc_of_metadata(path):08x}." not in path.name:
                raise ValueError("the metadata is damaged")
            self._metadata = pq.read_metadata(path)
            self.covered = _from_json(self._metadata.metadata[_KEY.encode()])

    def tables(self, name: str, columns: list[str]) -> Iterator[pa.Table]:
        """Yield a metric's points piece by piece: these columns.

        Raises:
            SideFileError: it cannot be read.
        """
        with _said_plainly(self.path):
            file = pq.ParquetFile(self.path, metadata=self._metadata)
        with file:
            for group, first, rows in self.covered.metrics[name].spans:
                with _said_plainly(self.path):
                    self._check(group)
                    table = file.read_row_group(group, columns=columns, use_threads=False).slice(first, rows)
                    if len(table) != rows:
                        raise ValueError("rows are missing")
                yield table

    def _check(self, group: int) -> None:
        groups = self.covered.groups
        end, crc = groups[group]
        if crc_of(self.path, groups[group - 1][0] if group else 0, end) != crc:
            raise ValueError(f"row group {group} is damaged")

    def table(self, name: str) -> pa.Table:
        """Return a metric's points, all columns that have a value.

        Raises:
            SideFileError: it cannot be read.
        """
        columns = sorted(self.covered.metrics[name].columns)
        empty = SCHEMA.empty_table().select(columns)
        return pa.concat_tables([empty, *self.tables(name, columns)])

"""The series of a run: points and console lines, a batch of rows in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from multitrack.records import Histogram, LogLines, Microseconds, Points

from .. import console, names
from ..attributes import Attributes, Client
from .columns import flat, microseconds, steps, to_list
from .table import VALUES, Part

CHUNK = 10_000
"""Points in a record."""
_COLUMNS = ("step", "timestamp")
_Stream = Literal["stdout", "stderr"]
Mend = Callable[[Sequence[Microseconds]], Sequence[Microseconds]]
Column = tuple[str, list[int | float | None], list[Microseconds], list[Any]]
"""Of some points of one series: its path, their steps, times and values."""


@dataclass
class Names:
    """What the series of a run are called. Of two types under one path, the first that is met keeps the path."""

    processes: Sequence[str] = ()
    """The marks of the monitored processes."""
    taken: dict[str, str] = field(default_factory=dict)

    def of(self, path: str, kind: str) -> str:
        """Return the name of a series."""
        name = self._of_system(path) if is_system(path) else path
        return name if self.taken.setdefault(name, kind) == kind else f"{name}:{kind}"

    def label(self, path: str) -> str | None:
        """Return the mark of the process that a path under `monitoring/` belongs to, where there are several."""
        mark = path.split("/")[1] if path.startswith(names.MONITORING) and path.count("/") > 1 else None
        return None if mark is None or list(self.processes) == [mark] else mark

    def _of_system(self, path: str) -> str:
        mark, *rest = path.split("/")[1:]
        if not rest or not path.startswith(names.MONITORING):
            return names.SYSTEM_METRICS + "/".join([mark, *rest])
        return names.SYSTEM_METRICS + "/".join(rest if self.label(path) is None else [mark, *rest])


def is_system(path: str) -> bool:
    """Return whether a path is one of resource usage and the like."""
    return path.startswith((names.MONITORING, names.RUNTIME))


def stream_of(path: str) -> _Stream | None:
    """Return which stream of the console a string series is; None if it is none."""
    last = path.rpartition("/")[2]
    return last if is_system(path) and last in names.STREAMS else None  # type: ignore[return-value]


@dataclass
class Findings:
    """What was noticed while the series were read."""

    without_value: Counter[str] = field(default_factory=Counter)
    """Points of which only step and time were exported, by path."""
    paths: set[str] = field(default_factory=set)
    spans: dict[bool, tuple[Microseconds, Microseconds]] = field(default_factory=dict)
    """The first and the last time of a point, of resource usage and console (True) and of all else."""

    def span(self, path: str, times: Sequence[Microseconds]) -> None:
        """Note the times of some points."""
        first, last = min(times), max(times)
        low, high = self.spans.get(is_system(path), (first, last))
        self.spans[is_system(path)] = min(low, first), max(high, last)


@dataclass
class Series:
    """Reads the series of one run.

    Attributes:
        attributes: the run's.
        mend: sets times right.
        names: what its series are called.
        findings: filled while reading.
    """

    attributes: Attributes
    mend: Mend | None
    names: Names = field(default_factory=Names)
    findings: Findings = field(default_factory=Findings)

    def points(self, parts: Sequence[Part], *, until: Decimal | None = None) -> Iterator[Points]:
        """Yield every point of the parts; with `until`, only what a fork inherits: the user's own series up to this step."""
        for kind in sorted(names.SERIES):
            for path, at, times, values in self.columns(parts, kind, until):
                if stream_of(path) is None and (until is None or not path.startswith(names.OWN_NAMESPACES)):
                    # Unchecked: the columns are Arrow's, of one type each, and checking takes longer than reading.
                    yield Points.model_construct(
                        time=times[0],
                        name=self.names.of(path, kind),
                        steps=None if all(step is None for step in at) else at,
                        times=times,
                        values=values,
                        source="system" if is_system(path) else "user",
                    )

    def columns(self, parts: Sequence[Part], kind: str, until: Decimal | None = None) -> Iterator[Column]:
        """Yield the points of the series of one type, at most `CHUNK` of one series at a time."""
        for part in parts:
            for table in part.rows({kind}, columns=[*_COLUMNS, VALUES[kind]]):
                inherited = None if until is None else pc.less_equal(table["step"], pa.scalar(until, pa.decimal128(18, 6)))
                for path, rows in self._by_path(table if inherited is None else table.filter(inherited), VALUES[kind]):
                    for start in range(0, rows.num_rows, CHUNK):
                        chunk = rows.slice(start, CHUNK)
                        values = _VALUES[kind](flat(chunk[VALUES[kind]]))
                        yield path, steps(flat(chunk["step"])), self._times(path, chunk), values

    def _by_path(self, table: Any, column: str) -> Iterator[tuple[str, Any]]:
        """Yield the rows of each attribute, in their order, without those that hold nothing."""
        there = table[column].is_valid()
        if not pc.all(there).as_py():
            lost = table.filter(pc.and_(pc.invert(there), table["timestamp"].is_valid()))
            self.findings.without_value.update(lost["attribute_path"].to_pylist())
            table = table.filter(there)
        if not table.num_rows:
            return
        codes = flat(table["attribute_path"]).indices
        runs = pc.run_end_encode(codes)
        if len(runs.values) > pc.count_distinct(codes).as_py():
            table = table.take(pc.sort_indices(codes))  # stable
            runs = pc.run_end_encode(flat(table["attribute_path"]).indices)
        dictionary = flat(table["attribute_path"]).dictionary
        start = 0
        for code, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            if code is not None:
                self.findings.paths.add(path := dictionary[code].as_py())
                yield path, table.slice(start, end - start)
            start = end

    def _times(self, path: str, rows: Any) -> list[Microseconds]:
        times = microseconds(flat(rows["timestamp"]), self.attributes.started)
        if self.mend is not None:
            return list(self.mend(times))
        self.findings.span(path, times)
        return times

    # -- the console

    def console(self, parts: Sequence[Part]) -> Iterator[LogLines]:
        """Yield what was printed, stream by stream."""
        for path, in_order in sorted(self._streams(parts).items()):
            stream = stream_of(path)
            if stream is not None:
                pieces = self._pieces(path, self._rows_of(parts, path, in_order=in_order))
                lines = _LINES[self.attributes.client](pieces)
                yield from console.records(lines, stream, self.names.label(path))

    def _streams(self, parts: Sequence[Part]) -> dict[str, bool]:
        """Return the paths of the streams, and whether each one's rows are in the order of their steps."""
        last: dict[str, Decimal] = {}
        in_order: dict[str, bool] = {}
        for prefix in (names.MONITORING, names.RUNTIME):
            for part in parts:
                for table in part.rows({"string_series"}, prefix=prefix, columns=["step"]):
                    paths = table["attribute_path"].to_pylist()
                    for path, step in zip(paths, table["step"].to_pylist(), strict=True):
                        if stream_of(path) is not None:
                            in_order[path] = in_order.get(path, True) and (step is None or last.get(path, step) <= step)
                            last[path] = last.get(path, Decimal(0)) if step is None else step
        return in_order

    def _rows_of(self, parts: Sequence[Part], path: str, *, in_order: bool) -> Iterator[Any]:
        """Yield the rows of one attribute by their steps. Where the files hold them otherwise, all its text is sorted in memory."""
        tables = (
            table.filter(pc.equal(table["attribute_path"].cast(pa.string()), path)).select([*_COLUMNS, "string_value"])
            for part in parts
            for table in part.rows({"string_series"}, prefix=path, columns=[*_COLUMNS, "string_value"])
        )
        if in_order:
            yield from tables
        else:
            whole = pa.concat_tables(tables)
            yield whole.take(pc.sort_indices(whole, sort_keys=[("step", "ascending")]))

    def _pieces(self, path: str, tables: Iterator[Any]) -> Iterator[tuple[Microseconds, str]]:
        for table in tables:
            rows = table.filter(table["string_value"].is_valid())
            if rows.num_rows:
                self.findings.paths.add(path)
                yield from zip(self._times(path, rows), rows["string_value"].to_pylist(), strict=True)


_LINES: dict[Client, Callable[[Iterator[tuple[Microseconds, str]]], Iterator[tuple[Microseconds, str]]]] = {
    "1.x": console.join,
    "scale": console.whole,
}


def _histograms(column: Any) -> list[Histogram]:
    return [_histogram(value) for value in column.to_pylist()]


def _histogram(value: dict[str, Any]) -> Histogram:
    """Return a histogram. Densities become the share of each bin: what lies between two edges, as counts do."""
    edges, values = value["edges"] or [], value["values"] or []
    if "dens" in (value["type"] or "").lower():
        values = [density * (high - low) for density, low, high in zip(values, edges, edges[1:], strict=False)]
    return Histogram(edges=edges, counts=[int(count) if count.is_integer() else count for count in values])


_VALUES: dict[str, Callable[[Any], list[Any]]] = {"float_series": to_list, "string_series": to_list, "histogram_series": _histograms}

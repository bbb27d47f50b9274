"""A stretch of a writer's file, its points read from a side file where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any

from ..journal import WriterFile
from ..records import Record
from ..state import ColumnName, Point, RunState, Series
from .lines import parts, sort_out
from .segment import Held, Segment, SideFileError, columns_for, list_of, note, table_of


class Place:
    """One stretch. Where its side file cannot be read, or is gone by now, the lines say the same."""

    def __init__(self, file: WriterFile, start: int, end: int, segment: Segment | None = None) -> None:
        self._file = file
        self._start = start
        self._end = end
        self._segment = segment
        self._from_lines: RunState | None = None

    def others(self) -> Iterator[Record]:
        """Yield the records that are no points."""
        if self._segment is None:
            yield from self._read_lines()
            return
        for start, end in self._segment.covered.others:
            for part in parts(self._file, start, end):
                for _, _, record in sort_out(part, self._file.path, RunState()):
                    yield record

    @property
    def metrics(self) -> Mapping[str, Held | Series]:
        """Each metric that has points here, in the order of their first: its source, and their number."""
        return self._points() if self._segment is None else self._segment.covered.metrics

    def column(self, name: str, part: ColumnName) -> list[Any]:
        """Return a column of a metric."""
        if self._segment is not None:
            with suppress(SideFileError):
                return self._read_column(self._segment, name, part)
            self._give_up()
        return self._points()[name].column(part)

    def _read_column(self, segment: Segment, name: str, part: ColumnName) -> list[Any]:
        held = segment.covered.metrics[name]
        columns = columns_for(part, held.columns)
        if not columns:
            return [None] * len(held)
        column: list[Any] = []
        for table in segment.tables(name, columns):
            column += list_of(table, part)
        return column

    def points(self, name: str) -> Iterator[Point]:
        """Yield a metric's points; a few at a time are in memory."""
        done = 0
        if self._segment is not None:
            try:
                for table in self._segment.tables(name, sorted(self._segment.covered.metrics[name].columns)):
                    yield from zip(list_of(table, "steps"), list_of(table, "times"), list_of(table, "values"), strict=True)
                    done += len(table)
                return
            except SideFileError:
                self._give_up()
        yield from islice(self._points()[name].points(), done, None)

    def table(self, name: str) -> tuple[Any, Held]:
        """Return a metric's points as a table of `segment.SCHEMA`, the columns without a value left out, and what is known of it."""
        if self._segment is not None:
            held = self._segment.covered.metrics[name]
            with suppress(SideFileError):
                return self._segment.table(name), held
            self._give_up()
        series = self._points()[name]
        table, held = table_of(series), Held(series.source)
        note(held, table)
        return table.select(sorted(held.columns)), held

    def _give_up(self) -> None:
        if self._segment is not None:
            with suppress(OSError):
                self._segment.path.unlink()
            self._segment = None

    def _points(self) -> dict[str, Series]:
        if self._from_lines is None:
            for _ in self._read_lines():
                pass
        return self._from_lines.metrics if self._from_lines is not None else {}

    def _read_lines(self) -> Iterator[Record]:
        points = RunState()
        for part in parts(self._file, self._start, self._end):
            for _, _, record in sort_out(part, self._file.path, points):
                yield record
        self._from_lines = points

"""Points between a query and the records: packed, 25 bytes a point, so that a query can end before its points are passed on."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from multitrack.records import Value

from .native import CHUNK, Column


@dataclass(slots=True)
class Series:
    """Points of one metric, in order."""

    key: str
    times: array[int] = field(default_factory=lambda: array("q"))
    steps: array[int] = field(default_factory=lambda: array("q"))
    nans: bytearray = field(default_factory=bytearray)
    values: array[float] = field(default_factory=lambda: array("d"))

    def append(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows of (key, time, step, is NaN, value)."""
        _, times, steps, nans, values = zip(*rows, strict=True)
        self.times.extend(times)
        self.steps.extend(steps)
        self.nans.extend(nans)
        self.values.extend(values)

    def columns(self, *, whole: bool) -> Iterator[Column]:
        """Yield the points, `CHUNK` at a time, and forget them; the last ones, fewer than that, only where the series is `whole`."""
        count = len(self.times) if whole else len(self.times) - len(self.times) % CHUNK
        for start in range(0, count, CHUNK):
            yield self._column(slice(start, min(start + CHUNK, count)))
        del self.times[:count], self.steps[:count], self.nans[:count], self.values[:count]

    def _column(self, part: slice) -> Column:
        values: list[Value] = [*self.values[part]]
        nans = self.nans[part]
        if any(nans):
            values = [math.nan if nan else value for nan, value in zip(nans, values, strict=True)]
        return Column(self.key, self.times[part].tolist(), [*self.steps[part]], values)


def append_rows(series: list[Series], rows: Sequence[tuple[Any, ...]]) -> None:
    """Add rows, sorted by key, to the last of the series, or to new ones."""
    is_one = rows[0][0] == rows[-1][0]
    for key, some in [(rows[0][0], iter(rows))] if is_one else groupby(rows, key=itemgetter(0)):
        if not series or series[-1].key != key:
            series.append(Series(key))
        series[-1].append(list(some))

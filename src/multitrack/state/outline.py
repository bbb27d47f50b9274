"""A run in outline: all that its records say but the points, of which only those are kept that may stand for their metric.

What a training process does with its own journal when a run ends: no models are made of the rows, and memory stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..records import Metrics, MetricSource, Points, Record
from ..records.rows import Column, read_column, read_row
from .fold import RunState, fold
from .series import Series


@dataclass(slots=True)
class _Tally:
    count: int = 0
    first: Any = None
    last: Any = None
    low: Any = None
    high: Any = None
    source: MetricSource = "user"

    def series(self) -> Series:
        """Return the points that stand for the metric, in an order in which each rule finds its own: the first of equal values counts."""
        if not self.count:
            return Series(source=self.source)
        extremes = [] if self.low is None else [self.low, self.high]
        return Series(values=[self.first, *extremes, self.last], source=self.source)


class Outline:
    """Takes a run's records, or their lines, in reading order."""

    def __init__(self) -> None:
        self._state = RunState()
        self._tallies: dict[str, _Tally] = {}

    def take_line(self, line: bytes) -> bool:
        """Take points straight from their line. False: it is something else, to be decoded and given to `take`."""
        if (row := read_row(line)) is not None:
            self._add(row[2].items(), row[3])
        elif (column := read_column(line)) is not None:
            self._add_column(column)
        else:
            return False
        return True

    def take(self, records: Iterable[Record]) -> None:
        """Take records."""
        fold((record for record in records if not self._take_points(record)), self._state)

    def _take_points(self, record: Record) -> bool:
        if isinstance(record, Metrics):
            self._add(record.values.items(), record.source)
        elif isinstance(record, Points):
            self._add_column(record)
        else:
            return False
        return True

    def _add_column(self, column: Points | Column) -> None:
        self._tallies.setdefault(column.name, _Tally(source=column.source))  # a column may be empty
        self._add(((column.name, value) for value in column.values), column.source)

    def _add(self, points: Iterable[tuple[str, Any]], source: MetricSource) -> None:
        tallies = self._tallies
        for name, value in points:
            tally = tallies.get(name)
            if tally is None:
                tally = tallies[name] = _Tally(source=source)
            if not tally.count:
                tally.first = value
            tally.count += 1
            tally.last = value
            kind = type(value)
            if (kind is float or kind is int or kind is bool) and value == value:  # no NaN  # noqa: PLR0124
                if tally.low is None:
                    tally.low = tally.high = value
                elif value < tally.low:
                    tally.low = value
                elif value > tally.high:
                    tally.high = value

    @property
    def has_means(self) -> bool:
        """Whether a definition asks for a mean: that takes all points, and the order in which they are added up."""
        return any(definition.summary == "mean" for definition in self._state.definitions.values())

    def state(self) -> RunState:
        """Return the run; its series hold the values that may stand for them, and no steps or times."""
        self._state.metrics = {name: tally.series() for name, tally in self._tallies.items()}
        return self._state

    def counts(self) -> dict[str, int]:
        """Return the number of points of each metric."""
        return {name: tally.count for name, tally in self._tallies.items()}

"""A large run: everything but the points at hand, and those read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import pyarrow as pa

from ..journal import Journal
from ..state import ColumnName, Point, RunState, StoredSeries, fold
from .files import find_places
from .places import Place


class StoredPoints:
    """The points of one metric, wherever they are."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._places: list[Place] = []
        self._length = 0

    def add(self, place: Place) -> None:
        """Go on with the points at a place."""
        self._places.append(place)
        self._length += len(place.metrics[self._name])

    def __len__(self) -> int:
        return self._length

    def column(self, name: ColumnName) -> list[Any]:
        """Return a column, read afresh."""
        return list(chain.from_iterable(place.column(self._name, name) for place in self._places))

    def points(self) -> Iterator[Point]:
        """Yield (step, time, value), reading piece by piece."""
        return chain.from_iterable(place.points(self._name) for place in self._places)

    def frame(self) -> Any:
        """Return a pandas DataFrame; None where some points are without a step, or of more than one type."""
        tables, columns = [], set()
        for place in self._places:
            table, held = place.table(self._name)
            if held.stepless or not len(table):
                return None
            tables.append(table)
            columns |= held.columns
        steps, values = columns & {"step", "fraction"}, columns & {"value", "integer"}
        if len(columns) != 3 or len(steps) != 1 or len(values) != 1:
            return None
        table = pa.concat_tables(tables)
        time = table["time"].cast(pa.timestamp("us", tz="UTC"))
        frame = pa.table({"step": table[steps.pop()], "time": time, "value": table[values.pop()]})
        return frame.to_pandas(split_blocks=True)


def read_stored(journal: Journal, worth: int) -> RunState:
    """Return a run, its points read later; with at least `worth` bytes of lines that no side file covers, one is made first.

    Raises:
        RecordError: the journal was written by a newer multitrack.
    """
    state = RunState()
    stored: dict[str, StoredPoints] = {}
    for place in find_places(journal.run, journal.writers(), worth):
        fold(place.others(), state)
        for name, known in place.metrics.items():
            if name not in stored:
                stored[name] = StoredPoints(name)
                state.metrics[name] = StoredSeries(stored[name], known.source)
            stored[name].add(place)
    return state

"""Rows of history, and of system metrics, to columns of points. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from multitrack.records import MetricSource, Microseconds, Points

from . import names
from .native import CHUNK
from .values import flat, from_json, int_from_text

_HIDDEN = (names.STEP, names.TIMESTAMP, names.RUNTIME, "_wandb")
_EVENT = "system."


class History:
    """Takes rows in their order, and gives columns as soon as they are full.

    Args:
        ours: whether multitrack wrote the run.
        ints: the metrics whose numbers are ints, where it did.
        started: when the run started; a row without a time has it by its `_runtime`.
        source: whether the rows are history or system metrics.
        rename: what a system metric that W&B calls so is called here.

    Attributes:
        last: each column's last value, as W&B has it.
        dropped: how many values were no points: null, or empty.
    """

    def __init__(
        self,
        *,
        ours: bool,
        ints: Iterable[str] = (),
        started: Microseconds = 0,
        source: MetricSource = "user",
        rename: Callable[[str], str] | None = None,
    ) -> None:
        self._ours = ours
        self._ints = frozenset(ints)
        self._started = started
        self._source = source
        self._rename = rename
        self._columns: dict[str, tuple[list[Any], list[Microseconds], list[Any]]] = {}
        self.last: dict[str, Any] = {}
        self.dropped = 0

    def add(self, row: Mapping[str, Any]) -> Iterator[Points]:
        """Take a row; yield the columns that it fills."""
        time = self._time_of(row)
        other = _names_in(row.get(names.OTHER_TYPE)) if self._ours else ()
        step = self._step_of(row, other)
        for key, raw in flat(row):
            if self._is_hidden(key):
                continue
            name = key if self._rename is None else self._rename(key)
            value = from_json(raw, floats=self._are_floats(name, other))
            if value is None:
                self.dropped += 1
                continue
            self.last[name] = raw
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = ([], [], [])
            column[0].append(step)
            column[1].append(time)
            column[2].append(value)
            if len(column[1]) >= CHUNK:
                yield self._points(name, self._columns.pop(name))

    def rest(self) -> Iterator[Points]:
        """Yield what is left."""
        columns, self._columns = self._columns, {}
        for name, column in columns.items():
            yield self._points(name, column)

    def _points(self, name: str, column: tuple[list[Any], list[Microseconds], list[Any]]) -> Points:
        steps, times, values = column
        # Unchecked: the columns are made right here, and checking a million values takes longer than all else.
        return Points.model_construct(
            time=times[0],
            name=name,
            steps=None if all(step is None for step in steps) else steps,
            times=times,
            values=values,
            source=self._source,
        )

    def _is_hidden(self, name: str) -> bool:
        return name in _HIDDEN or (self._ours and name in (names.OWN_STEP, names.OTHER_TYPE))

    def _are_floats(self, name: str, other: Iterable[str]) -> bool | None:
        if not self._ours:
            return None if self._source == "user" else True
        is_int = (name if self._source == "user" else f"system:{name}") in self._ints
        return is_int == (name in other)

    def _time_of(self, row: Mapping[str, Any]) -> Microseconds:
        time = row.get(names.TIMESTAMP)
        if isinstance(time, int | float) and math.isfinite(time):
            return round(time * 1e6)
        runtime = row.get(names.RUNTIME)
        return self._started + (round(runtime * 1e6) if isinstance(runtime, int | float) and math.isfinite(runtime) else 0)

    def _step_of(self, row: Mapping[str, Any], other: Iterable[str]) -> int | float | None:
        if not self._ours:
            step = row.get(names.STEP)
            return step if isinstance(step, int | float) else None
        step = row.get(names.OWN_STEP)
        if step is None:
            return None
        if isinstance(step, str):
            found = from_json(step, floats=None)
            return found if isinstance(found, float) else int_from_text(step)
        return float(step) if names.OWN_STEP in other or not float(step).is_integer() else int(step)


def events(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of system metrics, as the service has it, with its keys as the log has them: `cpu` for `system.cpu`."""
    return {name.removeprefix(_EVENT): value for name, value in row.items()}


def _names_in(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()

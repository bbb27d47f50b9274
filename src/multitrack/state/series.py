"""The points of one metric: in lists, or stored somewhere and read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..records import MetricSource, Microseconds

ColumnName = Literal["steps", "times", "values"]
_COLUMNS: tuple[ColumnName, ...] = ("steps", "times", "values")
Point = tuple[int | float | None, Microseconds, Any]


@dataclass(slots=True)
class Series:
    """All points of one metric, in the order in which they arrived: columns of the same length."""

    steps: list[int | float | None] = field(default_factory=list)
    times: list[Microseconds] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    """bool, int, float, str, Histogram or ArtifactRef."""
    source: MetricSource = "user"

    def __len__(self) -> int:
        return len(self.times)

    def column(self, name: ColumnName) -> list[Any]:
        """Return a column to look at. What is stored elsewhere is read for it, and not kept."""
        column: list[Any] = getattr(self, name)
        return column

    def points(self) -> Iterator[Point]:
        """Yield (step, time, value). What is stored elsewhere is read piece by piece."""
        return zip(self.steps, self.times, self.values, strict=True)


class Stored(Protocol):
    """Where a series' points are."""

    def __len__(self) -> int: ...
    def column(self, name: ColumnName) -> list[Any]: ...
    def points(self) -> Iterator[Point]: ...

    def frame(self) -> Any:
        """Return a pandas DataFrame with the columns `step`, `time` and `value`; None where that has to go through Python's objects."""
        ...


class StoredSeries(Series):
    """A series whose points are read when they are asked for, and kept from then on if that was by `steps`, `times` or `values`."""

    __slots__ = ("stored",)

    def __init__(self, stored: Stored, source: MetricSource) -> None:
        # The lists of the class above are left unset: `__getattr__` is asked for them, once.
        self.stored = stored
        self.source = source

    def __getattr__(self, name: str) -> list[Any]:
        for column in _COLUMNS:
            if name == column:
                loaded = self.stored.column(column)
                setattr(self, name, loaded)
                return loaded
        raise AttributeError(name)

    def __len__(self) -> int:
        return len(self.times) if self._has("times") else len(self.stored)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        return self.source == other.source and all(self.column(name) == other.column(name) for name in _COLUMNS)

    __hash__ = None  # type: ignore[assignment]  # as that of the class above

    def column(self, name: ColumnName) -> list[Any]:
        """As `Series.column`."""
        return Series.column(self, name) if self._has(name) else self.stored.column(name)

    def points(self) -> Iterator[Point]:
        """As `Series.points`."""
        return Series.points(self) if self._has("values") else self.stored.points()

    def _has(self, name: ColumnName) -> bool:
        try:
            object.__getattribute__(self, name)
        except AttributeError:
            return False
        return True

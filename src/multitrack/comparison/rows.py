"""Fields of several runs beside each other. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..records import Record, read_fields, to_wire
from ..records.sameness import same


class _Absent:
    """Stands for the value that a run does not have; None is a value."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Row:
    """One field that is not the same everywhere."""

    name: str
    values: tuple[Any, ...]
    """One a run; ABSENT where it has none."""

    def to_json(self) -> dict[str, Any]:
        """Return the row in terms of JSON; what a run does not have is `{"$": "absent"}`."""
        return {"name": self.name, "values": [wire(value) for value in self.values]}


def differing(columns: Sequence[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Return the fields that differ, in the order in which they are met first. NaN equals NaN; 1, 1.0 and True differ."""
    names = dict.fromkeys(name for column in columns for name in column)
    rows = (Row(name, tuple(column.get(name, ABSENT) for column in columns)) for name in names)
    return tuple(row for row in rows if not all(_same(row.values[0], value) for value in row.values[1:]))


def _same(one: Any, other: Any) -> bool:
    return one is other if one is ABSENT or other is ABSENT else same(one, other)


def fields_of(record: Record | None, keep: Callable[[str], bool]) -> dict[str, Any]:
    """Return a record's fields, nested ones under dotted names; without those that say nothing."""
    if record is None:
        return {}
    return flat({name: value for name, value in read_fields(record).items() if keep(name)})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under dotted names; None, and what is empty, is left out."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif value not in (None, []):
            found[f"{prefix}{name}"] = value
    return found


def wire(value: Any) -> Any:
    """Return a value as JSON can say it."""
    return {"$": "absent"} if value is ABSENT else to_wire(value)

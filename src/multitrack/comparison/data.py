"""Which files and columns of the data changed between two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..records import DataVersion
from ..state import RunState


@dataclass(frozen=True, slots=True)
class DataChange:
    """What leads from one run's version of a data set to another's."""

    before: str
    after: str
    name: str
    role: str | None
    lines: tuple[str, ...]
    """For people: files and columns that were added (`+`), removed (`-`) or changed (`~`)."""

    def to_json(self) -> dict[str, Any]:
        """Return the change in terms of JSON."""
        return {"from": self.before, "to": self.after, "name": self.name, "role": self.role, "changes": list(self.lines)}


def data_changes(runs: Sequence[tuple[str, RunState]]) -> list[DataChange]:
    """Return what leads from the first run's data to that of each other one, as far as their records list files and columns."""
    found = []
    for label, state in runs[1:]:
        first_label, first = runs[0]
        before, after = _by_place(first), _by_place(state)
        for place in [place for place in before if place in after]:
            lines = tuple(_lines(before[place], after[place]))
            if lines:
                found.append(DataChange(first_label, label, *place, lines))
    return found


def _by_place(state: RunState) -> dict[tuple[str, str | None], DataVersion]:
    return {(one.name, one.role): one for one in state.data.values()}


def _lines(before: DataVersion, after: DataVersion) -> Iterator[str]:
    if before.digest == after.digest:
        return
    yield from _changed("file", {one.path: one.digest for one in before.files}, {one.path: one.digest for one in after.files})
    old, new = ({one.name: (one.type, one.digest) for one in version.columns} for version in (before, after))
    yield from _changed("column", old, new)


def _changed(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({**before, **after}):
        if name not in after:
            yield f"- {what} {name}"
        elif name not in before:
            yield f"+ {what} {name}"
        elif before[name] != after[name]:
            yield f"~ {what} {name}"

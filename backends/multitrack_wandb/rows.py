"""Points to rows of history, and of system metrics. Pure.

W&B numbers the rows of a run: `_step` grows from row to row, and a row that does not is dropped by the SDK, or renumbered by
`wandb sync`. So a row's `_step` is the user's step where that is larger than the last row's, else the next number. The user's own
step stands in each row besides, whatever it is, and is the x-axis of charts in a run where the two have ever differed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from multitrack.backend import Entry
from multitrack.records import Metrics, MetricSource, Microseconds, Points

from . import names

SYSTEM = "system/"
"""multitrack's names of system metrics begin so; W&B has them in a place of their own, and calls them `system.NAME`."""


@dataclass(slots=True)
class Row:
    """Values of several metrics at one step and time."""

    step: int | float | None
    time: Microseconds
    values: dict[str, Any]


def rows_of(entries: Iterable[Entry]) -> tuple[list[Row], list[Row]]:
    """Return the rows of the user's points, and those of resource usage.

    A `Metrics` record is a row. Points that columns have at the same step and time share one; with columns among them, all rows are
    in the order of their times.
    """
    rows: dict[MetricSource, list[Row]] = {"user": [], "system": []}
    columns: dict[MetricSource, list[Points]] = {"user": [], "system": []}
    for entry in entries:
        record = entry.record
        if isinstance(record, Metrics):
            if record.values:
                rows[record.source].append(Row(record.step, record.time, record.values))
        elif isinstance(record, Points):
            columns[record.source].append(record)
    for source, found in columns.items():
        if found:
            rows[source] = sorted([*rows[source], *_joined(found)], key=lambda row: row.time)
    return rows["user"], rows["system"]


def _joined(columns: Sequence[Points]) -> list[Row]:
    rows: list[Row] = []
    known: dict[tuple[str, Any, Microseconds, int], Row] = {}
    for column in columns:
        seen: dict[tuple[Any, Microseconds], int] = {}
        steps: Sequence[Any] = column.steps if column.steps is not None else [None] * len(column.times)
        for step, time, value in zip(steps, column.times, column.values, strict=True):
            # A metric may have several values at a step and time: the n-th of each metric share a row.
            count = seen[step, time] = seen.get((step, time), -1) + 1
            key = (type(step).__name__, step, time, count)
            row = known.get(key)
            if row is None or column.name in row.values:
                row = known[key] = Row(step, time, {})
                rows.append(row)
            row.values[column.name] = value
    return rows


def next_step(last: int, step: int | float | None) -> int:
    """Return a row's `_step`, where the last row's was `last` (-1: there is none)."""
    wanted = step if type(step) is int and step <= names.FARTHEST_STEP else 0
    return max(last + 1, wanted)


def system_key(name: str) -> str:
    """Return what W&B calls a system metric, without its `system.`. A name that does not begin as ours do gets a slash."""
    return name.removeprefix(SYSTEM) if name.startswith(SYSTEM) and len(name) > len(SYSTEM) else f"/{name}"


def system_name(key: str) -> str:
    """Return multitrack's name of the system metric that W&B calls `key`."""
    return key[1:] if key.startswith("/") else SYSTEM + key

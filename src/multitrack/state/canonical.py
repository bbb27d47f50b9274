"""A run taken apart again, into records that fold to the same run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from ..records import CaptureFailed, Hyperparameters, LogLines, Microseconds, Points, Record, RunFinished, RunStarted, RunUpdated, Summary
from .fold import RunState
from .series import Series

_CHUNK = 10_000
"""Points in a canonical `Points` record."""


def to_records(state: RunState) -> list[Record]:
    """Return canonical records that fold to the same run: RunStarted first, RunFinished last, a series in chunks of 10,000 points.

    The times of records that are no part of the run itself (when a param was set) are the run's start.
    """
    return list(_records_of(state))


def _records_of(state: RunState) -> Iterator[Record]:
    time = state.started or 0
    yield from _start_of(state, time)
    if state.code is not None:
        yield state.code
    yield from state.environments.values()
    yield from state.data.values()
    if state.params or state.param_sources:
        yield Hyperparameters(time=time, values=state.params, sources=state.param_sources)
    yield from state.definitions.values()
    for name, series in state.metrics.items():
        yield from points_of(name, series)
    if state.summary:
        yield Summary(time=time, values=state.summary)
    yield from state.artifacts.values()
    yield from state.models.values()
    yield from _lines_of(state)
    yield from (CaptureFailed(time=time, what=what, error=error) for what, error in state.failures.items())
    yield from state.unknown
    if state.status == "scheduled" or state.deleted:
        yield RunUpdated(time=time, status="scheduled" if state.status == "scheduled" else None, deleted=state.deleted or None)
    if state.status not in ("scheduled", "running"):
        ended = time if state.ended is None else state.ended
        yield RunFinished.model_validate({"time": ended, "status": state.status, "error": state.error})


def _start_of(state: RunState, time: Microseconds) -> Iterator[Record]:
    called = {"name": state.name, "group": state.group, "job_type": state.job_type, "notes": state.notes}
    if state.id:
        more = {"parent": state.parent, "user": state.user, "host": state.host, "reproduces": state.reproduces, "origin": state.origin}
        yield RunStarted.model_validate({"time": time, "id": state.id, "project": state.project, "tags": state.tags, **called, **more})
    elif state.tags or any(text is not None for text in called.values()):
        yield RunUpdated.model_validate({"time": time, "tags": state.tags, **called})


def points_of(name: str, series: Series) -> Iterator[Points]:
    """Yield a series in chunks."""
    for first in range(0, max(len(series), 1), _CHUNK):
        part = slice(first, first + _CHUNK)
        steps = series.steps[part]
        times, values = series.times[part], series.values[part]
        # Unchecked: the columns come from records, and checking a million values takes longer than all else.
        yield Points.model_construct(
            time=times[0] if times else 0,
            name=name,
            steps=None if all(step is None for step in steps) else steps,
            times=times,
            values=values,
            source=series.source,
        )


def _lines_of(state: RunState) -> Iterator[LogLines]:
    """Yield the console, a record for each stretch of lines of one stream and process."""
    for (stream, label), stretch in groupby(state.console, key=lambda line: (line.stream, line.label)):
        lines = list(stretch)
        columns = {"times": [line.time for line in lines], "lines": [line.text for line in lines]}
        yield LogLines.model_validate({"time": lines[0].time, "stream": stream, "label": label, **columns})

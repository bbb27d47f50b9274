"""A run as its records make it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..records import (
    Artifact,
    CaptureFailed,
    CodeVersion,
    DataVersion,
    Environment,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    MetricSource,
    Microseconds,
    Model,
    Origin,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunStatus,
    RunUpdated,
    Summary,
)
from ..records.rows import Column, read_column, read_row
from .series import Series


class ConsoleLine(NamedTuple):
    """A line that was printed."""

    time: Microseconds
    stream: str
    text: str
    label: str | None = None
    """Which of several processes printed it: see `LogLines`."""


@dataclass(slots=True)
class RunState:
    """A run. Times are microseconds since the epoch, UTC."""

    id: str = ""
    """Empty as long as no RunStarted was read."""
    project: str = ""
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    parent: str | None = None
    tags: dict[str, str | None] = field(default_factory=dict)
    notes: str | None = None
    user: str | None = None
    host: str | None = None
    reproduces: str | None = None
    origin: Origin | None = None
    status: RunStatus = "running"
    """`running` until a RunFinished says otherwise. That a writer has vanished is known to the journal, not to the records."""
    started: Microseconds | None = None
    ended: Microseconds | None = None
    error: str | None = None
    deleted: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    """Nested as the user nests them."""
    param_sources: dict[str, Any] = field(default_factory=dict)
    """Where params come from, nested as they are, as far as it is known."""
    summary: dict[str, Any] = field(default_factory=dict)
    """What was set explicitly; see `last_values` for what to show."""
    metrics: dict[str, Series] = field(default_factory=dict)
    definitions: dict[str, MetricDefinition] = field(default_factory=dict)
    code: CodeVersion | None = None
    data: dict[tuple[str, str | None, str | None], DataVersion] = field(default_factory=dict)
    """By name, role and digest: a run may use two versions of a data set."""
    environments: dict[str | None, Environment] = field(default_factory=dict)
    """By host."""
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    """By id."""
    console: list[ConsoleLine] = field(default_factory=list)
    """In the order in which they were recorded."""
    failures: dict[str, str] = field(default_factory=dict)
    """What could not be captured, and why."""
    unknown: list[Record] = field(default_factory=list)
    """Records of kinds that only a newer version knows."""


def fold(records: Iterable[Record], into: RunState | None = None) -> RunState:
    """Return the run that the records make, in reading order; `into`, which is changed, where reading goes on.

    Of several RunStarted (one for each writer) the first says who the run is, and the earliest when it started.
    """
    state = RunState() if into is None else into
    for record in records:
        take = _TAKE.get(type(record))
        if take is None:
            state.unknown.append(record)
        else:
            take(state, record)
    return state


def take_line(state: RunState, line: bytes) -> bool:
    """Bring the points of a line straight into the run, without a record. False: it is something else, to be decoded and folded."""
    if (row := read_row(line)) is not None:
        _add_row(state, *row)
    elif (column := read_column(line)) is not None:
        _take_column(state, column)
    else:
        return False
    return True


def _take_start(state: RunState, record: RunStarted) -> None:
    state.started = record.time if state.started is None else min(state.started, record.time)
    if state.id:
        return
    for name in ("id", "project", "name", "group", "job_type", "parent", "notes", "user", "host", "reproduces", "origin"):
        setattr(state, name, getattr(record, name))
    state.tags.update(record.tags)


def _take_update(state: RunState, record: RunUpdated) -> None:
    for name in ("name", "group", "job_type", "notes", "deleted"):
        value = getattr(record, name)
        if value is not None:
            setattr(state, name, value)
    for tag in record.removed_tags:
        state.tags.pop(tag, None)
    state.tags.update(record.tags)
    if record.status is not None:
        state.status, state.ended, state.error = record.status, None, None


def _take_end(state: RunState, record: RunFinished) -> None:
    state.status, state.ended, state.error = record.status, record.time, record.error


def _take_params(state: RunState, record: Hyperparameters) -> None:
    merge_params(state.params, record.values)
    _forget(state.param_sources, record.values)
    merge_params(state.param_sources, record.sources)


def _forget(sources: dict[str, Any], values: dict[str, Any]) -> None:
    """Take away where these values came from: they are set again, from elsewhere."""
    for key, value in values.items():
        before = sources.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            _forget(before, value)
        if not isinstance(before, dict) or not isinstance(value, dict) or not before:
            sources.pop(key, None)


def merge_params(into: dict[str, Any], values: dict[str, Any]) -> None:
    """Bring params together: a mapping merges into a mapping, anything else replaces what stood there."""
    for key, value in values.items():
        if isinstance(value, dict):
            inner = into.get(key)
            if not isinstance(inner, dict):
                inner = into[key] = {}
            merge_params(inner, value)
        else:
            into[key] = value


def _take_row(state: RunState, record: Metrics) -> None:
    _add_row(state, record.time, record.step, record.values, record.source)


def _add_row(state: RunState, time: Microseconds, step: int | float | None, values: dict[str, Any], source: MetricSource) -> None:
    metrics = state.metrics
    for name, value in values.items():
        series = metrics.get(name)
        if series is None:
            series = metrics[name] = Series(source=source)
        series.steps.append(step)
        series.times.append(time)
        series.values.append(value)


def _take_column(state: RunState, column: Points | Column) -> None:
    series = state.metrics.get(column.name)
    if series is None:
        series = state.metrics[column.name] = Series(source=column.source)
    series.steps.extend([None] * len(column.times) if column.steps is None else column.steps)
    series.times.extend(column.times)
    series.values.extend(column.values)


def _take_summary(state: RunState, record: Summary) -> None:
    state.summary.update(record.values)


def _take_definition(state: RunState, record: MetricDefinition) -> None:
    state.definitions.pop(record.name, None)  # the latest comes last
    state.definitions[record.name] = record


def _take_code(state: RunState, record: CodeVersion) -> None:
    state.code = record


def _take_data(state: RunState, record: DataVersion) -> None:
    state.data[record.name, record.role, record.digest] = record


def _take_environment(state: RunState, record: Environment) -> None:
    state.environments[record.host] = record


def _take_artifact(state: RunState, record: Artifact) -> None:
    state.artifacts[record.name] = record


def _take_model(state: RunState, record: Model) -> None:
    state.models[record.id] = record


def _take_lines(state: RunState, record: LogLines) -> None:
    stream, label = record.stream, record.label
    state.console.extend(ConsoleLine(time, stream, line, label) for time, line in zip(record.times, record.lines, strict=False))


def _take_failure(state: RunState, record: CaptureFailed) -> None:
    state.failures[record.what] = record.error


_TAKE: dict[type[Record], Callable[[RunState, Any], None]] = {
    RunStarted: _take_start,
    RunUpdated: _take_update,
    RunFinished: _take_end,
    Hyperparameters: _take_params,
    Metrics: _take_row,
    Points: _take_column,
    Summary: _take_summary,
    MetricDefinition: _take_definition,
    CodeVersion: _take_code,
    DataVersion: _take_data,
    Environment: _take_environment,
    Artifact: _take_artifact,
    Model: _take_model,
    LogLines: _take_lines,
    CaptureFailed: _take_failure,
}

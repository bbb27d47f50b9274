"""What came out, and when. Three shapes: a row of several metrics, a column of one, and the summary."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from .base import Microseconds, Record, Step, Value

MetricSource = Literal["user", "system"]
"""`system` marks resource usage: CPU, memory, GPU, disk, network."""


class Metrics(Record):
    """A row: several metrics at one step and time. What one `run.log` call writes."""

    kind: Literal["metrics"] = "metrics"
    step: Step | None = None
    values: dict[str, Value]
    source: MetricSource = "user"


class Points(Record):
    """A column: many points of one metric. What a source writes, since it reads series by series.

    `steps` (None when no point has one), `times` and `values` have the same length.
    """

    kind: Literal["points"] = "points"
    name: str
    steps: list[Step | None] | None = None
    times: list[Microseconds]
    values: list[Value]
    source: MetricSource = "user"

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        lengths = {len(self.times), len(self.values)} | ({len(self.steps)} if self.steps is not None else set())
        if len(lengths) > 1:
            raise ValueError("steps, times and values must have the same length")
        return self


class Summary(Record):
    """Single results of the whole run. Each name takes its last value."""

    kind: Literal["summary"] = "summary"
    values: dict[str, Value]


class MetricDefinition(Record):
    """How a metric is to be read."""

    kind: Literal["metric_definition"] = "metric_definition"
    name: str
    """The metric's name, or a pattern with `*`."""
    x: str | None = None
    """The metric that serves as its x-axis; None means the step."""
    goal: Literal["min", "max"] | None = None
    summary: Literal["min", "max", "mean", "last", "first", "none"] | None = None
    """Which of its points stands for the whole series."""

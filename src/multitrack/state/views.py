"""A run as people look at it, and as services keep it."""

from __future__ import annotations

import fnmatch
import math
from typing import Any

from ..records import MetricDefinition
from ..records.sameness import keys_of
from .fold import RunState
from .series import Series


def last_values(state: RunState) -> dict[str, Any]:
    """Return one value a metric, for showing: its last point in order of arrival, or what its definition asks for; then what was
    set explicitly. A definition's `*` stands for any text; an exact name goes before a pattern, a later pattern before an earlier one.
    How much a machine was used is no result: such a metric is here if it is defined.
    """
    values: dict[str, Any] = {}
    for name, series in state.metrics.items():
        definition = definition_of(name, state)
        rule = definition.summary if definition is not None else None
        wanted = rule != "none" and (definition is not None or series.source == "user")
        if wanted and (points := series.column("values")):
            values[name] = _summarise(points, rule or "last")
    return {**values, **state.summary}


def definition_of(name: str, state: RunState) -> MetricDefinition | None:
    """Return the definition that holds for a metric; None if none does."""
    exact = state.definitions.get(name)
    if exact is not None:
        return exact
    patterns = (pattern for pattern in reversed(state.definitions) if "*" in pattern)
    return next((state.definitions[pattern] for pattern in patterns if _matches(name, pattern)), None)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


def _summarise(values: list[Any], rule: str) -> Any:
    if rule == "first":
        return values[0]
    numbers = [value for value in values if isinstance(value, int | float) and not (isinstance(value, float) and math.isnan(value))]
    if rule == "last" or not numbers:
        return values[-1]
    if rule == "mean":
        try:
            return sum(numbers) / len(numbers)
        except OverflowError:  # an int beyond the range of floats
            return values[-1]
    return min(numbers) if rule == "min" else max(numbers)


def merge_equal_points(state: RunState) -> RunState:
    """Return the run as a service keeps it that takes points with the same metric, time, step and value for one; the first stays."""
    merged = RunState(**{name: getattr(state, name) for name in RunState.__dataclass_fields__})
    merged.metrics = {name: _without_repeats(series) for name, series in state.metrics.items()}
    return merged


def _without_repeats(series: Series) -> Series:
    first: dict[Any, int] = {}
    for place, key in enumerate(zip(keys_of(series.steps), series.times, keys_of(series.values), strict=True)):
        first.setdefault(key, place)
    if len(first) == len(series):
        return series
    places = list(first.values())
    return Series([series.steps[i] for i in places], [series.times[i] for i in places], [series.values[i] for i in places], series.source)

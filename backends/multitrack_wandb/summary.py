"""A run's summary: what was set explicitly, and for each metric the value that stands for it. Pure.

The SDK computes the second as points are logged. `wandb sync` does not: what the log does not say is not there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from multitrack.records import MetricDefinition, Value

from . import names
from .config import read_exact, write_exact
from .values import flat, from_json, is_object, to_json

_RULES = ("min", "max", "mean", "first", "last")
_TOTALS = "totals"
"""Sum and number of the points of metrics whose mean is wanted."""


class SummaryValues:
    """A run's summary as the service has it, or is about to.

    Args:
        held: the summary that the run has at the service, without `_wandb`.
    """

    def __init__(self, held: Mapping[str, Any] | None = None) -> None:
        held = held or {}
        own = held.get(names.CONFIG)
        self._own: dict[str, Any] = deepcopy(dict(own)) if isinstance(own, Mapping) else {}
        self._explicit = set(self._own.get(names.EXPLICIT, ()))
        self._exact = dict(read_exact(self._own.get(names.EXACT)))
        self._totals: dict[str, list[float]] = self._own.setdefault(_TOTALS, {})
        self._stats = {name: dict(value) for name, value in held.items() if isinstance(value, Mapping) and not is_object(value)}
        self.known = {name for name in held if name not in names.SUMMARY_OWN}
        """Names that the summary has, or has had."""
        self._changed: dict[str, str] = {}

    def set_explicitly(self, values: Mapping[str, Value]) -> None:
        """Set values that stand whatever comes."""
        for name, value in values.items():
            self._explicit.add(name)
            text = to_json(value)
            if name not in names.SUMMARY_OWN:
                self._changed[name] = text
            self._exact.pop((name,), None)
            if name in names.SUMMARY_OWN or not _survives(value):
                self._exact[name,] = value
        self._own[names.EXPLICIT] = sorted(self._explicit)
        self._own[names.EXACT] = write_exact(self._exact)
        self._tell()

    def add(self, name: str, values: Iterable[Any], definition: MetricDefinition | None) -> None:
        """Bring in a metric's next points. `definition` says which of them stands for all; None: the last."""
        self.known.add(name)
        if name in self._explicit or name in names.SUMMARY_OWN:
            return
        rule = definition.summary if definition is not None else None
        if rule == "none":
            return
        listed = list(values)
        if rule is None or rule not in _RULES:
            self._changed[name] = to_json(listed[-1])
            return
        stats = self._stats.setdefault(name, {})
        stats[rule] = self._combine(name, rule, stats.get(rule), listed)
        self._changed[name] = f'{{"{rule}": {to_json(stats[rule])}}}'

    def place(self, step: int, time: float, runtime: float) -> None:
        """Note where the run has come to: the last row's `_step`, and its time and the time since the start in seconds."""
        self._changed[names.STEP] = str(step)
        self._changed[names.TIMESTAMP] = repr(time)
        self._changed[names.RUNTIME] = repr(runtime)

    def changes(self) -> dict[str, str]:
        """Return what has changed since the last call: name to JSON text."""
        changed, self._changed = self._changed, {}
        return changed

    def _combine(self, name: str, rule: str, before: Any, values: list[Any]) -> Any:
        if rule == "last":
            return values[-1]
        if rule == "first":
            return values[0] if before is None else before
        numbers = [value for value in values if isinstance(value, int | float) and not math.isnan(value)]
        if rule == "mean":
            total, count = self._totals.get(name, (0.0, 0))
            total, count = total + math.fsum(numbers), count + len(numbers)
            self._totals[name] = [total, count]
            self._tell()
            return total / count if count else values[-1]
        known = [*numbers, *([before] if isinstance(before, int | float) and not math.isnan(before) else [])]
        return (min if rule == "min" else max)(known) if known else values[-1]

    def _tell(self) -> None:
        self._changed[names.CONFIG] = to_json_object(self._own)


def to_json_object(value: Mapping[str, Any]) -> str:
    """Return a mapping as JSON text."""
    return json.dumps(value)


def summary_of(summary: Mapping[str, Any], last: Mapping[str, Any], *, ours: bool) -> dict[str, Value]:
    """Return the summary values that were set explicitly.

    Args:
        summary: W&B's, nested.
        last: each metric's last value, as it stands in the history.
        ours: whether multitrack wrote the run. Of anybody else's, a value is explicit that is not its metric's last, and no rule's.
    """
    if not ours:
        listed = flat({name: value for name, value in summary.items() if name not in names.SUMMARY_OWN and not _is_of_rules(value)})
        found = {name: from_json(value, floats=None) for name, value in listed if name not in last or not _is_same(last[name], value)}
        return {name: value for name, value in found.items() if value is not None}
    own = summary.get(names.CONFIG)
    if not isinstance(own, Mapping):
        return {}
    exact = {path[0]: value for path, value in read_exact(own.get(names.EXACT)) if path}
    values: dict[str, Value] = {}
    for name in own.get(names.EXPLICIT, ()):
        if name in names.SUMMARY_OWN and name in exact:
            values[name] = exact[name]
        elif name in summary:
            value = from_json(summary[name], floats=None)
            values[name] = exact[name] if name in exact and _is_what_became_of(exact[name], value) else value
    return values


def shown(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value that stands for each metric, as a listing shows it."""
    values = {name: value for name, value in summary.items() if name not in names.SUMMARY_OWN}
    single = {name: next(iter(value.values())) if _is_of_rules(value) else value for name, value in values.items()}
    return {name: from_json(value, floats=None) for name, value in flat(single)}


def _is_of_rules(value: Any) -> bool:
    """Return whether a value is what a metric's definition asks for: `{"min": 0.1}`."""
    return isinstance(value, Mapping) and bool(value) and value.keys() <= {*_RULES, "best"}


def _is_same(one: Any, other: Any) -> bool:
    return bool(one == other) or (_is_nan(one) and _is_nan(other))


def _is_nan(value: Any) -> bool:
    return value == "NaN" or (isinstance(value, float) and math.isnan(value))


def _survives(value: Value) -> bool:
    return not isinstance(value, float) or (math.isfinite(value) and not value.is_integer())


def _is_what_became_of(sent: Any, found: Any) -> bool:
    if isinstance(sent, float) and math.isnan(sent):
        return isinstance(found, float) and math.isnan(found)
    if isinstance(sent, int | float) and isinstance(found, int | float):
        return float(sent) == float(found)
    return bool(sent == found)

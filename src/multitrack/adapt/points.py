"""Points: rows and columns of metrics fitted to a service. Columns are handled as columns: 10,000 points cost a few list passes."""

from __future__ import annotations

import math
import operator
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import compress
from typing import Any, Final, Literal

from ..backend import Capabilities, PointType
from ..records import ArtifactRef, Histogram, Metrics, MetricSource, Microseconds, Points, Record
from ..records.sameness import keys_of
from .losses import resolution_text
from .names import digest
from .notes import Notes, Renamer

EXACT_INTS: Final = 2**53
"""Up to here, every int is a float."""

_LOST: Final = object()
"""Stands for a step or value that the service cannot hold at all."""

_POINT_TYPES: dict[type, PointType] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    Histogram: "histogram",
    ArtifactRef: "artifact",
}

_Why = Literal[
    "int", "bool", "inexact", "too_large", "nan", "infinity", "str", "text", "histogram", "artifact", "float",
    "step", "step_range", "ordinal",
]  # fmt: skip
_DETAILS: dict[_Why, str] = {
    "int": "ints stand as floats",
    "bool": "bools stand as floats",
    "inexact": "ints beyond 2**53 stand as the nearest float",
    "too_large": "ints beyond the range of floats are left out",
    "nan": "NaN is left out",
    "infinity": "infinities stand as the largest floats",
    "str": "texts are left out",
    "text": "only the start of a long text arrives",
    "histogram": "histograms are left out",
    "artifact": "images, tables and figures stand as files only",
    "float": "floats are left out",
    "step": "float steps stand as ints, rounded down",
    "step_range": "points with a step out of range are left out",
    "ordinal": "missing steps stand as ordinals",
}


class PointFitter:
    """Fits `Metrics` and `Points`. `ordinals` counts each metric's points without a step, by the digest of its name."""

    def __init__(self, capabilities: Capabilities, metrics: Renamer, artifacts: Renamer, notes: Notes, ordinals: dict[str, int]) -> None:
        self._capabilities = capabilities
        self._metrics = metrics
        self._artifacts = artifacts
        self._notes = notes
        self.ordinals = ordinals
        self._series: dict[tuple[str, MetricSource], tuple[str, MetricSource]] = {}
        self._digests: dict[str, str] = {}
        self._subjects: dict[tuple[str, _Why], tuple[str, str]] = {}
        self._time_loss = _time_loss(capabilities)
        self._floats = "float" in capabilities.point_types
        self._all_steps = capabilities.steps == "any" and capabilities.step_range is None
        self._all_floats = self._floats and capabilities.nan and capabilities.infinities

    # -- names --------------------------------------------------------------------------------------------------------

    def series(self, name: str, source: MetricSource) -> tuple[str, MetricSource]:
        """Return the name and the source that a series has at the service."""
        known = self._series.get((name, source))
        if known is None:
            known = self._series[name, source] = self._fit_series(name, source)
        return known

    def _fit_series(self, name: str, source: MetricSource) -> tuple[str, MetricSource]:
        prefix = self._capabilities.system_prefix
        if prefix is None:
            return self._metrics.fit(name), source
        wanted = prefix + name if source == "system" and not name.startswith(prefix) else name
        # `x` and `system/x` may want one name, and one metric may be logged from both sources.
        fitted = self._metrics.fit(name, wanted=wanted, owner=f"{name}\0{wanted}", clashes=wanted.startswith(prefix))
        there: MetricSource = "system" if fitted.startswith(prefix) else "user"
        return fitted, there

    def _subject(self, name: str) -> str:
        return f"metric {name!r}"

    def _lose(self, name: str, why: _Why, count: int = 1) -> None:
        words = self._subjects.get((name, why))
        if words is None:
            words = self._subjects[name, why] = (f"point_{why}", self._subject(name))
        self._notes.lose(*words, _DETAILS[why], count)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def fit_row(self, record: Metrics) -> list[Record]:
        """Return the rows that stand for a row: one for each step and source that its values have at the service."""
        time = self.fit_time(record.time)
        rows: dict[tuple[Any, MetricSource], dict[str, Any]] = {}
        changed = time != record.time
        if changed:
            self._lose_times(len(record.values))
        same_step = self._holds_step(record.step)
        for name, value in record.values.items():
            fitted, source = self.series(name, record.source)
            if source != record.source:
                self._lose_source(name, source)
            step, why_step = (record.step, None) if same_step else self._fit_step(fitted, record.step)
            new, why = (value, None) if self._holds_float(value) else self._fit_value(value)
            if why_step is not None:
                self._lose(name, why_step)
            if why is not None:
                self._lose(name, why)
            changed = changed or fitted != name or source != record.source or step is not record.step or new is not value
            if step is not _LOST and new is not _LOST:
                rows.setdefault((step, source), {})[fitted] = new
        if not changed:
            return [record]
        return [
            record.model_copy(update={"time": time, "step": step, "source": source, "values": values})
            for (step, source), values in rows.items()
        ]

    # -- columns ------------------------------------------------------------------------------------------------------

    def fit_column(self, record: Points) -> list[Record]:
        """Return the chunk that stands for a chunk; no chunk where nothing of it can be held."""
        name, source = self.series(record.name, record.source)
        if source != record.source:
            self._lose_source(record.name, source, len(record.times))
        steps = self._fit_steps(record.name, name, record.steps, len(record.times))
        times = self._fit_times(record.times)
        values = self._fit_values(record.name, record.values)
        steps, times, values = self._drop_lost(steps, times, values)
        if self._capabilities.equal_points == "merged":
            self._declare_equal(record.name, steps, times, values)
        same_series = name == record.name and source == record.source
        if same_series and steps is record.steps and times is record.times and values is record.values:
            return [record]
        if not times and record.times:
            return []
        return [record.model_copy(update={"name": name, "source": source, "steps": steps, "times": times, "values": values})]

    def _fit_steps(self, original: str, name: str, steps: list[Any] | None, count: int) -> list[Any] | None:
        if steps is None:
            if self._capabilities.missing_steps:
                return None
            first = self._take_ordinals(name, count)
            if count:
                self._lose(original, "ordinal", count)
            ordinals: list[Any] = list(range(first, first + count))
            return self._check_range(original, ordinals)
        types = set(map(type, steps))
        if self._all_steps and (type(None) not in types or self._capabilities.missing_steps):
            return steps
        if types == {int}:
            return self._check_range(original, steps)
        fitted = [self._fit_step(name, step) for step in steps]
        self._lose_each(original, (why for _, why in fitted))
        return [step for step, _ in fitted]

    def _check_range(self, original: str, steps: list[Any]) -> list[Any]:
        """Return a column of ints, those out of range marked as lost."""
        if self._capabilities.step_range is None or not steps:
            return steps
        low, high = self._capabilities.step_range
        if low <= min(steps) and max(steps) <= high:
            return steps
        fitted = [step if low <= step <= high else _LOST for step in steps]
        self._lose(original, "step_range", fitted.count(_LOST))
        return fitted

    def _fit_times(self, times: list[Microseconds]) -> list[Microseconds]:
        resolution, earliest = self._capabilities.time_resolution, self._capabilities.earliest_time
        fitted = times
        if resolution > 1:
            fitted = [time - time % resolution for time in times]
        if earliest is not None and fitted and min(fitted) < earliest:
            fitted = [max(time, earliest) for time in fitted]
        if fitted is times or fitted == times:
            return times
        self._lose_times(sum(map(operator.ne, fitted, times)))
        return fitted

    def _fit_values(self, original: str, values: list[Any]) -> list[Any]:
        types = set(map(type, values))
        if types <= {float} and (self._all_floats or ("float" in self._capabilities.point_types and all(map(math.isfinite, values)))):
            return values
        if types == {int} and self._ints_become_floats and min(values) >= -EXACT_INTS and max(values) <= EXACT_INTS:
            self._lose(original, "int", len(values))
            return list(map(float, values))
        fitted = [self._fit_value(value) for value in values]
        if all(new is value for (new, _), value in zip(fitted, values, strict=True)):
            return values
        self._lose_each(original, (why for _, why in fitted))
        return [value for value, _ in fitted]

    @staticmethod
    def _drop_lost(steps: list[Any] | None, times: list[Any], values: list[Any]) -> tuple[list[Any] | None, list[Any], list[Any]]:
        keep = [value is not _LOST for value in values]
        if steps is not None:
            keep = [kept and step is not _LOST for kept, step in zip(keep, steps, strict=True)]
        if all(keep):
            return steps, times, values
        kept_steps = None if steps is None else list(compress(steps, keep))
        return kept_steps, list(compress(times, keep)), list(compress(values, keep))

    def _declare_equal(self, original: str, steps: list[Any] | None, times: list[Any], values: list[Any]) -> None:
        """Declare the points of a chunk that the service will take for one. What equals a point of another chunk is not known here."""
        if len(set(times)) == len(times) or (steps is not None and len(set(steps)) == len(steps)):
            return
        distinct = set(zip(steps or times, times, keys_of(values), strict=True))
        if len(distinct) < len(times):
            detail = "equal points become one (counted within chunks: there may be more)"
            self._notes.lose("point_equal", self._subject(original), detail, len(times) - len(distinct))

    # -- single steps, times and values -------------------------------------------------------------------------------

    def _holds_step(self, step: Any) -> bool:
        """Return whether the service holds the step as it is: nearly every row's, asked once a row."""
        if type(step) is not int:
            return self._all_steps and step is not None
        if self._capabilities.step_range is None:
            return True
        low, high = self._capabilities.step_range
        return low <= step <= high

    def _holds_float(self, value: Any) -> bool:
        """Return whether the value is one of those floats, nearly all, that every service with floats holds."""
        return type(value) is float and self._floats and math.isfinite(value)

    def _fit_step(self, name: str, step: Any) -> tuple[Any, _Why | None]:
        why: _Why | None = None
        if step is None:
            if self._capabilities.missing_steps:
                return None, None
            step, why = self._take_ordinals(name, 1), "ordinal"
        elif self._capabilities.steps == "int" and type(step) is float:
            if not math.isfinite(step):
                return _LOST, "step_range"
            step, why = math.floor(step), "step"
        if self._capabilities.step_range is not None:
            low, high = self._capabilities.step_range
            if not low <= step <= high:
                return _LOST, "step_range"
        return step, why

    def _take_ordinals(self, name: str, count: int) -> int:
        """Return the ordinal of the next of the metric's points without a step, and count `count` such points."""
        key = self._digests.get(name)
        if key is None:
            key = self._digests[name] = digest(name)
        first = self.ordinals.get(key, 0)
        if count:
            self.ordinals[key] = first + count
        return first

    def fit_time(self, time: Microseconds) -> Microseconds:
        """Return a time as the service can hold it."""
        time -= time % self._capabilities.time_resolution
        earliest = self._capabilities.earliest_time
        return time if earliest is None or time >= earliest else earliest

    def _lose_times(self, count: int) -> None:
        self._notes.lose("point_time", "points", self._time_loss, count)

    def _lose_source(self, name: str, there: MetricSource, count: int = 1) -> None:
        detail = f"counts as a {there} metric there" if there == "system" else "does not count as a system metric there"
        self._notes.lose("source", self._subject(name), detail, count)

    @property
    def _ints_become_floats(self) -> bool:
        return "int" not in self._capabilities.point_types and "float" in self._capabilities.point_types

    def fit_value(self, subject: str, value: Any, *, text: bool = False) -> Any:
        """Return a single value as the service can hold it, or `LOST`; declare what it loses. `text`: a str stays in any case."""
        if text and type(value) is str and self._capabilities.text_length is None:
            return value
        new, why = self._fit_value(value)
        if why is not None:
            self._notes.lose(f"point_{why}", subject, _DETAILS[why])
        return new

    def _fit_value(self, value: Any) -> tuple[Any, _Why | None]:
        held = self._capabilities.point_types
        kind = _point_type(value)
        if kind in held:
            if kind == "float":
                return self._fit_float(value)
            if kind == "artifact":
                return self._fit_reference(value), None
            return self._fit_size(value, kind)
        if "float" in held and kind in ("int", "bool"):
            return _as_float(value, kind)
        return _LOST, kind

    def _fit_float(self, value: float) -> tuple[Any, _Why | None]:
        if math.isfinite(value):
            return value, None
        if math.isnan(value):
            return (value, None) if self._capabilities.nan else (_LOST, "nan")
        if self._capabilities.infinities:
            return value, None
        return math.copysign(sys.float_info.max, value), "infinity"

    def _fit_size(self, value: Any, kind: PointType) -> tuple[Any, _Why | None]:
        """Return an int or a text as the service can hold it; any other value as it is."""
        largest, length = self._capabilities.largest_int, self._capabilities.text_length
        if kind == "int" and largest is not None and abs(value) > largest:
            return _as_float(value, "int")
        if kind == "str" and length is not None and len(value) > length:
            return value[:length], "text"
        return value, None

    def _fit_reference(self, value: ArtifactRef) -> ArtifactRef:
        name = self._artifacts.fit(value.name)
        return value if name == value.name else value.model_copy(update={"name": name})

    def _lose_each(self, original: str, whys: Any) -> None:
        for why, count in Counter(why for why in whys if why is not None).items():
            self._lose(original, why, count)


def _time_loss(capabilities: Capabilities) -> str:
    kept, earliest = resolution_text(capabilities.time_resolution), capabilities.earliest_time
    after = f", none before {earliest // 1_000_000} s since 1970" if earliest else ", none before 1970" if earliest == 0 else ""
    return f"times are kept to the {kept}{after}"


def _point_type(value: Any) -> PointType:
    kind = _POINT_TYPES.get(type(value))
    return kind if kind is not None else next(word for cls, word in _POINT_TYPES.items() if isinstance(value, cls))


def _as_float(value: int, kind: Literal["int", "bool"]) -> tuple[Any, _Why]:
    try:
        return float(value), kind if abs(value) <= EXACT_INTS else "inexact"
    except OverflowError:
        return _LOST, "too_large"


LOST: Final = _LOST


def rows_of(column: Points) -> list[Record]:
    """Return a chunk as rows, for a service that takes no chunks."""
    steps: Sequence[Any] = column.steps if column.steps is not None else [None] * len(column.times)
    return [
        Metrics.model_construct(time=time, step=step, values={column.name: value}, source=column.source)
        for step, time, value in zip(steps, column.times, column.values, strict=True)
    ]


def columns_of(row: Metrics) -> list[Record]:
    """Return a row as chunks of one point each, for a service that takes no rows."""
    return [
        Points.model_construct(
            time=row.time, name=name, steps=None if row.step is None else [row.step], times=[row.time], values=[value], source=row.source
        )
        for name, value in row.values.items()
    ]

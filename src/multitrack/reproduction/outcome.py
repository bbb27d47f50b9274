"""A run beside the one that it repeats: the same params, the same metrics within a tolerance. Pure."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..fields import flatten
from ..records import ArtifactRef, Histogram
from ..records.sameness import same
from ..state import Difference, RunState, Series
from .moving import Moves, moved_value

_ABSENT = object()


@dataclass(frozen=True)
class Outcome:
    """What came out of repeating a run."""

    id: str
    """The new run's."""
    code: int
    """How its process ended."""
    params: int = 0
    metrics: int = 0
    points: int = 0
    """How many were compared."""
    differences: tuple[Difference, ...] = ()
    tolerance: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether the run came out as it was."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return the outcome in terms of JSON."""
        differences = [{"field": one.field, "expected": one.expected, "actual": one.actual} for one in self.differences]
        counts = {"params": self.params, "metrics": self.metrics, "points": self.points}
        return {
            "id": self.id,
            "exit_code": self.code,
            "equal": self.equal,
            **counts,
            "tolerance": self.tolerance,
            "differences": differences,
        }


def compare_outcome(
    original: RunState, again: RunState, code: int, *, tolerance: float, ignoring: Sequence[str] = (), moves: Moves = ()
) -> Outcome:
    """Compare a run with its repetition.

    Params must be the same, but for folders that have moved. Of each metric of the user's, the points must be as many, at the same
    steps, in the same order, and each as it was: numbers within `tolerance` relative to the greater of both, NaN equal to NaN. Points
    that are files are counted and not compared. Times, and resource usage, count nothing.

    Args:
        original: the run.
        again: its repetition.
        code: how the repetition's process ended.
        tolerance: 0 asks for the very same numbers.
        ignoring: patterns such as `time/*`, of metrics that may differ.
        moves: where folders of the first run were in the second.
    """
    before, after = flatten(moved_value(original.params, moves)), flatten(again.params)
    names = [name for name, series in original.metrics.items() if series.source == "user" and not _matches(name, ignoring)]
    differences = [
        *_of_endings(original, again),
        *_of_values("param", before, after),
        *_of_metrics(original, again, names, tolerance),
        *_of_metrics_added(original, again, ignoring),
        *_of_summaries(original, again, tolerance, ignoring),
        *_of_data(original, again),
    ]
    points = sum(len(original.metrics[name]) for name in names)
    return Outcome(again.id, code, len(before), len(names), points, tuple(differences), tolerance)


def _of_endings(original: RunState, again: RunState) -> Iterator[Difference]:
    if original.status != again.status:
        reason = f" ({again.error.strip().splitlines()[-1]})" if again.error and again.error.strip() else ""
        yield Difference("status", original.status, again.status + reason)


def _of_values(label: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in {**before, **after}:
        one, other = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if one is _ABSENT or other is _ABSENT or not same(one, other):
            yield Difference(f"{label} {name}", _show(one), _show(other))


def _of_metrics(original: RunState, again: RunState, names: Sequence[str], tolerance: float) -> Iterator[Difference]:
    for name in names:
        series, other = original.metrics[name], again.metrics.get(name)
        if other is None:
            yield Difference(f"metric {name}", f"{len(series):,} points", "nothing")
        elif len(series) != len(other):
            yield Difference(f"metric {name}", f"{len(series):,} points", f"{len(other):,} points")
        else:
            yield from _of_series(name, series, other, tolerance)


def _of_series(name: str, series: Series, other: Series, tolerance: float) -> Iterator[Difference]:
    worst: tuple[float, str, str] | None = None
    count = 0
    for (step, _, value), (step_after, _, value_after) in zip(series.points(), other.points(), strict=True):
        if not same(step, step_after):
            yield Difference(f"metric {name}", f"step {_show(step)}", f"step {_show(step_after)}")
            return
        off = distance(value, value_after)
        if off > tolerance:
            count += 1
            if worst is None or off > worst[0]:
                worst = (off, f"{_show(value)} at step {_show(step)}", f"{_show(value_after)}, {count_text(off)}")
    if worst is not None:
        more = f"; {count:,} of {len(series):,} points differ" if len(series) > 1 else ""
        yield Difference(f"metric {name}", worst[1], worst[2] + more)


def _of_metrics_added(original: RunState, again: RunState, ignoring: Sequence[str]) -> Iterator[Difference]:
    for name, series in again.metrics.items():
        if name not in original.metrics and series.source == "user" and not _matches(name, ignoring):
            yield Difference(f"metric {name}", "nothing", f"{len(series):,} points")


def _of_summaries(original: RunState, again: RunState, tolerance: float, ignoring: Sequence[str]) -> Iterator[Difference]:
    for name in {**original.summary, **again.summary}:
        one, other = original.summary.get(name, _ABSENT), again.summary.get(name, _ABSENT)
        if not _matches(name, ignoring) and (one is _ABSENT or other is _ABSENT or distance(one, other) > tolerance):
            yield Difference(f"summary {name}", _show(one), _show(other))


def _of_data(original: RunState, again: RunState) -> Iterator[Difference]:
    """Compare what the two runs used: data that is made in memory cannot be verified before."""
    before, after = _digests(original), _digests(again)
    for name in before:
        if before[name] != after.get(name):
            yield Difference(f"data {name}", ", ".join(before[name]), ", ".join(after.get(name, ["nothing"])))


def _digests(state: RunState) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in state.data.values():
        if one.digest is not None:
            found.setdefault(f"{one.name} ({one.role})" if one.role else one.name, []).append(one.digest[:12])
    return {name: sorted(digests) for name, digests in found.items()}


def distance(one: Any, other: Any) -> float:
    """Return how far two values are apart: of numbers relative to the greater, 0 for the same, infinity for what cannot be compared."""
    if isinstance(one, ArtifactRef) and isinstance(other, ArtifactRef):
        return 0.0
    if isinstance(one, Histogram) and isinstance(other, Histogram):
        if len(one.edges) != len(other.edges) or len(one.counts) != len(other.counts):
            return math.inf
        pairs = [*zip(one.edges, other.edges, strict=True), *zip(one.counts, other.counts, strict=True)]
        return max((distance(*pair) for pair in pairs), default=0.0)
    if same(one, other):
        return 0.0
    if not _is_number(one) or not _is_number(other):
        return math.inf
    if one == other:
        return 0.0
    try:
        greater = max(abs(one), abs(other))
        off = abs(one - other) / greater
    except OverflowError:  # ints beyond the range of floats
        return math.inf
    return off if not math.isnan(off) else math.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def count_text(off: float) -> str:
    """Return a distance for people."""
    return "which cannot be compared" if math.isinf(off) else f"off by {off:.2g}"


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _show(value: Any) -> str:
    if value is _ABSENT:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

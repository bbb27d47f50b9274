"""Two runs compared: field by field, every point, quick enough for millions of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..records import Record, read_fields
from ..records.sameness import keys_of, same
from .fold import RunState
from .series import Series

_SHOWN = 80
"""Characters of a value that a difference shows."""
_FIELDS = (
    "id", "project", "name", "group", "job_type", "parent", "notes", "user", "host", "reproduces", "origin",
    "status", "started", "ended", "error", "deleted",
)  # fmt: skip
_VALUES = {"tags": "tag", "params": "param", "param_sources": "source of param", "summary": "summary", "failures": "capture of"}
_RECORDS = {
    "definitions": "metric definition",
    "data": "data",
    "environments": "environment",
    "artifacts": "artifact",
    "models": "model",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not the same. `expected` and `actual` are texts for people."""

    field: str
    """`status`, `param 'model.depth'`, `metric 'loss'`, `artifact 'model.pt'`, ..."""
    expected: str
    actual: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.field}: expected {self.expected}, found {self.actual}"


def compare(expected: RunState, actual: RunState, *, ignoring: Collection[str] = (), typed: bool = True) -> list[Difference]:
    """Return what differs: nothing when every field and every point is the same.

    A series is a multiset of points: their order counts nothing, their number does. NaN equals NaN; 1, 1.0 and True differ unless
    `typed` is False. When a record was written (its `time`, unless it is the run's start or end) is no field of a run.

    Args:
        expected: how the run should be.
        actual: how it is.
        ignoring: names of fields of RunState that may differ, for example `host`.
        typed: whether the type of a point's step or value counts.
    """
    return list(_differences(expected, actual, frozenset(ignoring), typed))


def _differences(expected: RunState, actual: RunState, ignoring: frozenset[str], typed: bool) -> Iterator[Difference]:
    for name in _FIELDS:
        one, other = getattr(expected, name), getattr(actual, name)
        if name not in ignoring and not same(one, other):
            yield Difference(name, show(one), show(other))
    for name, label in _VALUES.items():
        if name not in ignoring:
            yield from _of_values(label, _flat(getattr(expected, name)), _flat(getattr(actual, name)))
    if "metrics" not in ignoring:
        yield from _of_metrics(expected.metrics, actual.metrics, typed)
    if "code" not in ignoring:
        yield from _of_record("code", expected.code, actual.code)
    for name, label in _RECORDS.items():
        if name not in ignoring:
            one, other = getattr(expected, name), getattr(actual, name)
            for key in {**one, **other}:
                yield from _of_record(f"{label} {_key_text(key)}", one.get(key), other.get(key))
    if "console" not in ignoring:
        yield from _of_console(expected.console, actual.console)
    if "unknown" not in ignoring and not same([*map(read_fields, expected.unknown)], [*map(read_fields, actual.unknown)]):
        yield Difference("unknown records", f"{len(expected.unknown)} records", f"{len(actual.unknown)} records")


def _flat(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found.update(_flat(value, (*path, key)))
        else:
            found[*path, key] = value
    return found


def _of_values(label: str, expected: dict[tuple[str, ...], Any], actual: dict[tuple[str, ...], Any]) -> Iterator[Difference]:
    for path in {**expected, **actual}:
        one, other = expected.get(path, _ABSENT), actual.get(path, _ABSENT)
        if one is _ABSENT or other is _ABSENT or not same(one, other):
            yield Difference(f"{label} {'.'.join(path)!r}", show(one), show(other))


def _of_record(label: str, expected: Record | None, actual: Record | None) -> Iterator[Difference]:
    if expected is None or actual is None:
        if expected is not actual:
            yield Difference(label, "nothing" if expected is None else "a record", "nothing" if actual is None else "a record")
        return
    one, other = read_fields(expected), read_fields(actual)
    for name in {**one, **other}:
        if name != "time" and not same(one.get(name), other.get(name)):
            yield Difference(f"{label} .{name}", show(one.get(name, _ABSENT)), show(other.get(name, _ABSENT)))


def _of_metrics(expected: dict[str, Series], actual: dict[str, Series], typed: bool) -> Iterator[Difference]:
    for name in {**expected, **actual}:
        one, other = expected.get(name), actual.get(name)
        label = f"metric {name!r}"
        if one is None or other is None:
            yield Difference(label, _count(one), _count(other))
            continue
        if one.source != other.source:
            yield Difference(f"{label} .source", one.source, other.source)
        missing, extra = series_difference(one, other, typed=typed)
        if missing or extra:
            yield Difference(label, _describe(one, missing, "missing"), _describe(other, extra, "too many"))


def series_difference(expected: Series, actual: Series, *, typed: bool = True) -> tuple[list[int], list[int]]:
    """Return the places of the points that `actual` lacks (in `expected`), and of those it has too many (in `actual`)."""
    one, other = _keys(expected, typed), _keys(actual, typed)
    if one == other:
        return [], []
    keys, other_keys = list(zip(*one, strict=True)), list(zip(*other, strict=True))
    return _surplus(keys, other_keys), _surplus(other_keys, keys)


def _keys(series: Series, typed: bool) -> tuple[list[Any], list[Any], list[Any]]:
    return keys_of(series.steps, typed=typed), series.times, keys_of(series.values, typed=typed)


def _surplus(keys: list[Any], others: list[Any]) -> list[int]:
    """Return the places in `keys` that find no partner in `others`."""
    partners = Counter(others)
    places = []
    for place, key in enumerate(keys):
        if partners[key] > 0:
            partners[key] -= 1
        else:
            places.append(place)
    return places


def _count(series: Series | None) -> str:
    return "nothing" if series is None else f"{len(series):,} points"


def _describe(series: Series, places: list[int], what: str) -> str:
    if not places:
        return _count(series)
    first = places[0]
    point = f"step {show(series.steps[first])}, time {series.times[first]}, value {show(series.values[first])}"
    return f"{len(series):,} points, {len(places):,} of them {what}, the first at {point}"


def _of_console(expected: list[Any], actual: list[Any]) -> Iterator[Difference]:
    if Counter(expected) != Counter(actual):
        missing, extra = Counter(expected) - Counter(actual), Counter(actual) - Counter(expected)
        yield Difference(
            "console", f"{len(expected):,} lines, {missing.total():,} of them missing", f"{len(actual):,} lines, {extra.total():,} too many"
        )


def show(value: Any) -> str:
    """Return a value as a short text for people."""
    if value is _ABSENT:
        return "nothing"
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print ints of more than 4300 decimal digits
        text = "a value too long to print"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def _key_text(key: Any) -> str:
    return " ".join(repr(part) for part in key if part is not None) if isinstance(key, tuple) else repr(key)


class _Absent:
    """Stands for a value that is not there; None is a value."""


_ABSENT = _Absent()

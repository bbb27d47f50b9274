"""Points straight from their lines: what the codec makes of the usual `metrics` and `points` lines, many times as fast, without a record.

Anything unusual (other fields, a value that JSON cannot say, a wrong type) is None here, and goes the codec's way.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import orjson

from .base import Microseconds
from .metrics import MetricSource

_ROW = b'{"kind":"metrics",'
_COLUMN = b'{"kind":"points",'
_ROW_FIELDS = ("kind", "seq", "time", "step", "values")
_ROW_WITHOUT_STEP = ("kind", "seq", "time", "values")
_ROW_OF_SYSTEM = (*_ROW_FIELDS, "source")
_ROW_OF_SYSTEM_WITHOUT_STEP = (*_ROW_WITHOUT_STEP, "source")
_COLUMN_FIELDS = frozenset(("kind", "seq", "time", "name", "times", "values"))
_COLUMN_MORE = frozenset(("steps", "source"))
_SOURCES: tuple[MetricSource, ...] = ("user", "system")
_PLAIN = frozenset((float, int, bool, str))
_STEPS = frozenset((float, int, type(None)))
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


Row = tuple[Microseconds, int | float | None, dict[str, Any], MetricSource]
"""Time, step, values and source of a `Metrics` record. A plain tuple: there are millions."""


class Column(NamedTuple):
    """The fields of a `Points` record."""

    name: str
    steps: list[int | float | None]
    times: list[Microseconds]
    values: list[Any]
    source: MetricSource


def read_row(line: bytes) -> Row | None:
    """Return what a line of a `Metrics` record says; None if that is for the codec to find out."""
    if not line.startswith(_ROW):
        return None
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    fields, step, source = tuple(row), None, "user"
    if fields == _ROW_FIELDS:
        kind, seq, time, step, values = row.values()
    elif fields == _ROW_WITHOUT_STEP:
        kind, seq, time, values = row.values()
    elif fields == _ROW_OF_SYSTEM:
        kind, seq, time, step, values, source = row.values()
    elif fields == _ROW_OF_SYSTEM_WITHOUT_STEP:
        kind, seq, time, values, source = row.values()
    else:
        return None
    if kind != "metrics" or type(seq) is not int or type(time) is not int or type(values) is not dict or source not in _SOURCES:
        return None
    if type(step) is not int and type(step) is not float and (step is not None or "step" in row):
        return None
    if "$" in values or not (_PLAIN.issuperset(map(type, values.values())) or _are_plain(values)):
        return None
    return time, step, values, source


def _are_plain(values: dict[str, Any]) -> bool:
    """Return whether all values are numbers and texts, once NaN and the infinities have been put in the place of their tags."""
    for name, value in values.items():
        if type(value) not in _PLAIN:
            if type(value) is not dict or len(value) != 1 or type(tag := value.get("$")) is not str or tag not in _FLOATS:
                return False
            values[name] = _FLOATS[tag]
    return True


def read_column(line: bytes) -> Column | None:
    """Return what a line of a `Points` record says; None if that is for the codec to find out."""
    if not line.startswith(_COLUMN):
        return None
    try:
        column = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if column["kind"] != "points" or not column.keys() >= _COLUMN_FIELDS or not column.keys() <= _COLUMN_FIELDS | _COLUMN_MORE:
        return None
    name, steps, times, values = column["name"], column.get("steps"), column["times"], column["values"]
    source = column.get("source", "user")
    if type(column["seq"]) is not int or type(column["time"]) is not int or type(name) is not str or source not in _SOURCES:
        return None
    if type(times) is not list or type(values) is not list or len(times) != len(values):
        return None
    if steps is None:
        steps = [None] * len(times)
    elif type(steps) is not list or len(steps) != len(times) or not _STEPS.issuperset(map(type, steps)):
        return None
    if not set(map(type, times)) <= {int} or not _PLAIN.issuperset(map(type, values)):
        return None
    return Column(name, steps, times, values, source)

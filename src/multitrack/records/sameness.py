"""When two values are the same: NaN equals NaN, and 1, 1.0 and True are three values.

Python's `==` says otherwise on both counts, and comparing runs point by point must be quick: whole columns are turned into keys
that can be hashed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import repeat
from math import isnan
from typing import Any

import orjson

from .codec import to_wire

_NAN = "nan"


def key_of(value: Any, *, typed: bool = True) -> Hashable:
    """Return a key that two values share exactly when they are the same. Not `typed`: when they are equal as numbers."""
    kind = type(value)
    if kind is float:
        return (float, _NAN) if isnan(value) else value
    if kind is int or kind is bool:
        return (kind, value) if typed else value
    if kind is str or value is None:
        return (kind, value)
    return (kind, orjson.dumps(to_wire(value), option=orjson.OPT_SORT_KEYS))


def keys_of(column: Sequence[Any], *, typed: bool = True) -> list[Hashable]:
    """Return `key_of` every value of a column."""
    types = set(map(type, column))
    if types <= {float}:  # the usual columns, ten times faster
        return [(float, _NAN) if isnan(value) else value for value in column]
    if types == {int}:
        return list(zip(repeat(int), column, strict=False)) if typed else list(column)
    return [key_of(value, typed=typed) for value in column]


def same(one: Any, other: Any) -> bool:
    """Return whether two values of a record, or two mappings or lists of such values, are the same."""
    return one is other or key_of(one) == key_of(other)

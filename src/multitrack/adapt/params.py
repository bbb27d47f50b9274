"""Hyperparameters fitted to a service: nested or dotted, typed or text, changing or not."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from ..backend import Capabilities
from ..records import Hyperparameters, Record
from ..records.codec import to_wire
from .names import digest
from .notes import TAG_PARAM, Notes, Renamer

Path = tuple[str, ...]
"""Where a param stands: the keys that lead to it."""


def leaves(values: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield the path and value of every param. A list is a value; so is an empty mapping."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def plant(values: dict[str, Any], path: Path, value: Any) -> None:
    """Set the value at `path`, replacing whatever stands in the way."""
    for key in path[:-1]:
        inner = values.get(key)
        if not isinstance(inner, dict):
            inner = values[key] = {}
        values = inner
    values[path[-1]] = value


class ParamFitter:
    """Fits `Hyperparameters`. `last` holds, by the digest of each param's place, the digest of its last value."""

    def __init__(self, capabilities: Capabilities, names: Renamer, notes: Notes, last: dict[str, str]) -> None:
        self._capabilities = capabilities
        self._names = names
        self._notes = notes
        self.last = last

    def place(self, path: Path) -> Path:
        """Return where the param at `path` stands at the service."""
        if not self._capabilities.nested_params:
            dotted = ".".join(path)
            return (self._names.fit(dotted, owner=_as_json(path), clashes="." in dotted),)
        place = tuple(self._names.fit(key, scope=_as_json(path[:depth])) for depth, key in enumerate(path))
        length = self._capabilities.param_path_length
        if length is None or sum(map(len, place)) + len(place) - 1 <= length:
            return place
        dotted = ".".join(path).ljust(length + 1, ".")  # too long by itself, so that it gets its hash
        return (self._names.fit(".".join(path), wanted=dotted, owner=_as_json(path)),)

    def fit(self, record: Hyperparameters) -> list[Record]:
        """Return the record as the service can hold it, or nothing when the service has all of it already."""
        values: dict[str, Any] = {}
        changed = False
        if record.sources and not self._capabilities.param_sources:
            self._notes.lose("param_source", "params", "where their values come from does not arrive")
            record = record.model_copy(update={"sources": {}})
        for path, value in leaves(record.values):
            place, fitted = self.place(path), self._fit_value(path, value)
            if self._capabilities.changing_params or self._is_first(path, place, fitted):
                stored = self._cut(path, fitted)
                plant(values, place, stored)
                changed = changed or place != path or stored is not value
            else:
                changed = True
        if not changed:
            return [record]
        return [record.model_copy(update={"values": values})] if values else []

    def _fit_value(self, path: Path, value: Any) -> Any:
        if not self._capabilities.nested_params and len(path) > 1:
            self._notes.lose("param_nested", "params", "nested params stand under dotted names")
        if self._capabilities.typed_params:
            flat_empty = not self._capabilities.nested_params and value == {}
            return "{}" if flat_empty else self._fit_numbers(value)
        return self._as_text(value)

    def _fit_numbers(self, value: Any) -> Any:
        """Return a param whose numbers the service can hold; those that it cannot stand as text. An unchanged one is the same object."""
        largest = self._capabilities.largest_int
        if isinstance(value, list):
            fitted = [self._fit_numbers(item) for item in value]
            return value if all(map(operator.is_, fitted, value)) else fitted
        if isinstance(value, Mapping):
            inner = {key: self._fit_numbers(item) for key, item in value.items()}
            return value if all(inner[key] is item for key, item in value.items()) else inner
        if type(value) is float and self._capabilities.finite_params and not math.isfinite(value):
            self._notes.lose("param_float", "params", "NaN and the infinities stand as text")
            return str(value)
        if type(value) is int and largest is not None and abs(value) > largest:
            self._notes.lose("param_int", "params", f"ints beyond {_power(largest)} stand as text")
            return _int_text(value)
        return value

    def _as_text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        self._notes.lose("param_type", "params", "values other than text stand as text")
        if isinstance(value, list | Mapping):
            return orjson.dumps(to_wire(value)).decode()
        return _int_text(value) if type(value) is int else str(value)

    def _cut(self, path: Path, value: Any) -> Any:
        length = self._capabilities.param_length
        if length is None or not isinstance(value, str) or len(value) <= length:
            return value
        self._notes.lose("param_length", f"param {'.'.join(path)!r}", f"only the first {length:,} characters arrive")
        return value[:length]

    def _is_first(self, path: Path, place: Path, value: Any) -> bool:
        """Return whether the param has no value yet at the service; a changed value goes to a tag, the same one nowhere."""
        key, now = digest(_as_json(place)), digest(_as_json(value))
        before = self.last.get(key)
        self.last[key] = now
        if before is None:
            return True
        if before != now:
            name = ".".join(path)
            told = self._notes.tell(TAG_PARAM + ".".join(place), value if isinstance(value, str) else _as_json(value))
            later = "the last one stands in a tag" if told else "later ones do not arrive whole"
            self._notes.lose("param_changed", f"param {name!r}", f"the first value stays, {later}")
        return False


def _int_text(value: int) -> str:
    return str(value) if value.bit_length() < 10_000 else hex(value)  # Python refuses to print ints of more than 4300 decimal digits


def _power(largest: int) -> str:
    exponent = largest.bit_length() - 1
    return f"2**{exponent}" if largest == 2**exponent else f"{largest:,}"


def _as_json(value: Any) -> str:
    return orjson.dumps(to_wire(value)).decode()

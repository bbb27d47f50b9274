"""A run's config: params as W&B shows them, and multitrack's own words under one key. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from multitrack.records import from_wire, to_wire

from . import names
from .values import plain, same_there, survives

Path = tuple[str, ...]


class Config:
    """A run's config as the service has it, or is about to.

    Args:
        held: the config that the run has at the service, nested, without its `value` wrappings. It is copied.
    """

    def __init__(self, held: Mapping[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = deepcopy(dict(held or {}))
        self.own: dict[str, Any] = self.values.setdefault(names.CONFIG, {})
        self.own.setdefault(names.INTS, [])
        self._ints = set(self.own[names.INTS])
        self._exact = dict(read_exact(self.own.get(names.EXACT)))
        self._changed: dict[Path, None] = {}
        self._removed: dict[Path, None] = {}

    def merge(self, params: Mapping[str, Any], sources: Mapping[str, Any]) -> None:
        """Bring params in: a mapping merges into a mapping, anything else replaces what stood there; and where they come from."""
        had_exact = bool(self._exact)
        for path, value in _leaves(params):
            self._forget(path)
            if not survives(value):
                self._exact[path] = value
            if value != {}:
                plant(self.values, path, plain(value))
                self._changed[path] = None
        if self._exact or had_exact:
            self.tell(names.EXACT, write_exact(self._exact) if self._exact else None)
        self._merge_sources(params, sources)

    def tell(self, key: str, value: Any) -> None:
        """Set one of multitrack's own words; None takes it away."""
        self.tell_at((key,), value)

    def tell_at(self, path: Path, value: Any) -> None:
        """Set one of multitrack's own words inside another."""
        whole = (names.CONFIG, *path)
        if value is None:
            if _take(self.values, whole):
                self._changed.pop(whole, None)
                self._removed[whole] = None
        elif not _holds(self.values, whole, value):
            plant(self.values, whole, value)
            self._removed.pop(whole, None)
            self._changed[whole] = None

    @property
    def ints(self) -> set[str]:
        """The metrics whose numbers are ints."""
        return self._ints

    def add_int(self, name: str) -> None:
        """Note that a metric's numbers are ints."""
        self._ints.add(name)
        self.own[names.INTS] = sorted(self._ints)
        self._changed[names.CONFIG, names.INTS] = None

    def changes(self) -> tuple[dict[Path, Any], list[Path]]:
        """Return what was set, and what was taken away, since the last call."""
        changed = {path: value for path in self._changed if (value := _at(self.values, path)) is not _ABSENT}
        removed = list(self._removed)
        self._changed, self._removed = {}, {}
        return changed, removed

    def _merge_sources(self, params: Mapping[str, Any], sources: Mapping[str, Any]) -> None:
        known = dict(read_exact(self.own.get(names.SOURCES)))
        if not known and not sources:
            return
        again = [path for path, _ in _leaves(params)]
        left = {place: source for place, source in known.items() if not any(_is_on_the_way(place, path) for path in again)}
        left.update(_leaves(sources))
        self.tell(names.SOURCES, write_exact(left) if left else None)

    def _forget(self, path: Path) -> None:
        """Forget what was exact of a param that is set again, of what was below it, and of what it stands below now."""
        for known in [known for known in self._exact if _is_on_the_way(known, path)]:
            del self._exact[known]


def params_of(config: Mapping[str, Any], *, ours: bool) -> dict[str, Any]:
    """Return the params that a config holds: those of ours as they were sent, where nobody has changed them since."""
    params = {key: deepcopy(value) for key, value in config.items() if key != names.CONFIG_INTERNAL and not (ours and key == names.CONFIG)}
    own = config.get(names.CONFIG)
    if not ours or not isinstance(own, Mapping):
        return params
    for path, value in read_exact(own.get(names.EXACT)):
        found = _at(params, path)
        if (found is _ABSENT and value == {}) or (found is not _ABSENT and same_there(plain(value), found)):
            plant(params, path, value)
    return params


def sources_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return where the params of a run of ours come from, nested as they are."""
    sources: dict[str, Any] = {}
    own = config.get(names.CONFIG)
    for path, source in read_exact(own.get(names.SOURCES) if isinstance(own, Mapping) else None):
        plant(sources, path, source)
    return sources


def read_exact(text: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the paths and values that `write_exact` wrote; nothing where somebody has written something else."""
    try:
        for path, value in json.loads(text) if isinstance(text, str) else ():
            yield tuple(from_wire(path)), from_wire(value)
    except (ValueError, TypeError):
        return


def write_exact(exact: Mapping[Path, Any]) -> str:
    """Return paths and values as JSON text, each value as it is."""
    return json.dumps([[to_wire(list(path)), to_wire(value)] for path, value in exact.items()], separators=(",", ":"))


def plant(values: dict[str, Any], path: Path, value: Any) -> None:
    """Set the value at `path`, replacing whatever stands in the way."""
    for key in path[:-1]:
        inner = values.get(key)
        if not isinstance(inner, dict):
            inner = values[key] = {}
        values = inner
    values[path[-1]] = value


def _leaves(values: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _is_on_the_way(one: Path, other: Path) -> bool:
    """Return whether one of the paths leads to, or through, the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _take(values: dict[str, Any], path: Path) -> bool:
    for key in path[:-1]:
        inner = values.get(key)
        if not isinstance(inner, dict):
            return False
        values = inner
    return values.pop(path[-1], _ABSENT) is not _ABSENT


class _Absent:
    """Stands for a value that is not there; None is a value."""


_ABSENT: Any = _Absent()


def _at(values: Any, path: Path) -> Any:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return _ABSENT
        values = values[key]
    return values


def _holds(values: Mapping[str, Any], path: Path, value: Any) -> bool:
    found = _at(values, path)
    return found is not _ABSENT and type(found) is type(value) and found == value

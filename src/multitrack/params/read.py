"""The way through settings: whatever their form, into dicts, lists and scalars."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

from ..values import describe, plain, to_number
from .absl_flags import ABSL
from .attrs_classes import ATTRS
from .click_contexts import CLICK, TYPER
from .given import Form, Given
from .objects import DATACLASS, NAMEDTUPLE, NAMESPACE, SIMPLE_NAMESPACE, attributes
from .omegaconf_configs import OMEGACONF
from .pydantic_models import PYDANTIC
from .texts import to_text

FORMS: tuple[Form, ...] = (OMEGACONF, PYDANTIC, ATTRS, DATACLASS, NAMESPACE, SIMPLE_NAMESPACE, NAMEDTUPLE, ABSL, CLICK, TYPER)
"""In the order in which they are looked for: a library's own classes before the more general ones that they may be as well."""

_DEEPEST = 64
"""Levels of nesting that params may have [orjson: 254; a level may take three]."""
_LARGEST_ARRAY = 1000
"""Elements of an array, or of a range, that is kept whole."""

Source = Any
"""A text, or a mapping nested as the value is; None where it is not known."""


def read_params(settings: Any, parser: Any = None) -> Given:
    """Return hyperparameters as a record holds them, and where they come from as far as their library knows.

    Args:
        settings: a mapping, or one of `FORMS`, or an object, a class or a module with public attributes.
        parser: the `argparse.ArgumentParser` that has read them; it knows which were given.

    Raises:
        TypeError: they are nothing that has names and values.
        ValueError: they contain themselves, are nested too deeply, or two names in them are the same as texts.
    """
    given = _given(settings)
    if given is None or not isinstance(given.values, Mapping):
        raise TypeError(f"params must be a mapping, or an object with attributes, not {describe(settings)}")
    values, sources = _Walk(strict=False).mapping("", given.values, given.sources, (id(settings),))
    if parser is not None:
        from .command_line import sources_of

        sources = {**sources, **{name: source for name, source in sources_of(parser, values, sys.argv[1:]).items() if name in values}}
    return Given(values, sources)


def to_params(values: Any) -> dict[str, Any]:
    """Return JSON as a record holds it, such as the metadata of a file: tuples and sets become lists, paths texts, numpy and torch scalars
    numbers.

    Raises:
        TypeError, ValueError: not a mapping, a name that is no str, or a value that is no JSON; the message says which.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"params must be a mapping, not {describe(values)}")
    found, _ = _Walk(strict=True).mapping("", values, {}, (id(values),))
    return found


def _given(settings: Any) -> Given | None:
    if type(settings) is dict:
        return Given(settings)
    if (given := _formed(settings)) is not None:
        return given
    if isinstance(settings, Mapping):
        return Given(settings)
    if callable(getattr(settings, "keys", None)) and hasattr(settings, "__getitem__") and not isinstance(settings, type):
        return Given({name: settings[name] for name in settings.keys()})  # noqa: SIM118 - a mapping in all but name
    return attributes(settings)


def _formed(settings: Any) -> Given | None:
    for form in FORMS:
        if (form.module is None or form.module in sys.modules) and form.is_one(settings):
            return form.read(settings)
    return None


def _bare_settings(value: Any) -> Given | None:
    """Return the attributes of an object inside others that has no text of its own and nothing but scalars: a small `Config`."""
    if any("__repr__" in vars(kind) for kind in type(value).__mro__[:-1]):
        return None
    given = attributes(value)
    return given if given is not None and all(item is None or isinstance(item, _SCALARS) for item in given.values.values()) else None


_SCALARS = (bool, int, float, str)


class _Walk:
    """Goes through settings. `strict` refuses what is no JSON in place of telling it in words."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict

    def mapping(
        self, where: str, values: Mapping[Any, Any], sources: Mapping[str, Any], inside: tuple[int, ...]
    ) -> tuple[dict[str, Any], dict[str, Source]]:
        found: dict[str, Any] = {}
        told: dict[str, Any] = {}
        for key, item in values.items():
            name = self._name(key, where)
            if name in found:
                raise ValueError(f"param {where or name!r}: two names are both {name!r} as texts")
            found[name], source = self.value(f"{where}.{name}" if where else name, item, inside)
            source = sources.get(name, source)
            if source is not None and source != {}:
                told[name] = source
        return found, told

    def value(self, where: str, value: Any, inside: tuple[int, ...]) -> tuple[Any, Source]:
        if value is None or isinstance(value, bool | int | float | str):
            return plain(value), None
        if id(value) in inside:
            raise ValueError(f"param {where!r} contains itself")
        inside = (*inside, id(value))
        if len(inside) > _DEEPEST:
            raise ValueError(f"param {where[:60]!r}... is nested deeper than {_DEEPEST} levels")
        if (given := self._nested(value)) is not None:
            if isinstance(given.values, Mapping):
                return self.mapping(where, given.values, given.sources, inside)
            value = given.values
        if isinstance(value, range) and len(value) > _LARGEST_ARRAY:
            return repr(value), None
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview | str):
            return [self.value(f"{where}[{i}]", item, inside)[0] for i, item in enumerate(value)], None
        if isinstance(value, Set):
            return sorted((self.value(where, item, inside)[0] for item in value), key=repr), None
        return self._leaf(where, value, inside), None

    def _nested(self, value: Any) -> Given | None:
        if not self._strict and type(value) is not dict and not isinstance(value, type):
            return _formed(value) or (Given(value) if isinstance(value, Mapping) else _bare_settings(value))
        return Given(value) if isinstance(value, Mapping) else None

    def _leaf(self, where: str, value: Any, inside: tuple[int, ...]) -> Any:
        if self._strict:
            number = _path_or_number(where, value)
            if number is None:
                described = f"param {where!r}: a {describe(value)} cannot be written as JSON"
                raise TypeError(f"{described}; give a number, a text, or a list or dict of them")
            return number
        try:
            with contextlib.suppress(ValueError):  # beyond the floats
                if (number := _path_or_number(where, value)) is not None:
                    return number
            if (listed := _small_array(value)) is not None:
                return listed
            told = to_text(value)
        except Exception as error:  # noqa: BLE001 - a broken __repr__, or a device that is gone, must not end the training
            return f"<{describe(value)} that cannot be read: {type(error).__name__}>"
        return self.value(where, told, inside)[0]

    def _name(self, name: Any, where: str) -> str:
        if isinstance(name, str):
            return str.__str__(name)
        if self._strict:
            raise TypeError(f"param {where or name!r}: the name {name!r} is no str; write {str(name)!r}")
        told = self._leaf(where, name, ()) if not isinstance(name, bool | int | float | tuple | None) else name
        return str(told)


def _path_or_number(where: str, value: Any) -> Any:
    return str(value) if isinstance(value, PurePath) else to_number(f"param {where!r}", value)


def _small_array(value: Any) -> Any:
    """Return a numpy, torch or jax array as lists, unless it is large."""
    shape, to_list = getattr(value, "shape", None), getattr(value, "tolist", None)
    if isinstance(value, type) or not isinstance(shape, tuple) or not callable(to_list) or not hasattr(value, "dtype"):
        return None
    count = 1
    for size in shape:
        count *= int(size)
    return to_list() if count <= _LARGEST_ARRAY else f"{describe(value)}, {value.dtype}"

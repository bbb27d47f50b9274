"""Settings in the standard library's own forms, and as the attributes of any object."""

from __future__ import annotations

import dataclasses
import sys
import types
from typing import Any

from .given import DEFAULT, Form, Given


def _is_dataclass(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _fields(value: Any) -> Given:
    return Given({field.name: getattr(value, field.name) for field in dataclasses.fields(value) if hasattr(value, field.name)})


def _variables(value: Any) -> Given:
    return Given(dict(vars(value)))


DATACLASS = Form(None, _is_dataclass, _fields)
NAMESPACE = Form("argparse", lambda value: isinstance(value, sys.modules["argparse"].Namespace), _variables)
SIMPLE_NAMESPACE = Form(None, lambda value: isinstance(value, types.SimpleNamespace), _variables)
NAMEDTUPLE = Form(
    None,
    lambda value: isinstance(value, tuple) and isinstance(getattr(value, "_fields", None), tuple),
    lambda value: Given(dict(zip(value._fields, value, strict=True))),
)

_WITHOUT_SETTINGS = (str, bytes, bool, int, float, complex, list, tuple, set, frozenset, types.FunctionType, types.NoneType)
_BEHAVIOUR = (property, classmethod, staticmethod, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)


def attributes(value: Any) -> Given | None:
    """Return an object's, a class's or a module's public attributes, those of its classes included; None if it has none.

    What only its class has is a default: `class Config: lr = 0.1`.
    """
    if isinstance(value, _WITHOUT_SETTINGS):
        return None
    if isinstance(value, types.ModuleType):
        found = {name: item for name, item in vars(value).items() if _is_setting(name, item) and not isinstance(item, type)}
        return Given(found) if found else None
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__ == "builtins":
        return None
    inherited: dict[str, Any] = {}
    slots: list[str] = []
    for base in reversed(kind.__mro__):
        if base.__module__ != "builtins":
            inherited |= {name: item for name, item in vars(base).items() if _is_setting(name, item)}
            named = vars(base).get("__slots__", ())
            slots += [named] if isinstance(named, str) else named
    if isinstance(value, type):
        return Given(inherited) if inherited else None
    own = {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})
    own = {name: item for name, item in own.items() if not str(name).startswith("_")}
    inherited = {name: item for name, item in inherited.items() if name not in slots}
    found = inherited | own
    return Given(found, {name: DEFAULT for name in found if name not in own}) if found else None


def _is_setting(name: str, item: Any) -> bool:
    return not name.startswith("_") and not isinstance(item, _BEHAVIOUR) and not hasattr(type(item), "__get__")

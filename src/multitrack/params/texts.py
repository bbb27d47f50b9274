"""What is no JSON, told so that people recognise it, and the same in each run: never an address in memory."""

from __future__ import annotations

import base64
import enum
import functools
import re
import types
from collections import deque
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

from ..masking import MASKED

_ADDRESS = re.compile(r"(?: object)? at 0x[0-9a-fA-F]+")
_LONGEST = 500
"""Characters of an object's own text; a longer one is cut with a note. A network prints pages."""
_MOST_BYTES = 256


def to_text(value: Any) -> Any:
    """Return a value that is no JSON as a text; a timedelta as seconds; a partial as the mapping that Hydra instantiates."""
    for kinds, tell in _FORMS:
        if isinstance(value, kinds):
            return tell(value)
    if hasattr(value, "get_secret_value"):  # pydantic's SecretStr, and others made like it
        return MASKED
    if callable(value) and hasattr(value, "__qualname__"):
        return qualified_name(value)
    told = str(value) if type(value).__module__.partition(".")[0] in _OWN_WORDS else repr(value)
    told = _ADDRESS.sub("", told)
    if len(told) > _LONGEST:
        return f"{told[:_LONGEST]}... ({len(told):,} characters)"
    return told[1:-1] if re.fullmatch(r"<[\w.]+>", told) else told


_OWN_WORDS = frozenset(
    (
        "httpx",
        "ipaddress",
        "jax",
        "jaxlib",
        "numpy",
        "pandas",
        "polars",
        "pyarrow",
        "pydantic",
        "pydantic_core",
        "tensorflow",
        "torch",
        "uuid",
        "yarl",
    )
)
"""Libraries of which `str` says it as people write it: `torch.float32`, `cuda:0`, `float32`, a URL."""


def qualified_name(value: Any) -> str:
    """Return `module.Class` or `module.function`; `int`, of the builtins."""
    module = getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or type(value).__qualname__
    return str(name) if module in (None, "builtins") else f"{module}.{name}"


def _enum(value: enum.Enum) -> str:
    """Return an enum's value where that is a text, as on a command line; else its name: `1` says nothing."""
    return value.value if isinstance(value.value, str) else value.name or str(value)


def _partial(value: functools.partial[Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"_target_": qualified_name(value.func), "_partial_": True}
    if value.args:
        told["_args_"] = list(value.args)
    return {**told, **value.keywords}


def _bytes(value: bytes | bytearray | memoryview) -> str:
    content = bytes(value)
    if len(content) > _MOST_BYTES:
        return f"{len(content):,} bytes"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and (text or not content) else "base64:" + base64.b64encode(content).decode()


def _generic(value: Any) -> str:
    """Return `list[int]` as it is written."""
    return _ADDRESS.sub("", str(value))


_FORMS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (enum.Enum, _enum),
    (functools.partial, _partial),
    (types.GenericAlias, _generic),
    (type, qualified_name),
    (types.ModuleType, lambda value: value.__name__),
    (types.MethodType | types.FunctionType | types.BuiltinFunctionType, qualified_name),
    (datetime | date | time, lambda value: value.isoformat()),
    (timedelta, timedelta.total_seconds),
    (tzinfo, str),
    (re.Pattern, lambda value: value.pattern),
    (bytes | bytearray | memoryview, _bytes),
    (complex, str),
    (deque, list),
)
"""What is told in its own way: what it is, and how."""

"""attrs, old spelling and new."""

from __future__ import annotations

from typing import Any

from .given import Form, Given


def _is_one(value: Any) -> bool:
    return not isinstance(value, type) and isinstance(getattr(type(value), "__attrs_attrs__", None), tuple)


def _read(value: Any) -> Given:
    return Given({field.name: getattr(value, field.name) for field in type(value).__attrs_attrs__ if hasattr(value, field.name)})


ATTRS = Form("attr", _is_one, _read)

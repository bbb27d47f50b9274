"""pydantic's models, of version 2 and of version 1; pydantic-settings' as well."""

from __future__ import annotations

from typing import Any

from .given import DEFAULT, Form, Given


def _is_one(value: Any) -> bool:
    kind = type(value)
    return isinstance(getattr(kind, "model_fields", None), dict) or (hasattr(kind, "__fields__") and hasattr(value, "__fields_set__"))


def _read(value: Any) -> Given:
    """A field that was not set has its default. Who has set the others, a model does not know."""
    kind = type(value)
    fields, given = (
        (kind.model_fields, value.model_fields_set) if hasattr(kind, "model_fields") else (kind.__fields__, value.__fields_set__)
    )
    values = {name: getattr(value, name) for name, field in fields.items() if hasattr(value, name) and not _left_out(field)}
    extra = getattr(value, "model_extra", None) or {}
    return Given({**values, **extra}, {name: DEFAULT for name in values if name not in given})


def _left_out(field: Any) -> bool:
    return getattr(getattr(field, "field_info", field), "exclude", None) is True


PYDANTIC = Form("pydantic", _is_one, _read)

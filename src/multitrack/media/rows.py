"""What `run.log` was given, as the row of a record. Pure; nearly all of it is plain numbers, which must cost next to nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..values import to_name, to_point
from .points import to_media


def row_fields(time: int, step: float | None, values: dict[str, Any]) -> dict[str, Any]:
    """Return a `Metrics` record's fields in the order of its line."""
    if step is None:
        return {"kind": "metrics", "seq": 0, "time": time, "values": values}
    return {"kind": "metrics", "seq": 0, "time": time, "step": step, "values": values}


def to_row(values: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return metrics as a record holds them, and whether the codec has to write them."""
    try:
        items = values.items()
    except AttributeError:
        raise TypeError(f"metrics are given as a mapping such as {{'loss': 0.5}}, not {values!r:.60}") from None
    plain: dict[str, Any] = {}
    special = False
    for name, value in items:
        if type(name) is not str or not name:
            name = to_name(name)  # noqa: PLW2901
        kind = type(value)
        if kind is not float and kind is not int and kind is not bool and kind is not str:
            value = _to_point(name, value)  # noqa: PLW2901
            kind = type(value)
        if kind is float:
            if value - value != 0.0:  # NaN and the infinities
                special = True
        elif kind not in _PLAIN:
            special = True
        plain[name] = value
    return plain, special or "$" in plain


_PLAIN = frozenset({bool, int, str})


def _to_point(name: str, value: Any) -> Any:
    try:
        return to_point(name, value)
    except TypeError:
        media = to_media(name, value)
        if media is None:
            raise
        return media

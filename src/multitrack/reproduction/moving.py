"""Paths of the place where a run was, as paths of the place where it is now. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Moves = Sequence[tuple[str, str]]
"""(folder then, folder now), absolute; the first that fits counts."""


def moved(text: str, moves: Moves) -> str:
    """Return a text with the folders in it replaced, where they stand for themselves or begin a path."""
    if not moves:
        return text
    now = {then.rstrip("/"): place for then, place in moves if then.rstrip("/")}
    if not now:
        return text
    folders = "|".join(re.escape(then) for then in now)
    return re.sub(rf"(?<![\w./-])({folders})(?=/|$|[\s:;,'\")\]])", lambda match: now[match[1]], text)


def moved_value(value: Any, moves: Moves) -> Any:
    """Return a param's value, nested or not, with the folders in its texts replaced."""
    if isinstance(value, str):
        return moved(value, moves)
    if isinstance(value, Mapping):
        return {key: moved_value(item, moves) for key, item in value.items()}
    if isinstance(value, list):
        return [moved_value(item, moves) for item in value]
    return value

"""Steps as Neptune takes them: each above the one before, at most six decimals. Pure.

Where a step is not like that (it goes back, repeats, is missing, negative, huge, or finer than Neptune keeps), the point stands at the next
whole number, and what its step really is stands as a text beside it, in the string series `multitrack/steps/<metric>`, at that number.
"""

from __future__ import annotations

import math

_LIMIT = 10**12
"""Neptune: steps are decimals of 18 digits, six of them behind the point."""
_MISSING = "none"


def place(step: float | None, last: float | None) -> tuple[float, str | None]:
    """Return where a point stands, and its step's text where that is somewhere else.

    Args:
        step: the point's own.
        last: where the point before it stands; None for the first one.
    """
    after = 0 if last is None else math.floor(last) + 1
    if step is None:
        return after, _MISSING
    if _is_held(step) and (last is None or step > last):
        return step, None
    return after, repr(step)


def original(stands: float, text: str | None) -> int | float | None:
    """Return the step of a point that stands there, with its text, if it has one."""
    if text is None:
        return int(stands) if stands == stands // 1 else stands
    if text == _MISSING:
        return None
    try:
        return int(text)
    except ValueError:
        return float(text)


def _is_held(step: float) -> bool:
    """Return whether Neptune keeps a step as it is. A whole one comes back as an int."""
    if not 0 <= step < _LIMIT:
        return False
    return isinstance(step, int) or (not step.is_integer() and round(step, 6) == step)

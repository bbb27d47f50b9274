"""A private key has many lines, and a console shows one at a time."""

from __future__ import annotations

from .mask import Mask
from .shapes import MASKED, PRIVATE_KEY_BEGINS, PRIVATE_KEY_ENDS

_LONGEST = 200
"""Lines of a private key; one of 16,384 bits has 200. Whatever follows is shown again, though its end was not seen."""


class LineMask:
    """Masks the lines of one stream, one after the other."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._left = 0

    def text(self, line: str) -> str:
        """Return the next line with its credentials masked; the very same object where there is none."""
        if self._left:
            self._left -= 1
            if (end := PRIVATE_KEY_ENDS.search(line)) is None:
                return MASKED
            self._left = 0
            return MASKED + self._mask.text(line[end.start() :])
        if "PRIVATE KEY" in line and (begin := PRIVATE_KEY_BEGINS.search(line)) and not PRIVATE_KEY_ENDS.search(line, begin.end()):
            self._left = _LONGEST
        return self._mask.text(line)

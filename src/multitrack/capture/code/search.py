"""Looks for credentials in files of any size, a piece at a time: one long search would keep the training's threads from running."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from ...masking import Mask

PIECE = 32_768
"""Bytes that are searched at a time, cut at a line's end."""
OVERLAP = 1_024
"""Bytes that are searched twice where a line is so long that it has to be cut."""

_BINARY_BEGINS = 8_000
"""Bytes in which a zero makes a file binary, as git has it."""
_PRINTABLE = re.compile(rb"[\t\x20-\x7e]{8,}")
_LINE = re.compile(r"(.*), line (\d+)$", re.DOTALL)


class NoTimeLeftError(Exception):
    """The search was given up."""


def find_credential(mask: Mask, content: bytes, deadline: float) -> str | None:
    """Return a phrase for a credential in a file's content, None if there is none. Of a binary file, its texts are searched.

    Raises:
        NoTimeLeftError: the deadline (of `time.monotonic`) has passed.
    """
    binary = b"\0" in content[:_BINARY_BEGINS]
    for line, piece in _pieces(b"\n".join(_PRINTABLE.findall(content)) if binary else content):
        if time.monotonic() > deadline:
            raise NoTimeLeftError
        found = mask.find(piece)
        if found is not None:
            numbered = _LINE.match(found)
            if numbered is None:
                return found
            return numbered[1] if binary else f"{numbered[1]}, line {int(numbered[2]) + line}"
    return None


def _pieces(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield a content in pieces, each with the number of lines before it."""
    start = line = 0
    while start < len(content):
        end = content.rfind(b"\n", start, start + PIECE) + 1 if start + PIECE < len(content) else len(content)
        cut = end <= start
        if cut:
            end = start + PIECE
        yield line, content[start:end]
        line += content.count(b"\n", start, end)
        start = end - OVERLAP if cut else end

"""Which of what reached a place shared by both streams came from standard error. Pure."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Literal

Stream = Literal["stdout", "stderr"]

_MOST = 10_000
"""Writes that are remembered."""
_PATIENCE = 5.0
"""Seconds until a write that did not come in is forgotten: the program has sent its standard error elsewhere."""


class Separation:
    """Tells the streams of one place apart: a terminal, or a file that both go to.

    One place keeps the order of what is printed, exactly, but forgets the stream. What this process writes to `sys.stderr` is noted as
    it goes out, and found again, in order, in what comes in. All else counts as standard output.
    """

    def __init__(self) -> None:
        self._notes: deque[tuple[float, bytes]] = deque(maxlen=_MOST)
        self._lock = threading.Lock()

    def note(self, data: bytes) -> None:
        """`data` is about to go to standard error, in one write."""
        self._notes.append((time.monotonic(), data))

    def split(self, data: bytes) -> Iterator[tuple[Stream, bytes]]:
        """Yield what has come in, in order, by streams."""
        with self._lock:
            while data and self._notes:
                since, noted = self._notes[0]
                start = data.find(noted)
                if start < 0:
                    start, found = self._cut(data, noted)
                    if not found:
                        if time.monotonic() - since < _PATIENCE:
                            break
                        self._notes.popleft()
                        continue
                    self._notes[0] = since, noted[found:]  # the rest comes with the next piece
                else:
                    found = len(noted)
                    self._notes.popleft()
                if start:
                    yield "stdout", data[:start]
                yield "stderr", data[start : start + found]
                data = data[start + found :]
        if data:
            yield "stdout", data

    @staticmethod
    def _cut(data: bytes, noted: bytes) -> tuple[int, int]:
        """Return where `noted` begins at the very end of `data`, and how much of it is there."""
        for length in range(min(len(noted) - 1, len(data)), 0, -1):
            if data.endswith(noted[:length]):
                return len(data) - length, length
        return len(data), 0

"""How far the reading of data is: on a terminal a line that moves, elsewhere a line now and then."""

from __future__ import annotations

import threading
import time

from ..messages import TerminalLine, say

_FIRST_LINE, _NEXT_LINES = 30.0, 120.0
"""Seconds, where there is no terminal."""


class ReadingStopped(BaseException):
    """Raised in threads that read, once nobody waits for them. No error: nothing that handles errors may take it for one."""


class ReadingProgress:
    """Counts bytes, from any thread."""

    def __init__(self, name: str = "data") -> None:
        self._name = name
        self._line = TerminalLine()
        self._lock = threading.Lock()
        self._read = self._total = 0
        self._stopped = False
        self._started = time.monotonic()
        self._next_line = self._started + _FIRST_LINE

    def expect(self, size: int) -> None:
        """Say that `size` more bytes are to be read."""
        with self._lock:
            self._total += size

    def advance(self, size: int) -> None:
        """Count bytes that were read.

        Raises:
            ReadingStopped: no more are wanted.
        """
        if self._stopped:
            raise ReadingStopped
        with self._lock:
            self._read += size
            self._line.show(self._text)
            if not self._line.on_terminal and time.monotonic() >= self._next_line:
                self._next_line = time.monotonic() + _NEXT_LINES
                say(self._text())

    def stop(self) -> None:
        """Have the threads that read end with the piece that they are at: Ctrl-C must not wait for a terabyte."""
        self._stopped = True

    def close(self) -> None:
        """Take the line away."""
        self._line.clear()

    def _text(self) -> str:
        took = time.monotonic() - self._started
        speed = self._read / took / 1e6 if took else 0.0
        return f"reading {self._name}: {self._read / 1e9:.1f} of {self._total / 1e9:.1f} GB ({took:.0f} s, {speed:,.0f} MB/s)"

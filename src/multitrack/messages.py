"""What multitrack says to people while their code runs: lines on standard error, and where things are."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path


def say(text: str) -> None:
    """Print a line of ours on standard error. Never raises: it may be closed, gone, or in use by the code that a signal interrupted."""
    # Not a warning of the `warnings` module: a filter must not hide a loss. One write, so that lines of several processes do not mix.
    with contextlib.suppress(Exception):
        sys.stderr.write(f"multitrack: {text}\n")
        sys.stderr.flush()


def on_terminal() -> bool:
    """Return whether standard error is a terminal."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # None, or closed
        return False


class TerminalLine:
    """A line on standard error that is overwritten; silent where that is no terminal, and for the first half second."""

    def __init__(self) -> None:
        self.on_terminal = on_terminal()
        self._due = time.monotonic() + 0.5
        self._width = 0

    def show(self, text: Callable[[], str]) -> None:
        """Show the text that the function `text` returns, ten times a second at most."""
        if self.on_terminal and time.monotonic() >= self._due:
            self._due = time.monotonic() + 0.1
            line = f"multitrack: {text()}"
            self._write("\r" + line.ljust(self._width))
            self._width = len(line)

    def clear(self) -> None:
        """Take the line away."""
        if self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the terminal was closed
            sys.stderr.write(text)
            sys.stderr.flush()


def shown(path: Path) -> str:
    """Return a path relative to the working folder where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere; or the working folder was removed
        return str(path)


def host_name() -> str | None:
    """Return this machine's name, None where it has none."""
    try:
        return socket.gethostname() or None
    except OSError:
        return None

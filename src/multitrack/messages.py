"""What multitrack says to people while their code runs: lines on standard error, and where things are."""

from __future__ import annotations

import contextlib
import socket
import sys
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

"""How the state of a run is put into words."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from .delivery.progress import Progress
from .messages import TerminalLine

if TYPE_CHECKING:
    from .run import Run


def label(run: Run) -> str:
    """Return what a line calls a run."""
    return f"{run.name} ({run.id})" if run.name else run.id


def duration(seconds: float) -> str:
    """Return a number of seconds for people: `12.3 s`, `4 min 05 s`, `3 h 12 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def progress_line(progress: Progress) -> str:
    """Return one target's share of a run as a phrase."""
    if progress.done:
        where = f" at {progress.url}" if progress.url else ""
        refused = f", {progress.rejected:,} refused by it" if progress.rejected else ""
        return f"{progress.label} has it whole{where}{refused}"
    if progress.behind:
        state = f"{progress.label} has {progress.delivered:,} records, {progress.behind:,} are still to deliver"
    else:
        state = f"{progress.label} has all {progress.delivered:,} records so far"
    return f"{state} ({progress.error})" if progress.error else state


def waiting_for(progress: Progress) -> str:
    """Return what is still missing at a target, for a progress line."""
    return f"{progress.label}: {progress.behind:,} to go" if progress.behind else f"{progress.label}: concluding"


class ProgressLine:
    """What a run still waits for, on a terminal."""

    def __init__(self) -> None:
        self._line = TerminalLine()
        self._started = time.monotonic()

    def show(self, text: Callable[[], str]) -> None:
        """Show the text that the function `text` returns, ten times a second at most."""
        self._line.show(lambda: f"delivering, {text()} ({time.monotonic() - self._started:.0f} s; Ctrl-C leaves it to the courier)")

    def clear(self) -> None:
        """Take the line away."""
        self._line.clear()

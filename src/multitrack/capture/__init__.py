"""What is recorded without being asked for: the code's version and the environment.

Everything here runs in a thread of its own while training goes on; a failure is said once, when the run ends, and never raised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..records import Record


@dataclass(frozen=True, slots=True)
class Capture:
    """What to record by itself: `mt.init(capture=mt.Capture(environment=False))`."""

    code: bool = True
    """Git commit, branch and remote; entry point and command line."""
    environment: bool = True
    """Python, installed packages, machine."""

    def records(self) -> Iterator[tuple[str, Callable[[], Record]]]:
        """Yield what is wanted: its name, and the function that captures it."""
        if self.code:
            from .code import capture_code

            yield "code", capture_code
        if self.environment:
            from .environment import capture_environment

            yield "environment", capture_environment


class CaptureThread(threading.Thread):
    """Captures in the background and hands each record over; `failures` tells what could not be captured, and why."""

    def __init__(self, capture: Capture, write: Callable[[Record], None]) -> None:
        super().__init__(name="multitrack-capture", daemon=True)
        self._capture = capture
        self._write = write
        self.failures: dict[str, str] = {}

    def run(self) -> None:
        """Capture everything that is wanted."""
        for name, take in self._capture.records():
            try:
                self._write(take())
            except Exception as error:  # noqa: BLE001 - whatever fails here must not reach the training
                self.failures[name] = f"{type(error).__name__}: {error}"

"""What a run expects of its surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .records import Ending

if TYPE_CHECKING:
    from .capture.recorder import Recorder
    from .run import Run


class Session:
    """What stands around a run while it goes on: capture, couriers, the lines that people see. `live.LiveSession` is the real one."""

    recorder: Recorder | None = None
    """What captures write to; the run's own, with the user's patterns of secrets."""

    def before_end(self, timeout: float | None) -> None:
        """Called before the last record is written; takes no more than `timeout` seconds."""

    def after_end(self, status: Ending, *, refused: int, timeout: float | None) -> None:
        """Called when the journal is closed."""

    def url(self, target: str, wait: float) -> str | None:
        """Return the page where a target shows the run."""
        raise NotImplementedError

    def describe(self, run: Run) -> str:
        """Return what `print(run)` shows."""
        raise NotImplementedError

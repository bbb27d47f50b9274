"""The code of one run: looked at in a thread when the run starts, completed when it ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ...records import CodeVersion, now
from ..recorder import Recorder
from ..watch import HEAD_START, Watch
from .entry import find_entry

if TYPE_CHECKING:
    from .survey import Survey


class CodeWatch(Watch):
    """Records which code runs.

    The repository is looked at once, at the start. What comes later (cells of a notebook, modules outside a repository) is added at the
    end, so that there may be two records, of which the second says all.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._survey: Survey | None = None
        self._version: CodeVersion | None = None
        self._error: Exception | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="multitrack-code", daemon=True)

    def start(self) -> None:
        """Note where we are, as the training may go elsewhere, and begin to look."""
        self._entry = find_entry()
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Add what came since the start.

        Raises:
            TimeoutError: the repository is still being looked at.
            Exception: it could not be looked at, or not wholly.
        """
        self._ended.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"looking at the repository took longer than {timeout:.0f} s")
        if self._survey is not None and self._version is not None:
            completed = self._survey.complete(self._version)
            if completed != self._version:
                self.recorder.write(completed.model_copy(update={"time": now()}))
            self._error = self._error or self._survey.error
        if self._error is not None:
            raise self._error

    def _look(self) -> None:
        self._ended.wait(HEAD_START)
        try:
            from .survey import Survey  # here, since it would take a while of `init`

            self._survey = Survey(self.recorder, self._entry)
            self._version = self._survey.look()
            self.recorder.write(self._version)
        except Exception as error:  # noqa: BLE001 - told when the run ends
            self._error = error

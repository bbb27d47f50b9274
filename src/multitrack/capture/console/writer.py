"""Lines as records: masked, in batches, up to a limit."""

from __future__ import annotations

import contextlib

from ...masking import LineMask
from ...records import LogLines
from ..recorder import Recorder
from .lines import Line
from .streams import Stream

BATCH = 1000
"""Lines of one record."""
LIMIT = 100_000_000
"""Characters that are recorded of a run in one process. What was printed beyond them is counted, and said in a last line."""


class LineWriter:
    """Writes lines of both streams, in the order in which they came."""

    def __init__(self, recorder: Recorder, label: str | None, *, limit: int = LIMIT) -> None:
        self._recorder = recorder
        self._label = label
        self._masks: dict[Stream, LineMask] = {"stdout": LineMask(recorder.mask), "stderr": LineMask(recorder.mask)}
        self._batch: list[Line] = []
        self._stream: Stream = "stdout"
        self._left = limit
        self._limit = limit
        self._beyond = 0

    def add(self, stream: Stream, lines: list[Line]) -> None:
        """Take lines; those of a whole batch are written."""
        for line in lines:
            self._left -= len(line.text)
            if self._left < 0:
                self._beyond += 1
                continue
            if stream != self._stream or len(self._batch) >= BATCH:
                self.flush()
                self._stream = stream
            self._batch.append(line)

    def flush(self) -> None:
        """Write what was taken."""
        if self._batch:
            batch, self._batch = self._batch, []
            mask = self._masks[self._stream].text
            times = [line.time for line in batch]
            lines = [mask(line.text) for line in batch]
            with contextlib.suppress(ValueError):  # the run has ended
                self._recorder.write(LogLines(time=times[0], stream=self._stream, label=self._label, times=times, lines=lines))

    def close(self, now: int) -> None:
        """Write what is left, and how much was not recorded."""
        if self._beyond:
            self._batch.append(Line(now, f"[not recorded: {self._beyond:,} more lines; the first {self._limit:,} characters of a run are]"))
        self.flush()

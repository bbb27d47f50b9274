"""What a program prints: lines with their times, in the run, while the terminal gets every byte as before.

    Console     one run's part: folds and writes             lines.py     bars folded, colours out (pure)
    Tap         descriptors 1 and 2, through a pump          pump.py      the process that passes bytes on
    Hook        `write` of sys.stdout and sys.stderr         streams.py   two streams in one place told apart (pure)
    LineWriter  lines as records, masked                     last_words.py   what a program printed that was killed

`Tap` sees everything that the process and its children print. It is used where the streams are the process's own; elsewhere, in a notebook
or under pytest, the `Hook` sees what Python prints.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

from ...records import now
from ..recorder import Recorder
from ..watch import Watch
from .lines import Lines
from .source import Source
from .streams import Stream
from .writer import LineWriter

SETTLE_TIMEOUT = 5.0
"""Seconds that the end of a run waits for what was printed to reach a terminal that takes nothing."""


class Console(Watch):
    """Records what is printed while a run goes on; of several runs that do, each gets all of it."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._label = _label_of(recorder)
        self._writer = LineWriter(recorder, self._label)
        self._lines: dict[Stream, Lines] = {"stdout": Lines(), "stderr": Lines()}
        self._lock = threading.RLock()
        self._source: Source | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: there is nothing to listen to.
        """
        if self.recorder.joined:
            from .tap import is_tapped_for

            if is_tapped_for(self.recorder.folder.id):  # by the process that has started this one: it has these lines already
                return
        self._source = self._listen()

    def _listen(self) -> Source:
        from .hook import Hook

        if self.recorder.console != "python":
            from .tap import Tap, is_possible

            if is_possible():
                with contextlib.suppress(OSError):  # no pseudo-terminal, no process: Python's own output is better than none
                    return Tap.listen(self)
        return Hook.listen(self)

    def stop(self, timeout: float) -> None:
        """Write what is left."""
        if self._source is not None:
            self._source.leave(self, min(timeout, SETTLE_TIMEOUT))
        with self._lock:
            for stream, lines in self._lines.items():
                self._writer.add(stream, lines.close(now()))
            self._writer.close(now())

    # -- what the source tells

    def take(self, stream: Stream, time: int, text: str) -> None:
        """Something was printed."""
        with self._lock:
            self._writer.add(stream, self._lines[stream].feed(text, time))

    def drop(self, stream: Stream, time: int, size: int) -> None:
        """Something was printed that could not be kept."""
        from .pump import unkept

        self.take(stream, time, unkept(size))

    def flush(self) -> None:
        """Write down the lines that are finished."""
        with self._lock:
            for stream, lines in self._lines.items():
                self._writer.add(stream, lines.tick(now()))
            self._writer.flush()

    def in_child(self) -> None:
        """Write each line when it ends."""
        self._lock = threading.RLock()
        self._writer = LineWriter(self.recorder, self._label)
        self._lines = {"stdout": Lines(rows=0), "stderr": Lines(rows=0)}

    def state(self) -> dict[str, Any]:
        """Return what another process needs to write down what this one has not."""
        with self._lock:
            pending = {stream: lines.pending() for stream, lines in self._lines.items()}
        return {
            "folder": str(self.recorder.folder.path.absolute()),
            "label": self._label,
            "patterns": list(self.recorder.mask.patterns),
            "pending": pending,
            "time": now() if any(pending.values()) else 0,
        }


def _label_of(recorder: Recorder) -> str | None:
    """Return how this process's lines are told from those of others in the same run."""
    if not recorder.joined:
        return None
    return f"process {os.getpid()}" if recorder.rank is None else f"rank {recorder.rank}"

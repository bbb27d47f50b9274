"""Where printed text comes from: what the two ways of getting at it have in common."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol, Self

from .streams import Stream

FLUSH_INTERVAL = 1.0
"""Seconds between two times that lines are written to the journal."""

_SETTLE_TIMEOUT = 1.0
"""Seconds."""


class Listener(Protocol):
    """Takes what is printed while it listens. Called by one thread at a time; must not raise."""

    def take(self, stream: Stream, time: int, text: str) -> None:
        """`time` is in microseconds since 1970."""

    def drop(self, stream: Stream, time: int, size: int) -> None:
        """So many bytes were printed, and could not be kept."""

    def flush(self) -> None:
        """Write down the lines that are finished."""

    def in_child(self) -> None:
        """This process was forked just now: what comes is its own, and each line is written when it ends."""

    def state(self) -> dict[str, Any]:
        """Return what writes down, in another process, what this one has not written yet: see `last_words`."""


class Source(ABC):
    """One of a process; it is made for the first run that listens, and undone after the last."""

    _open: ClassVar[dict[type[Source], Source]] = {}
    _opening: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._turn = threading.RLock()

    @classmethod
    def listen(cls, listener: Listener) -> Self:
        """Have `listener` told of all that is printed from now on.

        Raises:
            OSError: there is no such way here.
        """
        with cls._opening:
            source = cls._open.get(cls)
            if source is None:
                source = cls()
                source.begin()
                cls._open[cls] = source
            else:
                source.settle(_SETTLE_TIMEOUT)  # what was printed before is not the new one's
            assert isinstance(source, cls)  # noqa: S101 - for the type checker
            source._listeners = (*source._listeners, listener)
            source.greet()
            return source

    def leave(self, listener: Listener, timeout: float) -> None:
        """Tell `listener` what was printed up to now, and nothing from then on. Takes about `timeout` seconds at most."""
        with self._opening:
            self.settle(timeout)
            last = self._listeners == (listener,)
            if last:
                self._open.pop(type(self), None)
                self.end(timeout)
            with self._turn:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

    @classmethod
    def forget_all(cls) -> None:
        """In a forked child: the parent's sources are none of its business."""
        Source._opening = threading.RLock()
        for source in Source._open.values():
            source.abandon()
        Source._open.clear()

    def _tell(self, stream: Stream, time: int, text: str) -> None:
        with self._turn:
            for listener in self._listeners:
                listener.take(stream, time, text)

    def _tell_dropped(self, stream: Stream, time: int, size: int) -> None:
        with self._turn:
            for listener in self._listeners:
                listener.drop(stream, time, size)

    def _flush(self) -> None:
        with self._turn:
            for listener in self._listeners:
                listener.flush()

    @abstractmethod
    def begin(self) -> None:
        """Begin.

        Raises:
            OSError: there is no such way here; nothing was changed.
        """

    @abstractmethod
    def greet(self) -> None:
        """Somebody listens who did not before."""

    @abstractmethod
    def settle(self, timeout: float) -> None:
        """Tell the listeners what was printed up to now."""

    @abstractmethod
    def end(self, timeout: float) -> None:
        """Leave everything as it was."""

    @abstractmethod
    def abandon(self) -> None:
        """In a forked child: touch nothing that the parent still uses."""


os.register_at_fork(after_in_child=Source.forget_all)

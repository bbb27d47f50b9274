"""What stands in for a `JournalWriter` where there is none: in a run that records nothing, and in a forked child."""

from __future__ import annotations

import os
import threading
from typing import Any, Protocol

from ..messages import say
from ..records import Record
from .layout import RunFolder
from .write import JournalWriter


class Writer(Protocol):
    """What a run writes to."""

    @property
    def refused(self) -> int:
        """How many records the disk did not take."""
        ...

    def append(self, record: Record, /) -> None: ...
    def append_line(self, head: bytes, tail: bytes, /) -> None: ...
    def append_fields(self, fields: dict[str, Any], /) -> bool: ...
    def refuse(self, error: OSError, /) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


class NoWriter:
    """For a run that records nothing; it ends like any other."""

    refused = 0

    def __init__(self) -> None:
        self._closed = False

    def append(self, _record: Record) -> None:
        """As `append_line`."""
        self.append_line(b"", b"")

    def append_line(self, _head: bytes, _tail: bytes) -> None:
        """Record nothing.

        Raises:
            ValueError: the run has ended.
        """
        if self._closed:
            raise ValueError("the run has ended; start another one")

    def append_fields(self, _fields: dict[str, Any]) -> bool:
        """As `append_line`."""
        self.append_line(b"", b"")
        return True

    def refuse(self, _error: OSError) -> None:
        """There is no disk."""

    def close(self) -> None:
        self._closed = True

    def abandon(self) -> None:
        """Nothing is open."""


class ChildWriter:
    """A forked child's writer: its file is made when the child first records something, which most children never do."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._made: JournalWriter | None = None
        self._mutex = threading.RLock()  # reentrant, as a writer's is
        self._missed = 0

    @property
    def refused(self) -> int:
        return self._missed + (self._made.refused if self._made else 0)

    def append(self, record: Record) -> None:
        """As `JournalWriter.append`."""
        if writer := self._writer():
            writer.append(record)

    def append_line(self, head: bytes, tail: bytes) -> None:
        """As `JournalWriter.append_line`."""
        if writer := self._made or self._writer():
            writer.append_line(head, tail)

    def append_fields(self, fields: dict[str, Any]) -> bool:
        """As `JournalWriter.append_fields`."""
        writer = self._made or self._writer()
        return writer is None or writer.append_fields(fields)  # where there is none, the record was counted as refused

    def _writer(self) -> JournalWriter | None:
        with self._mutex:
            if self._made is None:
                try:
                    self._made = JournalWriter(self._run)
                except OSError as error:
                    self.refuse(error)
            return self._made

    def refuse(self, error: OSError) -> None:
        """As `JournalWriter.refuse`."""
        if self._missed == 0:
            say(f"{self._run.records}: {error.strerror or error}; what process {os.getpid()} records is lost until the disk takes it")
        self._missed += 1

    def close(self) -> None:
        if self._made:
            self._made.close()

    def abandon(self) -> None:
        if self._made:
            self._made.abandon()

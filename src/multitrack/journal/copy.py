"""A writer's file, written a second time somewhere else: under the writer's own id, with the same sequence numbers."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import orjson

from ..backend import Entry
from ..records import FORMAT_VERSION, encode, now
from .layout import RunFolder
from .locks import FileLock
from .read import WriterFile


class WriterCopy:
    """One writer's file, copied entry by entry, each once. Its lock shows readers that the run goes on as long as it is held."""

    def __init__(self, run: RunFolder, writer: str) -> None:
        self._run = run
        self._writer = writer
        self._lock = FileLock(run.lock_of(writer))
        self._fd = -1
        self._last = -1

    def begin(self) -> bool:
        """Open the file and find its end; return False if another process writes to it.

        Raises:
            OSError: the disk refuses.
        """
        if not self._lock.acquire():
            return False
        self._fd = os.open(self._run.records_of(self._writer), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        _drop_torn_line(self._fd)
        if os.fstat(self._fd).st_size == 0:
            header = {"kind": "journal", "format": FORMAT_VERSION, "run": self._run.id, "writer": self._writer}
            place = {"host": socket.gethostname(), "pid": os.getpid(), "time": now()}
            self._write(orjson.dumps({**header, **place}, option=orjson.OPT_APPEND_NEWLINE))
        self._last = _last_seq(WriterFile(self._run, self._writer))
        return True

    def append(self, entries: Sequence[Entry]) -> None:
        """Write those that are not there yet; their sequence numbers rise."""
        fresh = [entry for entry in entries if entry.seq > self._last]
        if fresh:
            self._write(b"".join(encode(entry.record, entry.seq) for entry in fresh))
            self._last = fresh[-1].seq

    def sync(self) -> None:
        """Have the disk confirm what was written."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file and give up the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._lock.release()

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]


def _last_seq(file: WriterFile) -> int:
    last = -1
    for entry in file.entries():
        last = entry.seq
    return last


def _drop_torn_line(fd: int) -> None:
    """Cut off a last line without its end, from a process that died while it wrote. The lock is ours: nobody writes now."""
    size = os.fstat(fd).st_size
    window = 1 << 16
    while size and os.pread(fd, 1, size - 1) != b"\n":
        start = max(0, size - window)
        found = os.pread(fd, size - start, start).rfind(b"\n")
        if found >= 0 or start == 0:
            size = start + found + 1
            os.ftruncate(fd, size)
        window *= 4

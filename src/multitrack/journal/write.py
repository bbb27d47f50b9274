"""One writer's file: a line a record, on the disk before `write` returns."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

import orjson

from ..records import FORMAT_VERSION, Record, encode, new_writer_id, now
from .layout import RunFolder
from .locks import FileLock

SYNC_INTERVAL = 5.0
"""Seconds between two fsyncs while there is something new."""
HEARTBEAT = 30.0
"""Seconds between two signs of life for readers on other hosts."""


class JournalWriter:
    """Appends records to a run. One per process; threads share it; after a fork the child makes its own.

    A disk that refuses (full, gone) never raises out of `append`: it is said once, counted, and told by `refused`.
    """

    def __init__(self, run: RunFolder) -> None:
        """Create the file and take the lock that shows that we live.

        Raises:
            OSError: the folder cannot be written to.
        """
        self.run = run
        self.id = new_writer_id()
        self.refused = 0
        """How many records the disk did not take."""
        self._mutex = threading.RLock()  # reentrant: a signal handler may log while its own thread is logging
        self._next = 0
        self._dirty = False
        self._torn = False
        self._size = 0
        self._lock = FileLock(run.lock_of(self.id))
        self._lock.acquire()
        self._fd = os.open(run.records_of(self.id), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._write(orjson.dumps(self._header(), option=orjson.OPT_APPEND_NEWLINE))
        self._stop = threading.Event()
        self._flusher = threading.Thread(target=self._keep_safe, name="multitrack-fsync", daemon=True)
        self._flusher.start()

    def append(self, record: Record) -> None:
        """Write one record."""
        with self._mutex:
            seq = self._next
            self._next = seq + 1
            self._write(encode(record, seq))

    def append_line(self, head: bytes, tail: bytes) -> None:
        """Write a line that the caller has encoded, its sequence number put between the two parts.

        For the hot path: the line must be what `encode` would have made.
        """
        with self._mutex:
            seq = self._next
            self._next = seq + 1
            self._write(b"%b%d%b" % (head, seq, tail))

    def sync(self) -> None:
        """Have the disk confirm what was written."""
        if self._dirty:
            self._dirty = False
            with contextlib.suppress(OSError):
                os.fsync(self._fd)

    def close(self) -> None:
        """Sync, close, and give up the lock: from here on the writer is no longer alive."""
        self._stop.set()
        self.sync()
        with self._mutex:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        self._lock.release()

    def abandon(self) -> None:
        """Close our copies of the descriptors and write nothing: for a forked child, whose parent goes on."""
        self._stop.set()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._lock.release()

    def _header(self) -> dict[str, object]:
        return {
            "kind": "journal",
            "format": FORMAT_VERSION,
            "run": self.run.id,
            "writer": self.id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "time": now(),
        }

    def _write(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                written += os.write(self._fd, line[written:])
            if written < len(line):
                raise OSError("short write")
        except OSError as error:
            self._refuse(error)
        else:
            self._size += written
            self._torn = False
            self._dirty = True

    def _refuse(self, error: OSError) -> None:
        try:  # take back what went out of the line
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._torn = True
        self.refused += 1
        if self.refused == 1:
            # Not a warning: a filter must not hide a loss.
            sys.stderr.write(f"multitrack: {self.run.records}: {error.strerror or error}; records are lost until the disk takes them again\n")

    def _keep_safe(self) -> None:
        since_heartbeat = 0.0
        while not self._stop.wait(SYNC_INTERVAL):
            self.sync()
            since_heartbeat += SYNC_INTERVAL
            if since_heartbeat >= HEARTBEAT:
                since_heartbeat = 0.0
                with contextlib.suppress(OSError):
                    self._lock.touch()

"""One writer's file: a line a record, on the disk before `append` returns."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

import orjson

from ..messages import host_name, say
from ..records import FORMAT_VERSION, Record, encode, new_writer_id, now
from .layout import RunFolder
from .locks import FileLock

SYNC_INTERVAL = 5.0
"""Seconds between two fsyncs while there is something new."""
HEARTBEAT = 30.0
"""Seconds between two signs of life for readers on other hosts."""

_NEWLINE = 10
_LINE_END = orjson.OPT_APPEND_NEWLINE
_dumps = orjson.dumps


class JournalWriter:
    """Appends records to a run. One per process; threads share it; after a fork the child makes its own.

    A disk that refuses (full, gone) never raises out of `append`: it is said once, counted, and told by `refused`. Every line that was
    accepted is whole and on a line of its own, whatever interrupts the writing: a full disk, an exception, a signal handler that
    records something itself.
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
        self._mutex = threading.RLock()  # reentrant: a signal handler may record while its own thread does
        self._busy = False
        self._later: list[tuple[bytes, bytes]] = []
        self._next = 0
        self._dirty = False
        self._torn = False
        self._warned = False
        self._lock = FileLock(run.lock_of(self.id))
        self._fd = -1
        try:
            self._lock.acquire()
            self._fd = self._create()
        except OSError:
            self._lock.release()
            run.lock_of(self.id).unlink(missing_ok=True)
            raise
        self._stop = threading.Event()
        with contextlib.suppress(RuntimeError):  # no thread can be started any more: `close` syncs
            threading.Thread(target=self._keep_safe, name="multitrack-fsync", daemon=True).start()

    def _create(self) -> int:
        path = self.run.records_of(self.id)
        header = orjson.dumps(self._header(), option=orjson.OPT_APPEND_NEWLINE)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            _write_whole(fd, header)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return fd

    def _header(self) -> dict[str, object]:
        return {
            "kind": "journal",
            "format": FORMAT_VERSION,
            "run": self.run.id,
            "writer": self.id,
            "host": host_name(),
            "pid": os.getpid(),
            "time": now(),
        }

    # -- writing

    def append(self, record: Record) -> None:
        """Write one record.

        Raises:
            RecordError: it holds something that cannot be written.
            ValueError: the writer was closed: the run has ended.
        """
        head, _, tail = encode(record, 0).partition(b'"seq":0')
        self.append_line(head + b'"seq":', tail)

    def append_line(self, head: bytes, tail: bytes) -> None:
        """Write a line that the caller has encoded, its sequence number put between the two parts.

        Raises:
            ValueError: the writer was closed: the run has ended.
        """
        with self._mutex:
            if self._busy:  # a signal handler has interrupted this very thread: its turn comes when the line before is whole
                self._later.append((head, tail))
                return
            self._busy = True
            try:
                self._write(b"%b%d%b" % (head, self._next, tail))
                if self._later:
                    self._write_later()
            finally:
                self._busy = False

    def append_fields(self, fields: dict[str, Any]) -> bool:
        """Write a line of these fields, the sequence number filled in as `seq`, which must be among them.

        For the hot path: the line must be what `encode` would have made. Returns False, and has written nothing, where that takes the
        codec [orjson: ints beyond 64 bits, lone surrogates].

        Raises:
            ValueError: the writer was closed: the run has ended.
        """
        with self._mutex:
            busy = self._busy
            self._busy = True
            try:
                fields["seq"] = self._next
                try:
                    line = _dumps(fields, None, _LINE_END)
                except TypeError:
                    return False
                if busy:  # as in `append_line`
                    head, _, tail = line.partition(b'"seq":%d' % self._next)
                    self._later.append((head + b'"seq":', tail))
                    return True
                self._write(line)
                if self._later:
                    self._write_later()
                return True
            finally:
                self._busy = busy

    def _write_later(self) -> None:
        while self._later:
            head, tail = self._later.pop(0)
            self._write(b"%b%d%b" % (head, self._next, tail))

    def _write(self, line: bytes) -> None:
        if self._fd < 0:
            raise ValueError(
                f"run {self.run.id} has ended, so this was not recorded; go on with it by multitrack.init(id=..., resume='allow'), "
                "or start another run"
            )
        self._next += 1
        if self._torn:
            line = b"\n" + line
        self._torn = True  # until it is whole: what interrupts us must begin on a line of its own
        written = 0
        try:
            written = os.write(self._fd, line)
            while written < len(line):  # a disk that fills up takes a part, and says why with the next one
                written += os.write(self._fd, line[written:])
        except OSError as error:
            self._take_back(line, written)
            self.refuse(error)
        else:
            self._torn = False
            self._dirty = True

    def _take_back(self, line: bytes, written: int) -> None:
        """Cut off what went out of a line that did not become whole."""
        with contextlib.suppress(OSError):
            if written:
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
            self._torn = line[0] == _NEWLINE

    def refuse(self, error: OSError) -> None:
        """Count a record that the disk did not take, and say so the first time."""
        self.refused += 1
        self._warn(error, "records are lost until the disk takes them again")

    def _warn(self, error: OSError, consequence: str) -> None:
        if not self._warned:
            self._warned = True
            say(f"{self.run.records}: {error.strerror or error}; {consequence}")

    # -- safety

    def sync(self) -> None:
        """Have the disk confirm what was written."""
        if self._dirty:
            self._dirty = False
            try:
                os.fsync(self._fd)
            except OSError as error:
                if self._fd >= 0:
                    self._warn(error, "the disk does not confirm what was written; it may be lost when the machine goes down")

    def _keep_safe(self) -> None:
        since_heartbeat = 0.0
        while not self._stop.wait(SYNC_INTERVAL):
            self.sync()
            since_heartbeat += SYNC_INTERVAL
            if since_heartbeat >= HEARTBEAT:
                since_heartbeat = 0.0
                with contextlib.suppress(OSError):
                    self._lock.touch()

    # -- the end

    def close(self) -> None:
        """Sync, close, and give up the lock: from here on the writer is no longer alive."""
        self._stop.set()
        with self._mutex:
            if self._fd >= 0:
                self._write_later()
                self.sync()
                os.close(self._fd)
                self._fd = -1
        self._lock.release()

    def abandon(self) -> None:
        """Close our copies of the descriptors and write nothing: for a forked child, whose parent goes on."""
        # No lock and no event is touched: another thread of the parent may have held them when it forked.
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._lock.release()


def _write_whole(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]

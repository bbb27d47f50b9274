"""Into another store: every record under the (writer, seq) that it has, once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from multitrack.backend import RESERVED_TAGS, TAG_COMPLETE, Batch, Conclusion, Entry, Position, Rejection, Sink
from multitrack.errors import ConfigError, PermanentError, RecordError, TransientError
from multitrack.journal import FileLock, RunFolder, Store, WriterFile, store_file, write_atomically
from multitrack.records import FORMAT_VERSION, Artifact, Record, RunStarted, encode, now

MARKER_FILE = "complete.json"
"""The completion marker, beside `run.json`."""


class LocalSink(Sink):
    """One run in a store."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root)
        self._folder: RunFolder | None = None
        self._writers: dict[str, _Copy] = {}

    @property
    def _run(self) -> RunFolder:
        if self._folder is None:
            raise RuntimeError("open comes first")
        return self._folder

    def open(self, run: RunStarted) -> Position:
        """Find or make the run's folder."""
        with _translated():
            self._store.create()
            found = self._store.find(run.id)
            self._folder = found or self._store.folder(run.project, run.id)
            self._folder.create()
            if found is None:
                return Position(batches=0)
            return Position(batches=None, marker=read_marker(found).get(TAG_COMPLETE))

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Append what is not there yet, contents before the records that name them."""
        with _translated():
            for entry in batch.entries:
                if isinstance(entry.record, Artifact) and entry.record.sha256 and not self._run.content(entry.record.sha256).exists():
                    store_file(batch.files(entry.record), self._run.artifacts)
            for writer, entries in _by_writer(batch.entries).items():
                self._copy(writer).append(entries)
        return ()

    def flush(self) -> Position:
        """Have the disk confirm."""
        with _translated():
            for copy in self._writers.values():
                copy.sync()
        return Position(batches=None)

    def finish(self, conclusion: Conclusion) -> None:
        """Note the marker; a status that the records do not tell is derived by whoever reads them, as everywhere."""
        with _translated():
            if conclusion.tags:
                write_atomically(self._run.path / MARKER_FILE, orjson.dumps(dict(conclusion.tags), option=orjson.OPT_INDENT_2))

    def close(self) -> None:
        """Give up the writers' locks: from here on the run is not alive in this store."""
        for copy in self._writers.values():
            copy.close()
        self._writers.clear()

    def _copy(self, writer: str) -> _Copy:
        if writer not in self._writers:
            self._writers[writer] = _Copy(self._run, writer)
        return self._writers[writer]


class _Copy:
    """One writer's file, copied line by line. Its lock shows readers that the run goes on as long as we deliver it."""

    def __init__(self, run: RunFolder, writer: str) -> None:
        self._lock = FileLock(run.lock_of(writer))
        if not self._lock.acquire():
            raise TransientError(f"{run.path}: another process writes to this run")
        path = run.records_of(writer)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        _drop_torn_line(self._fd)
        if os.fstat(self._fd).st_size == 0:
            self._write(orjson.dumps(_header(run, writer), option=orjson.OPT_APPEND_NEWLINE))
        self._last = _last_seq(WriterFile(run, writer))

    def append(self, entries: Sequence[Entry]) -> None:
        fresh = [entry for entry in entries if entry.seq > self._last]
        if fresh:
            self._write(b"".join(encode(_neutral(entry.record), entry.seq) for entry in fresh))
            self._last = fresh[-1].seq

    def sync(self) -> None:
        os.fsync(self._fd)

    def close(self) -> None:
        os.close(self._fd)
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


def _header(run: RunFolder, writer: str) -> Mapping[str, object]:
    return {
        "kind": "journal",
        "format": FORMAT_VERSION,
        "run": run.id,
        "writer": writer,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "time": now(),
    }


def _neutral(record: Record) -> Record:
    """Return the record without the tags that delivery put on it: here, it says the same in its own fields."""
    if isinstance(record, RunStarted):
        tags = {name: value for name, value in record.tags.items() if not name.startswith(RESERVED_TAGS)}
        return record.model_copy(update={"tags": tags}) if len(tags) < len(record.tags) else record
    return record


def _by_writer(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.writer, []).append(entry)
    return found


def read_marker(run: RunFolder) -> dict[str, str]:
    """Return the tags that a delivery left when it had concluded the run; none if it has not."""
    try:
        return dict(orjson.loads((run.path / MARKER_FILE).read_bytes()))
    except FileNotFoundError:
        return {}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ConfigError, RecordError) as error:
        raise PermanentError(str(error)) from None
    except OSError as error:
        # A full disk, a mount that is gone: it may come back.
        raise TransientError(f"{error.filename or 'the store'}: {error.strerror or error}") from error


__all__ = ["LocalSink", "read_marker"]

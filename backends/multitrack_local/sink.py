"""Into another store: every record under the (writer, seq) that it has, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from multitrack.backend import RESERVED_TAGS, TAG_COMPLETE, Batch, Conclusion, Entry, Position, Rejection, Sink
from multitrack.errors import ConfigError, PermanentError, RecordError, TransientError
from multitrack.journal import RunFolder, Store, WriterCopy, store_file, write_atomically
from multitrack.records import Artifact, Record, RunStarted, is_derived, replaces

MARKER_FILE = "complete.json"
"""The completion marker, beside `run.json`."""


class LocalSink(Sink):
    """One run in a store."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root)
        self._folder: RunFolder | None = None
        self._writers: dict[str, WriterCopy] = {}

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
        self._refuse_second_telling(batch)
        with _translated():
            (self._run.path / MARKER_FILE).unlink(missing_ok=True)  # what was concluded goes on
            for entry in batch.entries:
                if isinstance(entry.record, Artifact) and entry.record.sha256 and not self._run.content(entry.record.sha256).exists():
                    store_file(batch.files(entry.record), self._run.artifacts)
            for writer, entries in _by_writer(batch.entries).items():
                self._copy(writer).append([Entry(e.writer, e.seq, _neutral(e.record)) for e in entries])
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
            self._drop_former_versions()
            if conclusion.tags:
                write_atomically(self._run.path / MARKER_FILE, orjson.dumps(dict(conclusion.tags), option=orjson.OPT_INDENT_2))

    def close(self) -> None:
        """Give up the writers' locks: from here on the run is not alive in this store."""
        for copy in self._writers.values():
            copy.close()
        self._writers.clear()

    def _refuse_second_telling(self, batch: Batch) -> None:
        """A version that tells the whole run anew must not stand beside what was recorded: every point would be there twice."""
        run = self._run.id
        tells = any(is_derived(entry.writer, run) for entry in batch.entries)
        if tells and any(not is_derived(path.stem, run) for path in self._run.records.glob("*.jsonl")):
            raise PermanentError(f"run {run} is in {self._store.root} as it was recorded, and cannot be told anew there")

    def _drop_former_versions(self) -> None:
        """Remove what an earlier migration brought of the run, now that a later version of it is here whole."""
        delivered = set(self._writers)
        for path in self._run.records.glob("*.jsonl"):
            if any(replaces(writer, path.stem) for writer in delivered) and path.stem not in delivered:
                path.unlink()
                self._run.lock_of(path.stem).unlink(missing_ok=True)

    def _copy(self, writer: str) -> WriterCopy:
        if writer not in self._writers:
            copy = WriterCopy(self._run, writer)
            if not copy.begin():
                raise TransientError(f"{self._run.path}: another process writes to this run")
            self._writers[writer] = copy
        return self._writers[writer]


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

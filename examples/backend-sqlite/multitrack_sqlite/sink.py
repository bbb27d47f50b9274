"""The sink: one run into the file.

Everything since the last `flush` is one transaction, so what `flush` has committed is what the file has acknowledged. Writing twice
counts once by the tables' keys.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from multitrack.backend import TAG_COMPLETE, Batch, Conclusion, Entry, Position, Rejection, Sink, entry_points
from multitrack.records import Artifact, Hyperparameters, Metrics, Points, RunFinished, RunStarted, RunUpdated, Summary

from .database import connect, files_folder, to_text, translated


class SQLiteSink(Sink):
    """One run."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._run = ""
        self._database: sqlite3.Connection | None = None
        self._take: dict[type, Callable[[Any], None]] = {
            RunStarted: self._take_start,
            RunUpdated: self._take_update,
            RunFinished: lambda record: self._set(status=record.status, ended=record.time, error=record.error),
            Hyperparameters: lambda record: self._put("params", record.values),
            Summary: lambda record: self._put("summary", record.values),
        }

    @property
    def _db(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = connect(self._file)
        return self._database

    def open(self, run: RunStarted) -> Position:
        """Find the run or insert it. Its own id is its key, so there is nothing to search for."""
        self._run = run.id
        with translated(self._file), self._db:
            known = self._db.execute("select 1 from runs where id = ?", (run.id,)).fetchone()
            if known is None:
                self._insert(run)
            marker = self._db.execute("select value from tags where run = ? and name = ?", (run.id, TAG_COMPLETE)).fetchone()
        return Position(batches=0 if known is None else None, marker=marker and marker[0])

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Add a batch to the transaction."""
        with translated(self._file):
            self._untag([TAG_COMPLETE])  # a run that goes on is not whole any more
            for entry in batch.entries:
                if isinstance(entry.record, Artifact):
                    self._take_artifact(entry.record, batch)
                elif isinstance(entry.record, Metrics | Points):
                    self._take_points(entry)
                else:
                    self._take[type(entry.record)](entry.record)
        return ()

    def flush(self) -> Position:
        """Commit."""
        with translated(self._file):
            self._db.commit()
        return Position(batches=None)

    def finish(self, conclusion: Conclusion) -> None:
        """Conclude the run: files, then status and time, then tags; one transaction, as `flush` follows."""
        with translated(self._file):
            for name, path in conclusion.files.items():
                sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
                self._keep(Artifact(time=conclusion.time or 0, name=name, sha256=sha256, size=path.stat().st_size), path)
            self._set(status=conclusion.status, ended=conclusion.time, error=conclusion.error, deleted=conclusion.deleted)
            self._tag(dict(conclusion.tags))

    def close(self) -> None:
        """Let go; what was not committed is undone, and will be delivered again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    # -- records into rows

    def _insert(self, run: RunStarted) -> None:
        self._db.execute("insert into runs (id, project, status, started) values (?, ?, 'running', ?)", (run.id, run.project, run.time))
        self._set(name=run.name, job_group=run.group, job_type=run.job_type, parent=run.parent, reproduces=run.reproduces)
        self._set(notes=run.notes, user=run.user, host=run.host)
        self._tag(run.tags)

    def _take_start(self, record: RunStarted) -> None:
        """`open` has inserted the run; of several writers the earliest says when it started."""
        self._db.execute("update runs set started = min(started, ?) where id = ?", (record.time, self._run))

    def _set(self, **values: Any) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(f"update runs set {columns} where id = ?", (*values.values(), self._run))

    def _put(self, table: str, values: dict[str, Any]) -> None:
        rows = [(self._run, name, to_text(value)) for name, value in values.items()]
        self._db.executemany(f"insert or replace into {table} values (?, ?, ?)", rows)

    def _tag(self, tags: dict[str, str | None]) -> None:
        self._db.executemany("insert or replace into tags values (?, ?, ?)", [(self._run, *tag) for tag in tags.items()])

    def _untag(self, names: Sequence[str]) -> None:
        self._db.executemany("delete from tags where run = ? and name = ?", [(self._run, name) for name in names])

    def _take_update(self, record: RunUpdated) -> None:
        fields = {"name": record.name, "job_group": record.group, "job_type": record.job_type, "notes": record.notes}
        for name, value in {**fields, "deleted": record.deleted}.items():
            if value is not None:
                self._set(**{name: value})
        if record.status is not None:
            self._set(status=record.status, ended=None, error=None)
        self._untag(record.removed_tags)
        self._tag(record.tags)

    def _take_points(self, entry: Entry) -> None:
        rows = [(self._run, name, source, step, time, value) for name, step, time, value, source in entry_points([entry])]
        self._db.executemany("insert or ignore into points values (?, ?, ?, ?, ?, ?)", rows)

    def _take_artifact(self, record: Artifact, batch: Batch) -> None:
        self._keep(record, batch.files(record) if record.sha256 is not None else None)

    def _keep(self, record: Artifact, content: Path | None) -> None:
        if content is not None:
            kept = files_folder(self._file) / str(record.sha256)
            kept.parent.mkdir(exist_ok=True)
            if not kept.exists():
                shutil.copyfile(content, part := kept.with_suffix(".part"))
                part.replace(kept)
        row = (self._run, record.name, record.sha256, record.size, record.uri, record.time)
        self._db.execute("insert or replace into files values (?, ?, ?, ?, ?, ?)", row)

"""The source: every run of the file as records."""

from __future__ import annotations

import hashlib
import math
import shutil
import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import PermanentError
from multitrack.records import Artifact, Hyperparameters, Points, Record, RunFinished, RunStarted, RunUpdated, Summary

from .database import files_folder, from_text, opened, translated

CHUNK = 10_000
"""Points in a record, at most."""


class SQLiteSource(Source):
    """All runs. Each call opens a connection of its own, so several threads may read at a time."""

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise PermanentError(f"there is no file {file}")
        self._file = file

    def projects(self) -> Iterator[str]:
        """Yield the projects' names."""
        yield from dict.fromkeys(row["project"] for row in self._rows("select project from runs where not deleted order by project"))

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match."""
        for row in self._rows("select * from runs order by project, started, id"):
            ref = self._refer(row)
            if wanted.matches(ref):
                yield ref

    def _refer(self, row: sqlite3.Row) -> RunRef:
        return RunRef(
            id=row["id"],
            native_id=row["id"],
            project=row["project"],
            name=row["name"],
            status=row["status"],
            started=row["started"],
            ended=row["ended"],
            parent=row["parent"],
            tags=self._pairs("tags", row["id"]),
            deleted=bool(row["deleted"]),
            version=self._fingerprint(row),
        )

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield everything that the file holds of the run."""
        row = next(iter(self._rows("select * from runs where id = ?", run.id)), None)
        if row is None:
            raise PermanentError(f"run {run.id} is no longer in {self._file}")
        start = row["started"]
        yield RunStarted(
            time=start,
            id=run.id,
            project=row["project"],
            name=row["name"],
            group=row["job_group"],
            job_type=row["job_type"],
            parent=row["parent"],
            tags=self._pairs("tags", run.id),
            notes=row["notes"],
            user=row["user"],
            host=row["host"],
            reproduces=row["reproduces"],
        )
        if params := self._pairs("params", run.id):
            yield Hyperparameters(time=start, values={name: from_text(value) for name, value in params.items()})
        yield from self._points(run.id)
        if summary := self._pairs("summary", run.id):
            yield Summary(time=start, values={name: from_text(value) for name, value in summary.items()})
        for file in self._rows("select * from files where run = ? order by name", run.id):
            yield Artifact(**{name: file[name] for name in ("time", "name", "sha256", "size", "uri")})
        if row["deleted"]:
            yield RunUpdated(time=start, deleted=True)
        if row["status"] not in ("scheduled", "running"):
            yield RunFinished(time=start if row["ended"] is None else row["ended"], status=row["status"], error=row["error"])

    def _points(self, run_id: str) -> Iterator[Record]:
        """Yield each series in the order in which its points arrived, in chunks."""
        for series in self._rows("select distinct metric, source from points where run = ? order by metric, source", run_id):
            arrived = self._rows(
                "select step, time, value from points where run = ? and metric = ? and source = ? order by rowid", run_id, *series
            )
            while chunk := list(islice(arrived, CHUNK)):
                steps, times, values = zip(*chunk, strict=True)
                numbers = [math.nan if value is None else value for value in values]
                yield Points(
                    time=times[0], name=series["metric"], source=series["source"], steps=list(steps), times=list(times), values=numbers
                )

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:  # noqa: ARG002 - files of all runs are in one folder
        """Copy an artifact's content."""
        if artifact.sha256 is None:
            raise PermanentError(f"artifact {artifact.name!r} is a reference to {artifact.uri}; it has no content here")
        try:
            shutil.copyfile(files_folder(self._file) / artifact.sha256, to)
        except FileNotFoundError:
            raise PermanentError(f"the content of artifact {artifact.name!r} is missing from {files_folder(self._file)}") from None

    def _pairs(self, table: str, run_id: str) -> dict[str, Any]:
        return {row["name"]: row["value"] for row in self._rows(f"select name, value from {table} where run = ? order by name", run_id)}

    def _fingerprint(self, run: sqlite3.Row) -> str:
        """Return a text that changes when the run does, whoever changed it."""
        sums = "select count(*), total(step), total(time), total(value) from points where run = ?"
        parts = [run, *self._rows(sums, run["id"])]
        for table in ("tags", "params", "summary", "files"):
            parts += self._rows(f"select * from {table} where run = ? order by name", run["id"])
        return hashlib.sha256(repr([tuple(part) for part in parts]).encode()).hexdigest()

    def _rows(self, query: str, *values: str) -> Iterator[sqlite3.Row]:
        with translated(self._file), opened(self._file) as database:
            yield from database.execute(query, values)

"""From a store: every run, as its journal has it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import PermanentError, RecordError, RunNotFoundError
from multitrack.journal import Journal, RunFolder, Store
from multitrack.records import Artifact, Record, RunStarted, RunUpdated, from_wire

from .sink import read_marker


class LocalSource(Source):
    """All runs of a store. Several threads may read at a time."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root)
        if not root.is_dir():
            raise PermanentError(f"there is no store {root}; runs are recorded there by multitrack.init(dir=...)")

    def projects(self) -> Iterator[str]:
        """Yield the projects' names, sorted."""
        yield from sorted({run.project for run in self.runs(RunFilter(deleted=True))})

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match. One whose journal cannot be read is listed without a status; `read` says why."""
        if wanted.ids is not None:
            folders = [found for run_id in wanted.ids if (found := self._store.find(run_id)) is not None]
        else:
            folders = list(self._store.runs())
        refs = [ref for folder in folders if wanted.matches(ref := _refer(folder))]
        yield from sorted(refs, key=lambda ref: (ref.project, ref.started or 0, ref.id))

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield the run's records."""
        try:
            yield from Journal(self._folder(run)).records()
        except (RecordError, RunNotFoundError) as error:
            raise PermanentError(str(error)) from None

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Copy an artifact's content."""
        if artifact.sha256 is None:
            raise PermanentError(f"artifact {artifact.name!r} is a reference to {artifact.uri}; it has no content here")
        try:
            shutil.copyfile(self._folder(run).content(artifact.sha256), to)
        except FileNotFoundError:
            raise PermanentError(f"the content of artifact {artifact.name!r} is missing from {self._folder(run).artifacts}") from None

    def journal(self, run: RunRef) -> Path:
        """Return the run's folder."""
        return self._folder(run).path

    def _folder(self, run: RunRef) -> RunFolder:
        return self._store.get(run.native_id)


def _refer(folder: RunFolder) -> RunRef:
    journal = Journal(folder)
    try:
        life = _from_summary(folder, dict(journal.sizes())) or _from_records(journal)
    except (RecordError, OSError):
        life = None
    if life is None:
        return RunRef(id=folder.id, native_id=folder.id, project=folder.path.parent.name, params={}, metrics={})
    return RunRef(
        id=folder.id,
        native_id=folder.id,
        url=None,
        version=journal.version(),
        **{**life, "tags": {**life["tags"], **read_marker(folder)}},
    )


def _from_summary(folder: RunFolder, sizes: dict[str, int]) -> dict[str, Any] | None:
    """Return what `run.json` says, if it is up to date and the run has ended."""
    try:
        summary = from_wire(orjson.loads(folder.summary.read_bytes()))
    except (OSError, orjson.JSONDecodeError, RecordError):
        return None
    if summary.get("sizes") != sizes or summary.get("status") == "running" or "started_us" not in summary:
        return None
    return {
        "project": summary["project"],
        "name": summary["name"],
        "status": summary["status"],
        "started": summary["started_us"],
        "ended": summary["ended_us"],
        "parent": summary["parent"],
        "tags": summary["tags"],
        "params": summary["params"],
        "metrics": summary["summary"],
        "deleted": summary["deleted"],
    }


def _from_records(journal: Journal) -> dict[str, Any] | None:
    start: RunStarted | None = None
    name: str | None = None
    tags: dict[str, str | None] = {}
    for record in journal.life():
        if isinstance(record, RunStarted):
            start = start or record
            name = name or record.name
            tags.update(record.tags)
        elif isinstance(record, RunUpdated):
            name = record.name or name
            tags.update(record.tags)
            for removed in record.removed_tags:
                tags.pop(removed, None)
    if start is None:
        return None
    verdict = journal.verdict()
    return {
        "project": start.project,
        "name": name,
        "status": verdict.status,
        "started": start.time,
        "ended": verdict.ended,
        "parent": start.parent,
        "tags": tags,
        "deleted": verdict.deleted,
    }


__all__ = ["LocalSource"]

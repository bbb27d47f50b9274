"""The source: every run of `.neptune` folders, of both clients."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import PermanentError, RecordError
from multitrack.records import Artifact, Record

from ..own import OwnRun
from ..settings import NeptuneSettings
from .own import OwnLogRun
from .places import find_containers, find_scale_files, has_offline_folders
from .runs import LogRun, OfflineRun, ScaleRun
from .scale import ScaleFile

_log = logging.getLogger(__name__)
NO_PROJECT = "offline"
"""The project of runs whose folders do not tell theirs; Neptune calls such runs `offline/<id>`."""


class OfflineSource(Source):
    """The runs below a location. A run that cannot be read is named in the log; the others are there.

    Raises:
        PermanentError: there is nothing of a client's.
    """

    def __init__(self, root: Path, settings: NeptuneSettings) -> None:
        if not root.exists():
            raise PermanentError(f"there is no folder {root}")
        if not has_offline_folders(root):
            raise PermanentError(f"{root}: neither a neptune-exporter folder nor a .neptune folder with runs that a client left")
        self._root = root
        self._settings = settings
        self._mutex = threading.Lock()
        self._found: dict[str, OfflineRun | OwnRun] = {}

    def describe(self) -> str:
        """Return a line such as `12 runs of the neptune client and 3 of neptune-scale`."""
        found = self._scan()
        old = sum(isinstance(run, LogRun | OwnRun) for run in found)
        return f"{old:,} runs of the neptune client and {len(found) - old:,} of neptune-scale"

    def projects(self) -> Iterator[str]:
        """Yield the projects' names, sorted."""
        yield from sorted({run.project for run in self._scan()})

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match."""
        refs = [ref for run in self._scan() if wanted.projects is None or run.project in wanted.projects for ref in refer(run)]
        yield from sorted((ref for ref in refs if wanted.matches(ref)), key=lambda ref: (ref.project, ref.started or 0, ref.id))

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield the run's records."""
        return self._get(run).records()

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Write an artifact's content to the file `to`."""
        kept = self._get(run).find(artifact.name)
        if kept is None:
            raise PermanentError(f"there is no artifact {artifact.name!r} in {self._root}")
        kept.copy(to)

    def problems(self, run: RunRef) -> Sequence[str]:
        """Return what never reached the disk, or is not there any more."""
        found = self._get(run)
        return found.problems if isinstance(found, OfflineRun) else ()

    def _get(self, ref: RunRef) -> OfflineRun | OwnRun:
        if ref.native_id not in self._found:
            self._scan()
        try:
            return self._found[ref.native_id]
        except KeyError:
            raise PermanentError(f"run {ref.native_id} is not in {self._root} any more") from None

    def _scan(self) -> list[OfflineRun | OwnRun]:
        runs: list[OfflineRun | OwnRun] = [*self._logs(), *self._databases()]
        with self._mutex:
            self._found = {run.native_id: run for run in runs}
        return runs

    def _logs(self) -> Iterable[LogRun | OwnRun]:
        project = self._settings.project or NO_PROJECT
        for container in find_containers(self._root):
            is_ours = "project" in container.executions[0].metadata
            yield OwnLogRun(container) if is_ours else LogRun(container, project, look=self._settings.local_files)

    def _databases(self) -> Iterable[ScaleRun]:
        files: dict[tuple[str, str], list[ScaleFile]] = {}
        for path in find_scale_files(self._root):
            try:
                file = ScaleFile(path)
            except PermanentError as error:
                _log.warning("neptune: %s", error)
                continue
            files.setdefault((file.project, file.run_id), []).append(file)
        known: dict[tuple[str, str], ScaleRun] = {}
        for key, group in files.items():
            known[key] = ScaleRun(group, known)
        return known.values()


def refer(run: OfflineRun | OwnRun) -> Iterator[RunRef]:
    """Yield the run as a listing shows it; nothing for one that is empty, or cannot be read, which the log tells of."""
    try:
        if isinstance(run, OwnRun):
            own = run.ref()
            yield from [own] if own is not None else []
            return
        attributes = run.attributes
        yield RunRef(
            id=run.id,
            native_id=run.native_id,
            project=run.project,
            name=attributes.name,
            status=run.status,
            started=attributes.started,
            ended=attributes.ended if run.status not in ("running", "scheduled") else None,
            parent=run.parent,
            tags=attributes.tags,
            deleted=attributes.deleted,
            version=run.version(),
        )
    except (PermanentError, RecordError, OSError) as error:
        _log.warning("neptune: run %s cannot be read: %s", run.native_id, error)

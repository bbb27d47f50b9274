"""The source: all runs of a project at a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import PermanentError
from multitrack.records import Artifact, Record

from ..offline.source import refer
from ..settings import NeptuneSettings
from .client import connect, find_project, project_of, translated
from .runs import OwnServerRun, ServerRun, make_run


class ServerSource(Source):
    """The runs of one Neptune project. Those that multitrack wrote belong to the projects that they were recorded in."""

    def __init__(self, location: str | None, settings: NeptuneSettings) -> None:
        self._name = project_of(location)
        self._connection = connect(settings)
        self._project = find_project(self._connection, self._name)

    def describe(self) -> str:
        """Return where this is."""
        return f"{self._name} at {self._connection.get_display_address()}"

    def projects(self) -> Iterator[str]:
        """Yield the projects' names, sorted."""
        yield from sorted({ref.project for run in self._all() for ref in refer(run)})

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match."""
        refs = [ref for run in self._all() for ref in refer(run) if wanted.matches(ref)]
        yield from sorted(refs, key=lambda ref: (ref.project, ref.started or 0, ref.id))

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield the run's records."""
        return make_run(self._connection, run.native_id, self._name).records()

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Write an artifact's content to the file `to`."""
        kept = make_run(self._connection, run.native_id, self._name).find(artifact.name)
        if kept is None:
            raise PermanentError(f"run {run.native_id} has no artifact {artifact.name!r}")
        kept.copy(to)

    def problems(self, run: RunRef) -> Sequence[str]:
        """Return what of a run is not read from a server."""
        found = make_run(self._connection, run.native_id, self._name)
        return found.problems if isinstance(found, ServerRun) else ()

    def _all(self) -> Iterator[OwnServerRun | ServerRun]:
        from neptune.internal.container_type import ContainerType

        with translated(f"listing the runs of {self._name}"):
            entries = list(
                self._connection.search_leaderboard_entries(
                    self._project.id, types=[ContainerType.RUN], columns=["sys/id"], sort_by="sys/id", ascending=True, progress_bar=False
                )
            )
        return (make_run(self._connection, entry.id, self._name) for entry in entries)

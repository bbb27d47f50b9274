"""Exports, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from multitrack.backend import RunFilter, RunRef
from multitrack.records import Record
from multitrack.state import RunState, fold
from multitrack_neptune import NeptuneBackend, NeptuneSettings


class Reading:
    """An export, as its source gives it."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.source = NeptuneBackend(str(root), NeptuneSettings(**settings)).source()

    def refs(self, **wanted: Any) -> dict[str, RunRef]:
        """Return the runs by their own ids."""
        return {ref.native_id: ref for ref in self.source.runs(RunFilter(**wanted))}

    def records(self, run: str) -> list[Record]:
        return list(self.source.read(self.refs(deleted=True)[run]))

    def state(self, run: str) -> RunState:
        return fold(self.records(run))

    def notices(self, run: str) -> list[str]:
        """Return what is said of a run, once it has been read."""
        self.records(run)
        return list(self.source.notices(self.refs(deleted=True)[run]))

    def fetch(self, run: str, name: str, to: Path) -> bytes:
        """Return an artifact's content."""
        ref = self.refs(deleted=True)[run]
        artifact = self.state(run).artifacts[name]
        self.source.fetch(ref, artifact, to)
        return to.read_bytes()

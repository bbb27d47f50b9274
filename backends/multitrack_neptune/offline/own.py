"""A run that multitrack has logged into an offline folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ..own import OwnRun
from .files import Kept
from .log import Log
from .places import Container
from .replay import Block, Survey, blocks, survey


class OwnLogRun(OwnRun):
    """One folder that has `project` in its metadata: multitrack puts it there."""

    def __init__(self, container: Container) -> None:
        self._log = Log(container.executions[0].folder)
        self.native_id = container.id
        self.project = str(container.executions[0].metadata["project"])

    @cached_property
    def _there(self) -> Survey:
        return survey(self._log)

    def fingerprint(self) -> object:
        return [file.stat().st_size for file in self._log.files()]

    def paths(self) -> Iterable[str]:
        return self._there.files

    def file(self, path: str) -> Kept | None:
        upload = self._there.files.get(path)
        if upload is None or not upload.kept_as:
            return None
        place = self._log.folder / "upload_path" / Path(upload.kept_as).name
        return Kept(path, place) if place.is_file() else None

    def blocks(self, types: Sequence[str]) -> Iterator[Block]:
        return blocks(self._log, self._there, types=types)

"""A run that multitrack has logged into an offline folder, read back as it was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from multitrack.backend import RunRef
from multitrack.records import Record, derive_writer_id

from .. import names
from ..decode import Concluded, ending, is_metric, life, own_artifacts, points, read_conclusion, read_documents
from .files import Kept
from .log import Log
from .places import Container
from .replay import Survey, Upload, blocks, survey


class OwnRun:
    """One folder that has `project` in its metadata: multitrack puts it there."""

    def __init__(self, container: Container) -> None:
        self._log = Log(container.executions[0].folder)
        self.native_id = container.id
        self.project = str(container.executions[0].metadata["project"])

    @cached_property
    def _there(self) -> Survey:
        return survey(self._log)

    @property
    def _files(self) -> dict[str, Upload]:
        return self._there.files

    @cached_property
    def _concluded(self) -> Concluded | None:
        return read_conclusion(self._read(names.CONCLUSION))

    def ref(self) -> RunRef | None:
        """Return the run as a listing shows it; None while nothing has been written."""
        found = life([*self._documents(), *ending(self._concluded)])
        if "id" not in found:
            return None
        told = derive_writer_id(self.native_id, repr((names.MAPPING, [file.stat().st_size for file in self._log.files()])))
        return RunRef(native_id=self.native_id, version=told, **found)

    def records(self) -> Iterator[Record]:
        """Yield the run."""
        yield from self._documents()
        yield from self._points()
        yield from own_artifacts(self._files, round((self._there.last or 0) * 1_000_000))
        yield from ending(self._concluded)

    def find(self, name: str) -> Kept | None:
        """Return the file that is the artifact of this name; None if there is none."""
        place = self._place(names.ARTIFACTS + name)
        return None if place is None else Kept(name, place)

    def _documents(self) -> Iterator[Record]:
        paths = sorted(path for path in self._files if path.startswith(names.RECORDS))
        return read_documents(content for path in paths if (content := self._read(path)) is not None)

    def _points(self) -> Iterator[Record]:
        told: dict[str, dict[float, str]] = {}
        for block in blocks(self._log, self._there, types=("string_series",)):
            if block.key.path.startswith(names.STEPS):
                told.setdefault(block.key.path.removeprefix(names.STEPS), {}).update(zip(block.steps, block.values, strict=True))
        for block in blocks(self._log, self._there, types=("float_series",)):
            name = block.key.path
            if is_metric(name):
                steps: list[Any] = list(block.steps)
                yield points(name, steps, block.times, [float(value) for value in block.values], told.get(name, {}))

    def _read(self, path: str) -> bytes | None:
        place = self._place(path)
        return None if place is None else place.read_bytes()

    def _place(self, path: str) -> Path | None:
        upload = self._files.get(path)
        if upload is None or not upload.kept_as:
            return None
        place = self._log.folder / "upload_path" / Path(upload.kept_as).name
        return place if place.is_file() else None

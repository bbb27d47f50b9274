"""A run that multitrack wrote to Neptune, wherever it lies, read back as it was recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from multitrack.backend import RunRef
from multitrack.records import Record, derive_writer_id

from . import names
from .decode import Concluded, ending, is_metric, life, own_artifacts, points, read_conclusion, read_documents
from .offline.files import Kept
from .offline.replay import Block


class OwnRun(ABC):
    """One run."""

    native_id: str
    project: str

    @abstractmethod
    def fingerprint(self) -> object:
        """Return something that changes when the run does."""

    @abstractmethod
    def paths(self) -> Iterable[str]:
        """Return the attributes that are files."""

    @abstractmethod
    def file(self, path: str) -> Kept | None:
        """Return the file at an attribute; None where there is none."""

    @abstractmethod
    def blocks(self, types: Sequence[str]) -> Iterator[Block]:
        """Yield the points of the series of these types that multitrack reads: metrics, and the steps that stand beside them."""

    @property
    def url(self) -> str | None:
        """The run's page."""
        return None

    def ref(self) -> RunRef | None:
        """Return the run as a listing shows it; None while nothing has been written."""
        found = life([*self._documents(), *ending(self._concluded)])
        if "id" not in found:
            return None
        told = derive_writer_id(self.native_id, repr((names.MAPPING, self.fingerprint())))
        return RunRef(native_id=self.native_id, version=told, url=self.url, **found)

    def records(self) -> Iterator[Record]:
        """Yield the run."""
        yield from self._documents()
        yield from self._points()
        yield from own_artifacts(self.paths(), 0)
        yield from ending(self._concluded)

    def find(self, name: str) -> Kept | None:
        """Return the file that is the artifact of this name; None if there is none."""
        return self.file(names.ARTIFACTS + name)

    @cached_property
    def _concluded(self) -> Concluded | None:
        kept = self.file(names.CONCLUSION)
        return None if kept is None else read_conclusion(kept.read())

    def _documents(self) -> Iterator[Record]:
        paths = sorted(path for path in self.paths() if path.startswith(names.RECORDS))
        return read_documents(kept.read() for path in paths if (kept := self.file(path)) is not None)

    def _points(self) -> Iterator[Record]:
        told: dict[str, dict[float, str]] = {}
        for block in self.blocks(("string_series",)):
            if block.key.path.startswith(names.STEPS):
                told.setdefault(block.key.path.removeprefix(names.STEPS), {}).update(zip(block.steps, block.values, strict=True))
        for block in self.blocks(("float_series",)):
            name = block.key.path
            if is_metric(name):
                steps: list[Any] = list(block.steps)
                yield points(name, steps, block.times, [float(value) for value in block.values], told.get(name, {}))

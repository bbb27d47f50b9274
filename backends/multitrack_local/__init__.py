"""Plain JSON on a disk: the journal's own format, in another store than the local one, or read from any."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from multitrack.backend import EVERYTHING, Backend, Capabilities, Sink, Source
from multitrack.errors import ConfigError, PermanentError


class LocalBackend(Backend):
    """A store of journals. Its location is a folder."""

    name: ClassVar[str] = "local"
    label: ClassVar[str] = "local JSON"
    capabilities: ClassVar[Capabilities] = EVERYTHING

    @classmethod
    def resolve(cls, location: str | None, base: Path) -> str:
        """Return the folder's absolute path. None means `.multitrack` in `base`.

        Raises:
            ConfigError: it is a URL.
        """
        if location is not None and "://" in location:
            raise ConfigError(f"local:{location} is no folder; a local store lies on this machine's disks: local:./path")
        return os.path.normpath(base / Path(location or ".multitrack").expanduser())

    @property
    def root(self) -> Path:
        """The store's folder."""
        return Path(self.location or ".multitrack")

    def check(self) -> str:
        """Return what is there. Makes nothing: a mistyped folder must not come to be by being asked for.

        Raises:
            PermanentError: the folder cannot be written to, or made.
        """
        from multitrack.journal import Store

        there = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise PermanentError(f"the store {self.root} cannot be written to: see the permissions of {there}")
        if not self.root.exists():
            return f"no store at {self.root} yet; the first run makes it"
        return f"{sum(1 for _ in Store(self.root).runs()):,} runs in {self.root}"

    def sink(self) -> Sink:
        """Return a sink for one run."""
        from .sink import LocalSink

        return LocalSink(self.root)

    def source(self) -> Source:
        """Return a source of all runs."""
        from .source import LocalSource

        return LocalSource(self.root)


__all__ = ["LocalBackend"]

"""Runs in one SQLite file, their files in a folder beside it: `sqlite:./runs.db` and `./runs.db.files/`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from multitrack.backend import Backend, Capabilities, NameRule, Sink, Source
from multitrack.errors import ConfigError

__all__ = ["SQLiteBackend"]

_TEXT = NameRule(allowed=r"^\x00\ud800-\udfff")
"""SQLite stores text as UTF-8, which has no lone surrogates, and its own functions stop at a NUL."""


class SQLiteBackend(Backend):
    """A SQLite file."""

    name = "sqlite"
    label = "SQLite"
    parallel = 1  # a SQLite file has one writer at a time
    capabilities: ClassVar[Capabilities] = Capabilities(
        # Code, data sets, environment, models, console and metric definitions have no table; they travel in the attached records.
        kinds=frozenset({"run_started", "run_updated", "run_finished", "hyperparameters", "metrics", "points", "summary", "artifact"}),
        metric_names=_TEXT,
        param_names=_TEXT,
        tag_names=_TEXT,
        artifact_names=_TEXT,
        point_types=frozenset({"float"}),  # the column `value` is REAL
        equal_points="merged",  # that is how writing twice counts once
        steps="int",
        step_range=(-(2**63), 2**63 - 1),
        nested_params=False,  # one row each, under a dotted name
        param_sources=False,
        artifact_details=False,
    )

    @classmethod
    def resolve(cls, location: str | None, base: Path) -> str:
        """Return the file's absolute path.

        Raises:
            ConfigError: there is no location, or it is a URL.
        """
        if location is None or "://" in location:
            raise ConfigError("sqlite: name a file, for example sqlite:./runs.db")
        return str((base / Path(location).expanduser()).absolute())

    @property
    def _file(self) -> Path:
        return Path(self.location or "")

    def check(self) -> str:
        """Return what is there.

        Raises:
            TransientError, PermanentError: the file cannot be used.
        """
        from .database import opened, translated

        with translated(self._file), opened(self._file) as database:
            return f"{database.execute('select count(*) from runs').fetchone()[0]:,} runs in {self._file}"

    def sink(self) -> Sink:
        """Return a sink for one run."""
        from .sink import SQLiteSink

        return SQLiteSink(self._file)

    def source(self) -> Source:
        """Return a source of all runs.

        Raises:
            PermanentError: there is no such file.
        """
        from .source import SQLiteSource

        return SQLiteSource(self._file)

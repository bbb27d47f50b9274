"""What neptune-exporter itself could not fetch, from the file in which it noted that."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from multitrack.errors import PermanentError

FILE = "neptune_exporter_errors.jsonl"
_SHOWN = 5
"""Attributes of one run that are named."""


class Failure(NamedTuple):
    """One thing that could not be fetched."""

    path: str | None
    """None: a whole kind of attributes, or all."""
    error: str


class Failures:
    """What the exporter noted, by project and run."""

    def __init__(self, file: Path | None) -> None:
        self._by_run: dict[tuple[str, str], dict[Failure, None]] = defaultdict(dict)
        self.file = file
        self.unreadable = 0
        for line in _lines(file) if file is not None else ():
            try:
                entry = json.loads(line)
                key = (str(entry["project_id"]), str(entry["run_id"]))
                failure = Failure(entry.get("attribute_path"), str(entry.get("exception") or "an error"))
            except (ValueError, KeyError, TypeError, AttributeError):
                self.unreadable += 1
            else:
                self._by_run[key][failure] = None

    def of(self, project: str, run: str, found: Collection[str]) -> Iterator[str]:
        """Yield a line for each kind of error of a run; attributes that are there after all, from a later export, are left out."""
        by_error: dict[str, list[str | None]] = defaultdict(list)
        for path, error in self._by_run.get((project, run), ()):
            if path not in found:
                by_error[error].append(path)
        for error, paths in by_error.items():
            named = [repr(path) for path in paths if path is not None]
            more = f" and {len(named) - _SHOWN:,} more" if len(named) > _SHOWN else ""
            what = [", ".join(named[:_SHOWN]) + more] if named else []
            what += ["a whole group of attributes"] if None in paths else []
            yield f"neptune-exporter could not fetch {' and '.join(what)} ({error})"

    def elsewhere(self, known: Collection[tuple[str, str]]) -> Iterator[str]:
        """Yield a line for each run that is not among the known ones."""
        for project, run in self._by_run:
            if (project, run) not in known:
                yield f"neptune-exporter noted errors of the run {run!r} of {project!r}, which is not in this export"


def find(root: Path, given: str | None) -> Path | None:
    """Return the file; None if there is none.

    Raises:
        PermanentError: it was named, and is not there.
    """
    if given is not None:
        if not Path(given).expanduser().is_file():
            raise PermanentError(f"the setting `errors`: {given} is no file")
        return Path(given).expanduser()
    return next((folder / FILE for folder in (root, root.parent) if (folder / FILE).is_file()), None)


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]

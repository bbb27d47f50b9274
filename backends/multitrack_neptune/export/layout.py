"""Which files of an export make which run. Looks at names only.

<root>/data/<project>/<run>_part_<n>.parquet             .tmp at the end until the run was exported, part 0 renamed last
<root>/model_data/<project>/{models,model_versions}/<model>_part_<n>.parquet
<root>/files/<project>/...   <root>/model_files/<project>/...
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from ..location import data_folders

SCOPES = {"": None, "models": "model", "model_versions": "model version"}
"""Folders below a project's, and the job type of what is in them."""
_PART = re.compile(r"(?P<stem>.+)_part_(?P<number>\d+)\.parquet(?P<unfinished>\.tmp)?", re.DOTALL)
"""A run's id may hold `_part_0` itself: the last one counts."""
_HASH = re.compile(r"-[0-9a-f]{16}$")


@dataclass(frozen=True)
class RunFiles:
    """The files of one run."""

    folder: Path
    stem: str
    job_type: str | None
    parts: dict[int, Path]
    """By number, ascending."""
    unfinished: dict[int, Path]
    """Those that the exporter had not closed, or not given their last names, when it ended."""
    files: Path
    """The folder that holds the files of all projects."""

    @property
    def label(self) -> str:
        """The run's id as far as file names tell it."""
        return _HASH.sub("", self.stem)

    @property
    def project_folder(self) -> Path:
        """The folder named after the project."""
        return self.folder if self.job_type is None else self.folder.parent

    @property
    def project_label(self) -> str:
        """The project's name as far as file names tell it."""
        return _HASH.sub("", self.project_folder.name)

    @property
    def missing(self) -> list[int]:
        """The numbers of parts that must have been there."""
        known = self.parts.keys() | self.unfinished.keys()
        return [number for number in range(max(known) + 1) if number not in known]

    @cached_property
    def files_folder(self) -> Path:
        """The folder that paths of files are relative to."""
        return self.files / self.project_folder.name


def scan(root: Path, files: Path | None) -> Iterator[list[RunFiles]]:
    """Yield the runs of each folder that holds some, sorted by name.

    Args:
        root: the export's folder, or the one given to the exporter as --data-path.
        files: the folder given as --files-path; None where it lies beside the data.
    """
    for data in data_folders(root):
        beside = data.parent / ("model_files" if data.name == "model_data" else "files")
        for project in sorted(data.iterdir()):
            if not project.is_dir() or project.name.startswith("."):
                continue
            for scope, job_type in SCOPES.items():
                if runs := _scan_folder(project / scope, job_type, files or beside):
                    yield runs


def _scan_folder(folder: Path, job_type: str | None, files: Path) -> list[RunFiles]:
    finished: dict[str, dict[int, Path]] = {}
    unfinished: dict[str, dict[int, Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if match := _PART.fullmatch(path.name):
            parts, others = finished.setdefault(match["stem"], {}), unfinished.setdefault(match["stem"], {})
            (others if match["unfinished"] else parts)[int(match["number"])] = path
    return [
        RunFiles(folder, stem, job_type, dict(sorted(parts.items())), dict(sorted(unfinished[stem].items())), files)
        for stem, parts in sorted(finished.items())
    ]


def sanitize(name: str) -> str:
    """Return a project's or run's id as the exporter writes it into file names."""
    clean = "".join(char if char.isalnum() or char in "_-" else "_" for char in name)
    return f"{clean}-{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"

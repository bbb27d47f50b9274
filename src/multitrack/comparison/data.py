"""Which files and columns of the data changed between two runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..data.diff import DataDifference, diff_data
from ..data.record import read_files
from ..errors import MultitrackError
from ..records import DataFile, DataVersion
from ..repositories import Contents


@dataclass(frozen=True, slots=True)
class RunData:
    """A run's data, and how to read what belongs to it."""

    label: str
    versions: Sequence[DataVersion]
    contents: Contents


@dataclass(frozen=True, slots=True)
class DataChange:
    """What leads from one run's data to another's."""

    before: str
    after: str
    differences: tuple[DataDifference, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the change in terms of JSON."""
        return {"from": self.before, "to": self.after, "differences": [asdict(one) for one in self.differences]}


def data_changes(runs: Sequence[RunData]) -> list[DataChange]:
    """Return what leads from the first run's data to that of each other one; nothing where it is the same."""
    found = []
    for other in runs[1:]:
        files = _files(runs[0], other)
        differences = tuple(diff_data(runs[0].versions, other.versions, files=files))
        if differences:
            found.append(DataChange(runs[0].label, other.label, differences))
    return found


def _files(*runs: RunData) -> Callable[[DataVersion], Sequence[DataFile]]:
    contents: Mapping[str, Contents] = {
        version.file_list.sha256: run.contents for run in runs for version in run.versions if version.file_list is not None
    }

    def files(version: DataVersion) -> Sequence[DataFile]:
        return list_files(version, contents[version.file_list.sha256]) if version.file_list is not None else version.files

    return files


def list_files(version: DataVersion, contents: Contents) -> Sequence[DataFile]:
    """Return all files of a data set, from the run's own list where they are too many for the record; none where that cannot be had."""
    if version.file_list is None:
        return version.files
    try:
        return read_files(contents(version.file_list.name))
    except (MultitrackError, KeyError, OSError, ValueError):
        return []

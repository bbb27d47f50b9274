"""Whether the data that a run used is here, and as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..records import DataFile, DataVersion
from .diff import DataDifference, diff_version, label
from .digest import FILE, NAMES, TREE
from .dvc import MD5, MD5_FOLDER, content_digest
from .files import Listing, describe_files, list_data, list_selected
from .found import Found, Inquiry
from .lfs import POINTER_ONLY
from .places import from_uri
from .progress import ReadingProgress
from .record import combine

_LOCAL = frozenset({FILE, TREE, NAMES, MD5, MD5_FOLDER})


def verify_data(record: DataVersion, roots: Sequence[Path] = (), *, files: Sequence[DataFile] | None = None) -> list[DataDifference]:
    """Return how the data that lies here differs from what was recorded; nothing if it is the same.

    It is looked for where it was, then below each of the roots: at its place in the project, and by its name. The first that is the
    same counts; else the first that is there. What cannot be checked (it was in memory, at a URL) is a difference that says so: `unknown`.

    Args:
        record: what a run recorded.
        roots: folders, such as the root of a working tree.
        files: all files of the data, where the record keeps them in a file of the run (`file_list`); without them a difference in
            such data is told, but not in which files.
    """
    name = label(record)
    if (reason := _why_not(record)) is not None:
        return [DataDifference(name, "data", "", "unknown", record.digest, reason)]
    first: list[DataDifference] | None = None
    for place in places(record, roots):
        found = _differences(record, place, files)
        if not found:
            return []
        first = first or found
    looked = ", ".join(map(str, _candidates(record, roots)))
    return first or [DataDifference(name, "data", "", "missing", record.digest, f"looked for at {looked}")]


def find_data(record: DataVersion, roots: Sequence[Path] = ()) -> Path | None:
    """Return where the data that was recorded lies, the same or not, as `verify_data` looks for it; None if it is nowhere."""
    return next(places(record, roots), None)


def places(record: DataVersion, roots: Sequence[Path]) -> Iterator[Path]:
    """Yield where data of this name is, most likely first."""
    yield from (place for place in _candidates(record, roots) if place.exists())


def _candidates(record: DataVersion, roots: Sequence[Path]) -> list[Path]:
    was = from_uri(record.uri) if record.uri is not None else None
    found = [was] if was is not None else []
    for root in roots:
        found += [root / record.path] if record.path is not None else []
        if was is not None and was.name:
            found.append(root if root.name == was.name else root / was.name)
    return list(dict.fromkeys(place.absolute() for place in found))


def _why_not(record: DataVersion) -> str | None:
    if record.digest is None:
        return "no digest was recorded"
    if record.uri is None and record.path is None:
        return "it was in memory; log the file that it is read from to have it checked"
    if record.uri is not None and from_uri(record.uri) is None:
        return f"it lies at {record.uri}"
    if record.algorithm not in _LOCAL:
        return f"its digest is of the kind {record.algorithm or '(none said)'}, which cannot be computed here"
    if record.path is not None and ".." in PurePosixPath(record.path).parts:
        return "its recorded path leads out of the project"
    return None


def _differences(record: DataVersion, place: Path, files: Sequence[DataFile] | None) -> list[DataDifference]:
    try:
        listing = list_selected(place, record.selected) if record.selected else list_data(str(place))
    except FileNotFoundError:
        return [DataDifference(label(record), "data", "", "missing", record.digest, f"the folder {place} is empty")]
    inquiry = Inquiry(read=False if record.algorithm == NAMES else None, progress=ReadingProgress(f"data set {record.name!r}"))
    try:
        found = _describe(listing, record, inquiry)
    finally:
        inquiry.progress.close()
    was = record if files is None else record.model_copy(update={"files": list(files)})
    now = combine(DataVersion(time=0, name=record.name, role=record.role), found)
    all_now = [DataFile(path=file.path, size=file.size, digest=file.digest) for file in found.files]
    pointers = [one.name for one in found.omitted if one.reason == POINTER_ONLY]
    return [
        *diff_version(was, now, files=lambda version: was.files if version is was else all_now),
        *(DataDifference(label(record), "file", name, "missing", None, POINTER_ONLY) for name in pointers),
    ]


def _describe(listing: Listing, record: DataVersion, inquiry: Inquiry) -> Found:
    if record.algorithm not in (MD5, MD5_FOLDER):
        return describe_files(listing, inquiry)
    digest, algorithm = content_digest(listing, inquiry)
    return Found(digest=digest, algorithm=algorithm)

"""A run's data, looked for, verified, and put where the restored code looks for it.

It is copied, so that what the program writes into it stays in the restored tree; beyond `COPIED` bytes altogether it is linked, since data
may be larger than the disk, and what is written into linked data is written into the original.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..data import find_data, verify_data
from ..data.diff import DataDifference, label
from ..data.places import from_uri
from ..data.verify import places
from ..records import DataFile, DataVersion
from .shortfall import Shortfall

COPIED = 1_000_000_000
"""Bytes of data that are copied; what goes beyond them is linked."""


@dataclass
class RestoredData:
    """What became of the data."""

    done: list[str] = field(default_factory=list)
    shortfalls: list[Shortfall] = field(default_factory=list)
    placed: list[str] = field(default_factory=list)
    """Paths in the restored code, relative to it, that hold the data or lead to it."""
    moves: list[tuple[str, str]] = field(default_factory=list)
    """(where data was, where it is), of data outside of the code."""
    verified: set[str] = field(default_factory=set)
    """Paths below the code's root at which the data is as it was."""


class Restoration:
    """Verifies data sets, and puts what the restored code lacks of them where it looks for it."""

    def __init__(self, tree: Path, root: str | None, folders: Sequence[Path], *, lenient: bool = False, room: int = COPIED) -> None:
        """Make one.

        Args:
            tree: the restored code.
            root: where the code was.
            folders: where to look, the user's working tree among them.
            lenient: whether data that is not as it was will do.
            room: bytes that are copied rather than linked.
        """
        self.result = RestoredData()
        self._tree = tree
        self._root = root
        self._folders = folders
        self._lenient = lenient
        self._room = room

    def restore(self, record: DataVersion, files: Sequence[DataFile] | None = None) -> None:
        """Restore a data set; `files` are all its files where they are too many for the record."""
        result, name, path = self.result, label(record), _safe(_below(record, self._root))
        here = self._tree / path if path is not None else None
        if path is not None and here is not None and here.exists() and not _differences(record, here, files):
            result.done.append(f"{name}: {path}, as it was")
            result.verified.add(path)
            return
        found, problems = _find(record, self._folders, files)
        result.shortfalls += [Shortfall("data", _text(record, one), one.change != "unknown") for one in problems]
        if found is None and self._lenient and here is not None and not here.exists():
            found = find_data(record, self._folders)
        if found is None:
            return
        state = "not as it was" if problems else "as it was"
        if path is None or here is None:
            was = from_uri(record.uri) if record.uri is not None else None
            if was is not None and was != found:
                result.moves.append((str(was), str(found)))
            result.done.append(f"{name}: {found}, {state}")
        elif how := self._put(found, here):
            result.verified |= set() if problems else {path}
            result.done.append(f"{name}: {found}, {state}; {how} {path}")
        else:
            text = f"{name}: {path} in the restored code is something else than {found}, which is {state}"
            result.shortfalls.append(Shortfall("data", text))

    def _put(self, found: Path, place: Path) -> str | None:
        """Have the data at `place` as well, and return how; None where something else is there."""
        size = _size(found)
        if copy := size <= self._room:
            self._room -= size
        if not self._bring(found, place, copy=copy):
            return None
        return "copied to" if copy else f"{size / 1e9:,.1f} GB, too large to be copied, linked as"

    def _bring(self, found: Path, place: Path, *, copy: bool) -> bool:
        """Copy the data to `place`, or make that lead to it; where a part of a folder is there already, what is missing of it."""
        if not place.parent.resolve().is_relative_to(self._tree.resolve()):
            return False
        if found.is_dir() and place.is_dir() and not place.is_symlink():
            brought = [self._bring(inner, place / inner.name, copy=copy) for inner in sorted(found.iterdir())]
            return all(brought)
        if place.is_symlink() or place.exists():
            return place.is_file() and found.is_file() and _same_content(place, found)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not copy:
            place.symlink_to(found.absolute())
        elif found.is_dir():
            shutil.copytree(found, place, ignore_dangling_symlinks=True)
        else:
            shutil.copy2(found, place)
        self.result.placed.append(place.relative_to(self._tree).as_posix())
        return True


def _size(data: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    if data.is_dir():
        return sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    return data.stat().st_size


def _below(record: DataVersion, root: str | None) -> str | None:
    """Return where the data was below the code's root."""
    was = from_uri(record.uri) if record.uri is not None else None
    if was is not None and root is not None:
        return was.relative_to(root).as_posix() if was.is_relative_to(root) else None
    return record.path


def _safe(path: str | None) -> str | None:
    """Return a recorded path if it stays below the code's root, and out of git's own folder."""
    if path is None:
        return None
    parts = PurePosixPath(path).parts
    return None if path.startswith("/") or any(part == ".." or part.lower() == ".git" for part in parts) else path


def _find(record: DataVersion, folders: Sequence[Path], files: Sequence[DataFile] | None) -> tuple[Path | None, Sequence[DataDifference]]:
    """Return where the data is as it was; None, and what is wrong at the likeliest place, where it is nowhere."""
    wrong: Sequence[DataDifference] | None = None
    for place in places(record, folders):
        differences = _differences(record, place, files)
        if not differences:
            return place, ()
        wrong = wrong or [_at(place, one) for one in differences]
    return None, wrong or verify_data(record, folders)


def _at(place: Path, one: DataDifference) -> DataDifference:
    detail = f"{one.after or 'nothing'} at {place}" if one.change == "changed" else one.after
    return DataDifference(one.data, one.what, one.name, one.change, one.before, detail)


def _differences(record: DataVersion, place: Path, files: Sequence[DataFile] | None) -> Sequence[DataDifference]:
    return verify_data(record.model_copy(update={"uri": place.absolute().as_uri(), "path": None}), files=files)


def _text(record: DataVersion, one: DataDifference) -> str:
    if one.change == "unknown":
        return f"{label(record)} cannot be verified before the run: {one.after}"
    return str(one)


def _same_content(one: Path, other: Path) -> bool:
    def chunks(path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk

    return one.stat().st_size == other.stat().st_size and all(a == b for a, b in zip(chunks(one), chunks(other), strict=True))

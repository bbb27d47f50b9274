"""Local data: a file, a folder, a pattern, or several of them."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..records import Omission
from .digest import FILE, NAMES, TREE, tree_digest
from .found import Entry, Found, Inquiry
from .hashing import HashedFile, LocalFile, hash_files

LEFT_OUT = frozenset({".git", ".hg", ".svn", ".multitrack", ".DS_Store"})
"""What lies in a folder without being its data. Named in the record where it was met."""


@dataclass(frozen=True)
class Listing:
    """The files of a data set."""

    base: Path
    """The folder that they lie in, or the one file. Absolute."""
    files: list[LocalFile]
    omitted: list[Omission] = field(default_factory=list)
    unread: list[Omission] = field(default_factory=list)
    """Folders that cannot be looked into."""
    selected: tuple[str, ...] = ()
    """Which files below `base` were asked for, where not all: names and patterns, relative to it."""

    @property
    def is_file(self) -> bool:
        """Whether the data set is one file, not a folder with one."""
        return [file.path for file in self.files] == ["."]


def list_data(place: str) -> Listing:
    """Return the files that a path, or a pattern with `*`, `?`, `[...]` or `**`, stands for. A path that exists is never a pattern.

    Raises:
        FileNotFoundError: there are none.
    """
    path = Path(os.path.abspath(place))  # not resolved: links in it are the user's own names for things  # noqa: PTH100
    if path.is_dir():
        listing = _list_folder(path)
    elif path.is_file():
        listing = Listing(path, [LocalFile(str(path), ".")])
    elif glob.has_magic(place):
        listing = _list_matches(place)
    else:
        raise FileNotFoundError(f"there is no file or folder {place!r} (looked for in {Path.cwd()})")
    if not (listing.files or listing.omitted or listing.unread):
        raise FileNotFoundError(f"{place!r} holds no file (looked for in {Path.cwd()})")
    return listing


def list_several(places: Sequence[str]) -> Listing:
    """Return the files of several paths or patterns as one data set, below the folder that they have in common.

    Raises:
        FileNotFoundError: one stands for none, or none is given.
    """
    listings = [list_data(place) for place in places]
    if not listings:
        raise FileNotFoundError("the list of files is empty")
    base = Path(os.path.commonpath([listing.base.parent if listing.is_file else listing.base for listing in listings]))
    selected = [_inner(os.path.abspath(place), base) for place in places]  # noqa: PTH100
    return _join(listings, base, selected)


def list_selected(base: Path, selected: Sequence[str]) -> Listing:
    """Return the files below a folder that these names and patterns stand for; of what is not there, nothing."""
    listings = []
    for place in selected:
        with contextlib.suppress(FileNotFoundError):
            listings.append(list_data(str(base / place)))
    return _join(listings, base, selected)


def _join(listings: Sequence[Listing], base: Path, selected: Sequence[str]) -> Listing:
    files = sorted({file.file for listing in listings for file in listing.files})
    omitted = [omission for listing in listings for omission in listing.omitted]
    unread = [omission for listing in listings for omission in listing.unread]
    return Listing(base, [LocalFile(file, _inner(file, base)) for file in files], omitted, unread, tuple(selected))


def describe_files(listing: Listing, inquiry: Inquiry) -> Found:
    """Read the files and say what they are."""
    reads = inquiry.read is not False
    done = hash_files(listing.files, cache=inquiry.cache, progress=inquiry.progress) if reads else _sizes(listing.files)
    words = [Omission(name=file.path, reason=word) for file in done if (word := file.problem or file.note) is not None]
    files = [Entry(file.path, file.size, file.digest) for file in done]
    found = Found(
        uri=listing.base.as_uri(),
        path=relative_to(listing.base, inquiry.root),
        source_type="local",
        size=sum(file.size for file in files),
        selected=listing.selected,
        omitted=[*listing.omitted, *listing.unread, *words],
        failure=_failure(done, listing.unread),
    )
    if listing.is_file:
        digest = files[0].digest
        return replace(found, digest=digest, algorithm=None if digest is None else FILE)
    if not reads:
        return replace(found, digest=tree_digest(files), algorithm=NAMES, files=files)
    if all(file.digest is None for file in files):
        return replace(found, files=files)
    return replace(found, digest=tree_digest(files), algorithm=TREE, files=files)


def _failure(done: Sequence[HashedFile], unread: Sequence[Omission]) -> str | None:
    wrong = [Omission(name=file.path, reason=file.problem) for file in done if file.problem is not None]
    if unread:
        return f"the folder {unread[0].name}: {unread[0].reason}"
    if not wrong or len(done) == 1:
        return wrong[0].reason if wrong else None
    return f"{len(wrong):,} of {len(done):,} files, the first is {wrong[0].name}: {wrong[0].reason}"


def relative_to(path: Path, root: Path) -> str | None:
    """Return a path relative to the project's root, with forward slashes; None if it lies elsewhere."""
    for one, other in ((path, root), (path.resolve(), root.resolve())):  # links in one of them alone
        if one.is_relative_to(other):
            return one.relative_to(other).as_posix()
    return None


def _sizes(files: Sequence[LocalFile]) -> list[HashedFile]:
    done = []
    for file in files:
        try:
            done.append(HashedFile(file.path, os.stat(file.file).st_size, None))  # noqa: PTH116
        except OSError as error:
            done.append(HashedFile(file.path, 0, None, error.strerror or str(error)))
    return done


def _list_folder(base: Path) -> Listing:
    listing = Listing(base, [])
    root = os.fspath(base)
    _walk(root, "", (_identity(root),), listing)
    listing.files.sort(key=lambda file: file.path)
    return listing


def _walk(folder: str, prefix: str, above: tuple[tuple[int, int], ...], listing: Listing) -> None:
    def omit(name: str, reason: str) -> None:
        listing.omitted.append(Omission(name=prefix + name, reason=reason))

    try:
        with os.scandir(folder) as found:
            items = list(found)
    except OSError as error:
        listing.unread.append(Omission(name=prefix.rstrip("/") or ".", reason=error.strerror or str(error)))
        return
    for item in items:
        if item.name in LEFT_OUT:
            omit(item.name, "it is not data")
        elif item.is_dir():
            identity = _identity(item.path)
            if identity in above:
                omit(item.name, "a link that leads back to a folder that it lies in")
            else:
                _walk(item.path, f"{prefix}{item.name}/", (*above, identity), listing)
        elif item.is_file():
            listing.files.append(LocalFile(item.path, prefix + item.name))
        elif item.is_symlink():
            omit(item.name, f"a link that leads nowhere: {os.readlink(item.path)}")  # noqa: PTH115


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _list_matches(pattern: str) -> Listing:
    base = _base_of(pattern)
    found = (os.path.abspath(match) for match in glob.iglob(pattern, recursive=True))  # noqa: PTH100, PTH207
    files = sorted({match for match in found if os.path.isfile(match)})  # noqa: PTH113
    return Listing(base, [LocalFile(file, _inner(file, base)) for file in files], selected=(_inner(os.path.abspath(pattern), base),))  # noqa: PTH100


def _base_of(pattern: str) -> Path:
    """Return the folder that a pattern starts in: what stands before the first part with a wildcard."""
    parts = Path(os.path.abspath(pattern)).parts  # noqa: PTH100
    fixed = next((place for place, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def _inner(file: str, base: Path) -> str:
    return Path(file).relative_to(base).as_posix()

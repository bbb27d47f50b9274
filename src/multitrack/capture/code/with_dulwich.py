"""A repository's changes without a git program, through dulwich: git in Python, the extra `[git]`."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .by_hand import read_by_hand
from .found import Found
from .patch import FilePatch

MOST_TRACKED = 20_000
"""Tracked files that are looked at: Python needs seconds for more, which the training would feel."""
LARGEST_TEXT = 1_000_000
"""Bytes of a file that is compared line by line; a larger one is kept whole."""


def has_dulwich() -> bool:
    """Return whether dulwich is installed."""
    from importlib.util import find_spec

    return find_spec("dulwich") is not None


def read_with_dulwich(root: Path) -> Found:
    """Return the state of the repository at `root`. Submodules are not looked into.

    Raises:
        OSError: its files cannot be read.
    """
    found = read_by_hand(root)
    from dulwich.repo import Repo

    with Repo(str(root)) as repo:
        tracked = len(repo.open_index())
        if tracked > MOST_TRACKED:
            found.omit("changes", f"{tracked:,} tracked files are too many without a git program; install git")
        else:
            _read_changes(found, repo)
    return found


def _read_changes(found: Found, repo: Any) -> None:
    from dulwich import porcelain

    status = porcelain.status(repo, untracked_files="all", optional_locks=False)
    paths = {os.fsencode(path) for paths in status.staged.values() for path in paths} | {os.fsencode(path) for path in status.unstaged}
    for path in sorted(paths):
        _take(found, repo, path)
    found.dirty = bool(found.patches or found.files or found.omitted)
    found.files += [path for path in map(os.fsdecode, status.untracked) if not path.endswith("/")]


def _take(found: Found, repo: Any, path: bytes) -> None:
    """Take the changes of one file: as a patch where both sides are text, else whole."""
    name = os.fsdecode(path)
    old_mode, old = _committed(repo, found.commit, path)
    new_mode, new = _present(found.root / name)
    if old_mode is not None and stat.S_IFMT(old_mode) == _LINK_TO_REPOSITORY:
        found.omit(name, "submodules are not looked into without a git program")
    elif (old_mode, old) == (new_mode, new):
        pass
    elif _is_plain(path, old, new):
        found.patches.append(FilePatch(path, _patch(path, (old_mode, old), (new_mode, new)), binary=False))
    elif new is not None:
        found.files.append(name)
    else:
        found.omit(name, "it was deleted, and is no text; install git to have that restored")


_LINK_TO_REPOSITORY = 0o160000


def _committed(repo: Any, commit: str | None, path: bytes) -> tuple[int | None, bytes | None]:
    if commit is None:
        return None, None
    from dulwich.object_store import tree_lookup_path

    try:
        mode, oid = tree_lookup_path(repo.__getitem__, repo[commit.encode()].tree, path)
    except KeyError:
        return None, None
    return mode, b"" if stat.S_IFMT(mode) == _LINK_TO_REPOSITORY else repo[oid].data


def _present(path: Path) -> tuple[int | None, bytes | None]:
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            return 0o120000, os.fsencode(path.readlink())
        return 0o100755 if facts.st_mode & stat.S_IXUSR else 0o100644, path.read_bytes()
    except OSError:
        return None, None


def _is_plain(path: bytes, *contents: bytes | None) -> bool:
    if any(character < 0x20 or character in b'"\\' for character in path):
        return False  # git would quote such a name
    return all(content is None or (b"\0" not in content and len(content) <= LARGEST_TEXT) for content in contents)


def _patch(path: bytes, *sides: tuple[int | None, bytes | None]) -> bytes:
    from dulwich.objects import Blob
    from dulwich.patch import write_blob_diff

    blobs: Sequence[Any] = [(None, None, None) if content is None else (path, mode, Blob.from_string(content)) for mode, content in sides]
    patch = io.BytesIO()
    write_blob_diff(patch, *blobs)
    return patch.getvalue()

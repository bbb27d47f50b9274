"""A repository's state, as git tells it: commit, changes, files it does not know, and the repositories inside it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from .found import Found, set_remotes
from .git import Git, GitError, GitTimeoutError, TooMuchError
from .patch import FilePatch, split_patch
from .status import Status, read_status

MOST_INNER = 100
"""Repositories inside the repository that are looked into."""
MOST_SINGLE = 200
"""Files whose changes are asked for one by one, where those of all together are too much."""

MOST_NAMED = 500
"""Changed files that git is told by name; of more it finds them itself, since a command line has its limit."""

_STATUS = ("status", "--porcelain=v2", "-z", "--branch", "--no-renames", "--no-ahead-behind", "--ignore-submodules=dirty")
_DIFF = (
    "diff-index", "-p", "--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=all",
    "--src-prefix=a/", "--dst-prefix=b/", "--unified=3", "--inter-hunk-context=0",
)  # fmt: skip
_RENAMES = ("--find-renames", "-l400")
_POINTER = re.compile(rb"version https://git-lfs[^\n]*\n(?:ext[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d+)\n")


def read_repository(git: Git, root: Path, limit: int) -> Found:
    """Return the state of the repository at `root`, and of those inside it.

    Args:
        git: asks about any folder.
        root: the repository's root.
        limit: bytes that the changes of one repository may have before they are asked for file by file.

    Raises:
        GitError: git takes it for no repository, or one that is not to be trusted.
        GitTimeoutError: not even the commit is told in time.
    """
    return _read(git, Found(root), limit, [MOST_INNER])


def _read(git: Git, found: Found, limit: int, left: list[int]) -> Found:
    config = _config(git.at(found.root))
    filters = sorted({name.split(".", 1)[1].rpartition(".")[0] for name in config if name.startswith("filter.")})
    git = git.at(found.root, [name for name in filters if "=" not in name])
    status = _status(git, found)
    found.branch = status.branch
    found.commit = status.commit
    set_remotes(found, config)
    links: list[str] = []
    try:
        links, hidden = _index(git, found)
        if found.dirty is not None:
            _read_changes(git, found, status, hidden, limit)
        _read_inner(git, found, [*links, *(path for path in status.untracked if path.endswith("/"))], limit, left)
    except (GitTimeoutError, GitError) as error:
        found.omit("changes", str(error))
    if found.dirty is False:
        submodules = {found.below(path) for path in links}
        found.dirty = bool(status.submodules) or any(inner.dirty for inner in found.inner if inner.path in submodules)
    return found


def _config(git: Git) -> dict[str, str]:
    """Return git's settings; of several values the first: that of a remote's URL is where it is fetched from."""
    found: dict[str, str] = {}
    for part in git.ask("config", "-z", "--list").decode("utf-8", "surrogateescape").split("\0"):
        name, _, value = part.partition("\n")
        found.setdefault(name, value)
    return found


def _status(git: Git, found: Found) -> Status:
    """Return the state of the working tree; `found.dirty` stays None where it is not told in time."""
    for untracked in ("all", "no"):
        try:
            status = read_status(git.ask(*_STATUS, f"--untracked-files={untracked}"))
        except GitTimeoutError as error:
            found.omit("untracked files" if untracked == "all" else "changes", str(error))
        else:
            found.dirty = bool(status.changed)
            return status
    return Status(
        commit=_word(git, "rev-parse", "--quiet", "--verify", "HEAD"), branch=_word(git, "symbolic-ref", "--quiet", "--short", "HEAD")
    )


def _word(git: Git, *arguments: str) -> str | None:
    try:
        return git.ask(*arguments).decode("utf-8", "surrogateescape").strip() or None
    except GitError:
        return None


def _index(git: Git, found: Found) -> tuple[list[str], dict[str, str]]:
    """Return the submodules, and the files whose changes git was told not to see: path to the hash of what it has."""
    links, hidden = [], {}
    for entry in git.ask("ls-files", "-z", "-v", "--stage").split(b"\0"):
        if not entry or entry.startswith((b"H 100", b"H 120")):
            continue
        facts, _, path = entry.partition(b"\t")
        tag, mode, oid, *_ = facts.split()
        name = os.fsdecode(path)
        if mode == b"160000":
            links.append(name)
        elif (tag.islower() or tag == b"S") and mode != b"120000" and (found.root / name).is_file():
            hidden[name] = oid.decode()
    return links, hidden


def ignored_among(git: Git, paths: Sequence[str]) -> list[str]:
    """Return which files of the repository git neither tracks nor would list: they are ignored."""
    try:
        answer = git.ask("check-ignore", "-z", "--stdin", given=b"".join(os.fsencode(path) + b"\0" for path in paths if path[0] != ":"))
    except (GitError, GitTimeoutError):  # it says by an error that there is none
        return []
    return [os.fsdecode(path) for path in answer.split(b"\0") if path]


# -- changes


def _read_changes(git: Git, found: Found, status: Status, hidden: dict[str, str], limit: int) -> None:
    base = found.commit or git.ask("hash-object", "-t", "tree", "--stdin").decode().strip()
    changed = [path for path in status.changed if path not in hidden]
    filtered = _filtered(git, changed)
    same = {path for path, driver in filtered.items() if driver == "lfs" and _is_what_it_points_to(git, found.root, base, path)}
    changed = [path for path in changed if path not in same]
    whole = {path for path in (*filtered, *status.unmerged) if path not in same and os.path.lexists(found.root / path)}
    whole |= set(_changed_behind_git(git, hidden))
    if any(path not in whole for path in changed):
        kept_apart = {os.fsencode(path) for path in whole | same}
        found.patches = [part for part in _patches(git, found, base, changed, limit, renames=not kept_apart) if part.path not in kept_apart]
    found.files = sorted(whole) + [path for path in status.untracked if not path.endswith("/")]
    found.dirty = bool(changed or whole)


def _patches(git: Git, found: Found, base: str, changed: Iterable[str], limit: int, *, renames: bool) -> list[FilePatch]:
    changed = list(changed)
    named = [f":(literal){path}" for path in changed] if len(changed) <= MOST_NAMED else []  # or all files are looked at once more
    arguments = (*_DIFF, *(_RENAMES if renames else ("--no-renames",)), base, "--", *named)
    try:
        return split_patch(git.ask(*arguments, limit=limit))
    except TooMuchError:
        pass
    single = (*_DIFF, "--no-renames", base, "--")
    parts: list[FilePatch] = []
    for number, path in enumerate(sorted(changed, key=lambda path: _size(found.root / path))):
        if number >= MOST_SINGLE:
            found.omit(path, f"the changes of all files are more than {limit:,} bytes, and more than {MOST_SINGLE} files have any")
            continue
        try:
            parts += split_patch(git.ask(*single, f":(literal){path}", limit=limit))
        except TooMuchError as error:
            found.omit(path, f"its changes are {error}, which is code_limit")
    return parts


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _filtered(git: Git, paths: Sequence[str]) -> dict[str, str]:
    """Return the files that are transformed by a program of the user's on their way into git: path to the filter's name."""
    if not paths or not git.filters:
        return {}
    answer = git.ask("check-attr", "-z", "--stdin", "filter", given=b"".join(os.fsencode(path) + b"\0" for path in paths))
    words = [os.fsdecode(word) for word in answer.split(b"\0")]
    return {path: value for path, value in zip(words[::3], words[2::3], strict=False) if value in git.filters}


def _is_what_it_points_to(git: Git, root: Path, base: str, path: str) -> bool:
    """Return whether a file is what the commit's Git LFS pointer stands for: touched, but not changed."""
    try:
        pointer = _POINTER.match(git.ask("cat-file", "blob", f"{base}:{path}", limit=1024))
        file = root / path
        facts = file.lstat()
        if pointer is None or not stat.S_ISREG(facts.st_mode) or facts.st_size != int(pointer[2]):
            return False
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == pointer[1].decode()
    except (GitError, TooMuchError, OSError):
        return False


def _changed_behind_git(git: Git, hidden: dict[str, str]) -> list[str]:
    """Return which of the files that git was told not to look at (assume-unchanged, skip-worktree) have changed."""
    paths = [path for path in hidden if "\n" not in path]
    if not paths:
        return []
    answer = git.ask("hash-object", "--stdin-paths", given=b"".join(os.fsencode(path) + b"\n" for path in paths))
    return [path for path, oid in zip(paths, answer.decode().split(), strict=False) if oid != hidden[path]]


# -- repositories inside


def _read_inner(git: Git, found: Found, paths: Iterable[str], limit: int, left: list[int]) -> None:
    for name in paths:
        path = name.removesuffix("/")
        if not os.path.lexists(found.root / path / ".git"):
            continue  # a submodule that was not checked out
        if left[0] <= 0:
            found.omit(path, f"a repository inside, after {MOST_INNER} others")
            continue
        left[0] -= 1
        try:
            found.inner.append(_read(git, Found(found.root / path, found.below(path)), limit, left))
        except (GitError, GitTimeoutError) as error:
            found.omit(path, f"a repository inside: {error}")

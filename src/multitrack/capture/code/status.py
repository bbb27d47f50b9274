"""What `git status --porcelain=v2 -z --branch` says. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

_FIELDS = {b"1": 8, b"2": 9, b"u": 10}
"""Kind of an entry to the number of fields before its path."""


@dataclass(slots=True)
class Status:
    """The state of a working tree. Paths are relative to its root, as `os.fsdecode` has them."""

    commit: str | None = None
    """None where there is none yet."""
    branch: str | None = None
    """None on a detached HEAD."""
    changed: list[str] = field(default_factory=list)
    """Tracked files that differ from the commit."""
    unmerged: list[str] = field(default_factory=list)
    submodules: list[str] = field(default_factory=list)
    """Those that have another commit than the repository says."""
    untracked: list[str] = field(default_factory=list)
    """Files; with a slash at its end, a repository that is not tracked."""


def read_status(answer: bytes) -> Status:
    """Return what was said."""
    status = Status()
    parts = iter(answer.split(b"\0"))
    for part in parts:
        kind, _, rest = part.partition(b" ")
        if kind == b"#":
            _take_header(status, rest)
        elif kind == b"?":
            status.untracked.append(os.fsdecode(rest))
        elif kind in _FIELDS:
            *facts, path = part.split(b" ", _FIELDS[kind])
            if kind == b"2":
                next(parts)  # the former name
            if facts[2].startswith(b"S"):
                status.submodules.append(os.fsdecode(path))
            else:
                status.changed.append(os.fsdecode(path))
            if kind == b"u":
                status.unmerged.append(os.fsdecode(path))
    return status


def _take_header(status: Status, header: bytes) -> None:
    name, _, value = header.partition(b" ")
    text = value.decode("utf-8", "surrogateescape")
    if name == b"branch.oid" and text != "(initial)":
        status.commit = text
    elif name == b"branch.head" and text != "(detached)":
        status.branch = text

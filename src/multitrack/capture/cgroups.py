"""What the control groups of Linux allow this process, and use: of CPU time and of memory, in both versions.

A group's limit holds for all groups below it, so the limit that counts is the lowest on the way from the process's own group to the
root; and how much of it is used, only the group that has the limit can tell.

    version 2   one tree: `cpu.max`, `cpu.stat`, `memory.max`, `memory.current`, `memory.stat`
    version 1   a tree for each: `cpu.cfs_quota_us`, `cpuacct.usage`; `memory.limit_in_bytes`, `memory.usage_in_bytes`, `memory.stat`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NO_LIMIT = 1 << 60
"""Bytes. Version 1 says "any" by the largest number of pages that fit into an int."""


@dataclass(frozen=True)
class CpuLimit:
    """How much CPU time a control group may have."""

    processors: float
    """2.5: two and a half processors' worth."""
    used: Callable[[], float | None]
    """Returns the seconds of CPU time that the group has used so far; None where it does not tell."""


@dataclass(frozen=True)
class MemoryLimit:
    """How much memory a control group may have."""

    size: int
    """Bytes."""
    used: Callable[[], int | None]
    """Returns the bytes in use, without the files' contents that the kernel can drop; None where it does not tell."""


def cpu_limit(root: Path = Path("/")) -> CpuLimit | None:
    """Return the lowest limit of CPU time on the way up from this process's group; None where there is none, or no control groups.

    `root` is where `proc` and `sys` are.
    """
    groups, accounts = list(_groups(root, "cpu")), list(_groups(root, "cpuacct"))
    if len(groups) != len(accounts):  # version 1 has them in two trees, as a rule with the same groups in both
        accounts = groups
    found = []
    for folder, account in zip(groups, accounts, strict=True):
        quota = _quota(folder)
        if quota is not None:
            found.append(CpuLimit(quota, _cpu_reader(account)))
    return min(found, key=lambda limit: limit.processors, default=None)


def memory_limit(root: Path = Path("/")) -> MemoryLimit | None:
    """Return the lowest limit of memory, likewise."""
    found = []
    for folder in _groups(root, "memory"):
        size = _number(folder / "memory.max")
        size = _number(folder / "memory.limit_in_bytes") if size is None else size
        if size is not None and 0 < size < _NO_LIMIT:
            found.append(MemoryLimit(size, _memory_reader(folder)))
    return min(found, key=lambda limit: limit.size, default=None)


# -- where the groups are


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's group and of those above it, in each tree that may know the controller."""
    mounts = _mounts(root)
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        mount = mounts.get("") if not controllers else mounts.get(controller) if controller in controllers.split(",") else None
        if mount is not None:
            yield from _way_up(*mount, path)


def _mounts(root: Path) -> dict[str, tuple[Path, str]]:
    """Return for each controller where its tree is, and which of its groups is mounted there; `""` is the tree of version 2."""
    found: dict[str, tuple[Path, str]] = {}
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(tail) < 3:
            continue
        # \040 stands for a space.
        place = root / re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]).lstrip("/")
        if tail[0] == "cgroup2":
            found.setdefault("", (place, fields[3]))
        elif tail[0] == "cgroup":
            for option in tail[2].split(","):
                found.setdefault(option, (place, fields[3]))
    return found


def _way_up(mount: Path, mounted: str, path: str) -> Iterator[Path]:
    # In a container, the path is often the host's, and what is mounted is the container's own group.
    own = path.removeprefix(mounted) if mounted != "/" and f"{path}/".startswith(f"{mounted}/") else path
    parts = [part for part in own.split("/") if part and part != ".."]
    folder = mount.joinpath(*parts)
    if not folder.is_dir():
        parts, folder = [], mount
    for _ in range(len(parts) + 1):
        yield folder
        folder = folder.parent


# -- what they say


def _quota(folder: Path) -> float | None:
    words = (_text(folder / "cpu.max") or "").split()
    if len(words) == 2:
        quota, period = _to_int(words[0]), _to_int(words[1])
    else:
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _cpu_reader(folder: Path) -> Callable[[], float | None]:
    if _field(folder / "cpu.stat", "usage_usec") is not None:
        return lambda: _scaled(_field(folder / "cpu.stat", "usage_usec"), 1e6)
    return lambda: _scaled(_number(folder / "cpuacct.usage"), 1e9)


def _memory_reader(folder: Path) -> Callable[[], int | None]:
    current, droppable = ("memory.current", "inactive_file")
    if not (folder / current).is_file():
        current, droppable = ("memory.usage_in_bytes", "total_inactive_file")

    def used() -> int | None:
        size = _number(folder / current)
        return None if size is None else max(0, size - (_field(folder / "memory.stat", droppable) or 0))

    return used


def _scaled(number: int | None, unit: float) -> float | None:
    return None if number is None else number / unit


def _field(path: Path, name: str) -> int | None:
    for line in _lines(path):
        key, _, value = line.partition(" ")
        if key == name:
            return _to_int(value)
    return None


def _number(path: Path) -> int | None:
    return _to_int(_text(path) or "")


def _to_int(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:  # `max`: no limit
        return None


def _lines(path: Path) -> list[str]:
    return (_text(path) or "").splitlines()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None

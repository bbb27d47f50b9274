"""CPU, memory and disk of this process and all that it has started, couriers left aside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

MEGABYTE = 1e6
SHORTEST = 0.1
"""Seconds. Kernels count CPU time in hundredths of a second, so that a share of less than this would be noise."""

_MISSING = (psutil.Error, OSError)


@dataclass(frozen=True)
class _Usage:
    cpu: float = 0.0
    """Seconds, with those of children that have ended."""
    memory: int = 0
    """Bytes."""
    read: int = 0
    written: int = 0


@dataclass(frozen=True)
class _Sample:
    time: float
    """Seconds, of the monotonic clock."""
    cpu: float
    read: int
    written: int


class ProcessTree:
    """A process and its children, sample by sample.

    A child's CPU time counts as its parent's from the moment when the parent learns of its end, so the sum over the tree, with the time
    of children that have ended, misses no process however short it was.
    """

    def __init__(self, pid: int, ours: Callable[[], Collection[int]] = frozenset) -> None:
        """`ours` returns the ids of the processes that multitrack has started itself."""
        self._pid = pid
        self._ours = ours
        self._ours_used: dict[int, _Usage] = {}
        self._first: _Sample | None = None
        self._last: _Sample | None = None

    def read(self) -> dict[str, float]:
        """Return what is used now; of CPU, since the read before. Empty where the system tells nothing."""
        usages = {pid: usage for pid in tree(self._pid) if (usage := _read(pid)) is not None}
        if not usages:
            return {}
        couriers = self._ours()
        self._ours_used.update((pid, usage) for pid, usage in usages.items() if pid in couriers)
        theirs = [usage for pid, usage in usages.items() if pid not in couriers]
        # All less what is ours, not just the rest: what a courier has used becomes its parent's when it has ended.
        everything, ours = list(usages.values()), list(self._ours_used.values())
        sample = _Sample(
            time.monotonic(),
            cpu=sum(usage.cpu for usage in everything) - sum(usage.cpu for usage in ours),
            read=sum(usage.read for usage in everything) - sum(usage.read for usage in ours),
            written=sum(usage.written for usage in everything) - sum(usage.written for usage in ours),
        )
        return self._values(sample, theirs)

    def _values(self, sample: _Sample, theirs: Sequence[_Usage]) -> dict[str, float]:
        first = self._first = self._first or sample
        values = {
            "process_memory_usage_megabytes": sum(usage.memory for usage in theirs) / MEGABYTE,
            "process_count": len(theirs),
            "process_disk_read_megabytes": max(0, sample.read - first.read) / MEGABYTE,
            "process_disk_write_megabytes": max(0, sample.written - first.written) / MEGABYTE,
        }
        if self._last is not None and sample.time - self._last.time >= SHORTEST:
            # Less than before: a process has left the tree, because what had started it has ended.
            used = max(0.0, sample.cpu - self._last.cpu)
            values["process_cpu_utilization_percentage"] = 100 * used / (sample.time - self._last.time)
        self._last = sample
        return values


def tree(pid: int) -> Iterator[int]:
    """Yield the ids of a process and all of its descendants."""
    if Path(f"/proc/{pid}/task/{pid}/children").exists():
        yield pid
        for child in _children(pid):
            yield from tree(child)
        return
    yield pid
    try:  # reads a line of every process of the machine
        yield from (child.pid for child in psutil.Process(pid).children(recursive=True))
    except _MISSING:
        return


def _children(pid: int) -> list[int]:
    """Return a process's children as Linux lists them, by the thread that has started them."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names alone, and quick
    except OSError:
        return []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123 - likewise
                found += map(int, file.read().split())
        except OSError:  # it has ended
            continue
    return found


def _read(pid: int) -> _Usage | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            cpu = times.user + times.system + times.children_user + times.children_system
            memory = process.memory_info().rss
    except _MISSING:
        return None
    try:
        disk = process.io_counters()
        return _Usage(cpu, memory, disk.read_bytes, disk.write_bytes)
    except (*_MISSING, AttributeError):  # another user's, or a system that does not count
        return _Usage(cpu, memory)

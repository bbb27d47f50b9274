"""CPU, memory, disk and network of this machine; of CPU and memory, of what the control groups allow where that is less."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from ..cgroups import cpu_limit, memory_limit
from .process import MEGABYTE, SHORTEST

_MISSING = (psutil.Error, OSError, RuntimeError, AttributeError, NotImplementedError)
"""What psutil raises where a system does not tell."""


class Machine:
    """The machine, sample by sample."""

    def __init__(self, folder: Path, root: Path = Path("/")) -> None:
        """`folder` is on the disk that is watched for its space; `root` is where `proc` and `sys` are, for the control groups."""
        self._folder = folder
        self._cpu = _cpu_of_group(root) or _cpu_of_machine()
        self._memory_limit = memory_limit(root)
        self._started: dict[str, int] = {}

    def read(self) -> dict[str, float]:
        """Return what is used now; of CPU, since the read before; read, written and sent since the first."""
        values: dict[str, float] = {}
        for part in (self._cpu, self._memory, self._space, self._disk, self._network):
            try:
                values.update(part())
            except _MISSING:
                continue
        return values

    def _memory(self) -> Iterator[tuple[str, float]]:
        limit = self._memory_limit
        used = limit.used() if limit is not None else None
        if limit is not None and used is not None:
            total = limit.size
        else:
            memory = psutil.virtual_memory()
            total, used = memory.total, memory.total - memory.available
        yield "system_memory_usage_megabytes", used / MEGABYTE
        yield "system_memory_usage_percentage", 100 * used / total

    def _space(self) -> Iterator[tuple[str, float]]:
        usage = psutil.disk_usage(str(self._folder))
        yield "disk_usage_megabytes", usage.used / MEGABYTE
        yield "disk_available_megabytes", usage.free / MEGABYTE
        yield "disk_usage_percentage", usage.percent

    def _disk(self) -> Iterator[tuple[str, float]]:
        counters = psutil.disk_io_counters(nowrap=False)
        if counters is not None:
            yield "disk_read_megabytes", self._since_start("read", counters.read_bytes)
            yield "disk_write_megabytes", self._since_start("written", counters.write_bytes)

    def _network(self) -> Iterator[tuple[str, float]]:
        # Without what a machine sends to itself.
        counters = [counter for name, counter in psutil.net_io_counters(pernic=True, nowrap=False).items() if not name.startswith("lo")]
        yield "network_receive_megabytes", self._since_start("received", sum(counter.bytes_recv for counter in counters))
        yield "network_transmit_megabytes", self._since_start("sent", sum(counter.bytes_sent for counter in counters))

    def _since_start(self, what: str, count: int) -> float:
        return max(0, count - self._started.setdefault(what, count)) / MEGABYTE


_Reader = Callable[[], Iterator[tuple[str, float]]]


def _cpu_of_group(root: Path) -> _Reader | None:
    """Return the reader of what a control group uses of its limit; None where there is none, or it does not tell."""
    limit = cpu_limit(root)
    allowed = _allowed()
    if limit is None or limit.used() is None or limit.processors >= (len(allowed) if allowed else os.cpu_count() or 1):
        return None
    last: list[tuple[float, float]] = []

    def read() -> Iterator[tuple[str, float]]:
        now, used = time.monotonic(), limit.used()
        if used is None:
            return
        if last and now - last[0][0] >= SHORTEST:
            yield "cpu_utilization_percentage", 100 * max(0.0, used - last[0][1]) / (now - last[0][0]) / limit.processors
        last[:] = [(now, used)]

    return read


def _cpu_of_machine() -> _Reader:
    """Return the reader of how busy the processors are that this process may use."""
    allowed = _allowed()
    last: list[tuple[float, float]] = []

    def read() -> Iterator[tuple[str, float]]:
        busy, total = map(sum, zip(*map(_busy_and_total, _times(allowed)), strict=True))
        if last and total - last[0][1] >= SHORTEST:
            yield "cpu_utilization_percentage", min(100.0, 100 * max(0.0, busy - last[0][0]) / (total - last[0][1]))
        last[:] = [(busy, total)]

    return read


def _allowed() -> set[int] | None:
    """Return the numbers of the processors that this process may use; None: all of them."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    return allowed if len(allowed) < (os.cpu_count() or 1) else None


def _times(allowed: set[int] | None) -> list[Any]:
    if allowed is None:
        return [psutil.cpu_times()]
    times = psutil.cpu_times(percpu=True)
    return [times[number] for number in sorted(allowed) if number < len(times)] or [psutil.cpu_times()]


def _busy_and_total(times: Any) -> tuple[float, float]:
    # A guest's time is in the user's already.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total

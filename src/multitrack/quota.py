"""How much of the disk a store takes, and a warning when that is more than it may.

Measuring walks through every folder, so nobody waits for it: the size is kept in the store, and a run that finds it old has it measured in
the background, at leisure.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from .journal import Store, write_atomically
from .messages import say, shown
from .records import now

_FILE = ".size.json"
_FRESH = 3600.0
"""Seconds that a measured size is taken for true."""
_PAUSE_EVERY, _PAUSE = 200, 0.005
"""Files between two pauses, and their length in seconds: in the background, the training goes first."""


@dataclass(frozen=True)
class Size:
    """What a store took when it was measured."""

    bytes: int
    at: int
    """Microseconds since the epoch."""

    @property
    def age(self) -> float:
        """Seconds; 0 where the clock was set back."""
        return max(0.0, (now() - self.at) / 1_000_000)


def size_of(folder: Path, *, pause: float = 0.0) -> int:
    """Return the bytes that a folder's files take on the disk. What vanishes meanwhile counts nothing."""
    total = files = 0
    for path, _, names in os.walk(folder, onerror=lambda _error: None):
        for name in names:
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(path, name))  # noqa: PTH118 - a hundred thousand Paths take seconds
                total += found.st_blocks * 512
            files += 1
            if pause and files % _PAUSE_EVERY == 0:
                time.sleep(pause)
    return total


def read_size(store: Store) -> Size | None:
    """Return what was measured last; None if nothing was."""
    try:
        found = orjson.loads((store.root / _FILE).read_bytes())
        return Size(int(found["bytes"]), int(found["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure(store: Store, *, pause: float = 0.0) -> Size:
    """Measure a store, and note the size there if it can be written to."""
    size = Size(size_of(store.root, pause=pause), now())
    with contextlib.suppress(OSError):
        write_atomically(store.root / _FILE, orjson.dumps({"bytes": size.bytes, "at": size.at}))
    return size


def watch(store: Store, quota: int) -> threading.Thread | None:
    """Warn if a store holds more than `quota` bytes. Takes no time: a size that is old is measured by a thread, which is returned."""
    known = read_size(store)
    warned = known is not None and _warn(store, known, quota)
    if known is not None and known.age < _FRESH:
        return None

    def look() -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the interpreter may be ending
            size = measure(store, pause=_PAUSE)
            if not warned:
                _warn(store, size, quota)

    thread = threading.Thread(target=look, name="multitrack-quota", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads
        return None
    return thread


def in_words(size: float) -> str:
    """Return a number of bytes for people: `12.3 GB`."""
    if abs(size) < 1000:
        return f"{size:,.0f} B"
    units = ["kB", "MB", "GB", "TB"]
    size /= 1000
    while abs(size) >= 999.95 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:,.1f} {units[0]}"


def _warn(store: Store, size: Size, quota: int) -> bool:
    if size.bytes <= quota:
        return False
    say(
        f"the store {shown(store.root)} holds {in_words(size.bytes)}, more than its quota of {in_words(quota)}: "
        "`multitrack gc --delivered` removes the runs that every target has whole"
    )
    return True

"""Who of a run's processes records what they share: the machine, and its accelerators.

The process that leads the run records its own machine. On every other machine one process does, the first to claim it; of accelerators,
which a launcher may deal out among the processes of a machine, each has one as well. A claim is a lock in the run's folder, which
the kernel gives back when its holder dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import re

from ..errors import MultitrackError
from ..journal import FileLock, Journal
from ..messages import host_name
from .recorder import Recorder

_FOLDER = "locks"


class Node:
    """This machine, as a part of a run."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.host = host_name()
        self.leads = not recorder.joined or (self.host is not None and self.host == _leading_host(recorder))
        """Whether the process that leads the run is on it."""
        self._held: dict[str, FileLock] = {}

    @property
    def prefix(self) -> str:
        """What the names of its metrics begin with, after `system/`: nothing for the leader's, else the host's name."""
        return "" if self.leads else f"{re.sub(r'[^A-Za-z0-9_.-]', '_', self.host or 'node')}/"

    def is_mine(self, what: str) -> bool:
        """Return whether this process records something of the machine, such as its environment."""
        if not self._recorder.joined:
            return True
        return not self.leads and self.claim(what)

    def claim(self, what: str) -> bool:
        """Return whether this process is the one of its run and machine that records something."""
        if not self._recorder.joined and self._recorder.rank is None:
            return True
        if what in self._held:
            return True
        folder = self._recorder.folder.path / _FOLDER
        digest = hashlib.sha256(f"{self.host}\0{what}".encode("utf-8", "surrogatepass")).hexdigest()
        lock = FileLock(folder / f"{digest[:16]}.lock")
        try:
            folder.mkdir(exist_ok=True)
            if not lock.acquire():
                return False
        except OSError:  # a disk without locks: twice is better than not at all
            return True
        self._held[what] = lock
        return True

    def release(self) -> None:
        """Give back what was claimed."""
        for lock in self._held.values():
            with contextlib.suppress(OSError):
                lock.path.unlink()
            lock.release()
        if self._held:
            with contextlib.suppress(OSError):  # others hold theirs
                (self._recorder.folder.path / _FOLDER).rmdir()
        self._held.clear()


def _leading_host(recorder: Recorder) -> str | None:
    if recorder.host is not None:
        return recorder.host
    if recorder.folder.part.exists():  # the leader has another disk, so another machine
        return None
    try:
        return Journal(recorder.folder).started().host
    except (MultitrackError, OSError):
        return None

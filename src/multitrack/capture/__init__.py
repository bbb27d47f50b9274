"""What is recorded without being asked for: the code's version, the environment, the machine's resources, the console.

    Capture        what is wanted                 Recorder   where it goes
    Captures       one run's captures, begun and ended with it

What is taken once (code, environment) is a function of the recorder, called in a thread of its own while training goes on; what is
watched (resources, console) is a `Watch`. A failure is recorded as such, said once when the run ends, and never raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..config import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What to record without being asked for: `mt.init(capture=mt.Capture(console=False))`. None: as the configuration says."""

    code: bool | None = None
    """Git commit, branch, remotes, changes and untracked files; entry point and command line; a notebook's cells."""
    environment: bool | None = None
    """Python, installed packages, lock files; machine, container, scheduler."""
    system: bool | None = None
    """CPU, memory, disk, network and GPU usage."""
    console: bool | None = None
    """What is printed to stdout and stderr."""
    code_limit: int | None = None
    """Bytes of diff and files that are kept."""
    system_interval: float | None = None
    """Seconds between two measurements of resources."""

    def within(self, settings: Settings) -> Capture:
        """Return what is wanted in the end, without a None."""
        words = {name: getattr(self, name) for name in ("code", "environment", "system", "console")}
        wanted = {name: name in settings.capture if value is None else value for name, value in words.items()}
        limit = settings.code_limit if self.code_limit is None else self.code_limit
        interval = settings.system_interval if self.system_interval is None else self.system_interval
        return Capture(**wanted, code_limit=limit, system_interval=interval)

"""Processes to kill: forked from one that has imported everything, so that each is at work within milliseconds."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field


def fork(work: Callable[[], object]) -> int:
    """Start a child that does the work and ends: with 0, or with 1 and a traceback. Return its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - a child must not go on as its parent
        traceback.print_exc()
    finally:
        os._exit(code)


def kill_after(pid: int, seconds: float) -> bool:
    """Kill a child unless it has ended after so many seconds; return whether it died of a kill, its own or this one.

    Raises:
        AssertionError: it failed.
    """
    deadline = time.monotonic() + seconds
    ended, code = os.waitpid(pid, os.WNOHANG)
    while not ended and time.monotonic() < deadline:
        time.sleep(0.001)
        ended, code = os.waitpid(pid, os.WNOHANG)
    if not ended:
        os.kill(pid, signal.SIGKILL)
        _, code = os.waitpid(pid, 0)
    exit_code = os.waitstatus_to_exitcode(code)
    assert exit_code in (0, -signal.SIGKILL), f"a worker ended with {exit_code}"
    return exit_code != 0


def do(work: Callable[[], object], seconds: float = 120) -> None:
    """Have a child do the work to its end: what it opens, no later child inherits.

    Raises:
        AssertionError: it failed, or took too long.
    """
    assert not kill_after(fork(work), seconds), "a worker did not come to its end"


def die() -> None:
    """Die as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class Tally:
    """How many kills there were, and where."""

    dice: random.Random
    kills: int = 0
    where: dict[str, int] = field(default_factory=dict)

    def count(self, where: str) -> None:
        self.kills += 1
        self.where[where] = self.where.get(where, 0) + 1

    def __str__(self) -> str:
        places = ", ".join(f"{count} {where}" for where, count in sorted(self.where.items()))
        return f"{self.kills} kills: {places}"

"""Runs `tests/kill/many.py` as the documentation says."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

MANY = Path(__file__).parents[2] / "kill" / "many.py"


def kill_many(what: str, times: int, dice: random.Random) -> str:
    """Kill so many; return what is told in the end.

    Raises:
        AssertionError: something was lost, or came twice.
    """
    seed = dice.randrange(10**6)
    command = [sys.executable, str(MANY), what, str(times), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout

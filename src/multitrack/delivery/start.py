"""Start a courier: the process that delivers a store's runs to one target."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from ..journal import Store, is_locked

_LOG_BYTES = 1 << 20
"""A log that has grown beyond this is begun anew; the one before is kept as `.log.1`."""
_STARTING = 3.0
"""Seconds that a courier may take before it holds its lock."""
_LONGEST_PAUSE = 60.0
"""Seconds between the starts of couriers that keep failing: 1, 2, 4, ... and at most this."""


@dataclass
class _Started:
    """The courier that this process has started last for a target."""

    process: subprocess.Popen[bytes]
    since: float
    failures: int = 0

    def holds_back(self) -> bool:
        """Return whether another one should wait: this one is about to take the lock, or has just failed."""
        age = time.monotonic() - self.since
        ended = self.process.poll()
        if ended is None:
            return age < _STARTING
        return ended != 0 and age < min(2.0**self.failures, _LONGEST_PAUSE)


_started: dict[tuple[str, str], _Started] = {}
_mutex = threading.Lock()


def start_courier(store: Store, target: str, secrets: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start the courier for `target` unless one is at work; return its process, None if there was no need.

    It lives on when this process ends. Secrets go through a pipe: never through its arguments or environment. One that keeps dying at
    once, because its packages cannot be imported, say, is started less and less often.

    Raises:
        OSError: it cannot be started.
    """
    lock = store.courier_lock(target)
    lock.parent.mkdir(parents=True, exist_ok=True)
    with _mutex:
        before = _started.get((str(store.root), target))
        if is_locked(lock) or (before is not None and before.holds_back()):
            return None
        process = _start(store, target, secrets)
        failures = before.failures + 1 if before is not None and before.process.returncode else 0
        _started[str(store.root), target] = _Started(process, time.monotonic(), failures)
        return process


def courier_ids() -> frozenset[int]:
    """Return the ids of the couriers that this process has started and that go on: they are no part of the user's program."""
    return frozenset(started.process.pid for started in list(_started.values()) if started.process.returncode is None)


def _start(store: Store, target: str, secrets: Mapping[str, str]) -> subprocess.Popen[bytes]:
    log = store.courier_log(target)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        # -P: without it, a `secrets.py` in the store's folder would be imported in place of the standard library's.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "multitrack.courier", target],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=store.root,
            env=_courier_environment(),
            start_new_session=True,  # a Ctrl-C meant for the training is none of its business
        )
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            # A line: its end is seen even if a child forked just now still holds the pipe open.
            pipe.write(orjson.dumps({"secrets": dict(secrets)}, option=orjson.OPT_APPEND_NEWLINE))
    return process


def _courier_environment() -> dict[str, str]:
    """One thread and no GPU: SDKs that import numpy or torch must not take what the training needs."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MULTITRACK_RUN_ID", "PYTHONPATH", "PYTHONSTARTUP")}
    if path := os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(str(os.path.abspath(part)) for part in path.split(os.pathsep) if part)  # noqa: PTH100
    return {**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

"""Start a courier: the process that delivers a store's runs to one target."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping

import orjson

from ..journal import Store, is_locked

_LOG_BYTES = 1 << 20
"""A log that has grown beyond this is begun anew; the one before is kept as `.log.1`."""


def start_courier(store: Store, target: str, secrets: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start the courier for `target` unless one is at work; return its process, None if there was no need.

    It lives on when this process ends. Secrets go through a pipe: never through its arguments or environment.

    Raises:
        OSError: it cannot be started.
    """
    lock = store.courier_lock(target)
    lock.parent.mkdir(parents=True, exist_ok=True)
    if is_locked(lock):
        return None
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
            pipe.write(orjson.dumps({"secrets": dict(secrets)}))
    return process


def _courier_environment() -> dict[str, str]:
    """One thread and no GPU: SDKs that import numpy or torch must not take what the training needs."""
    environment = {name: value for name, value in os.environ.items() if name not in ("MULTITRACK_RUN_ID", "PYTHONPATH", "PYTHONSTARTUP")}
    if path := os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(str(os.path.abspath(part)) for part in path.split(os.pathsep) if part)  # noqa: PTH100
    return {**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

"""A training step beside couriers that import their SDK and deliver, and beside none. Both take turns, each in a process of its own."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from measure import fresh, milliseconds, show

# -- the floor is the same loop with `deferred`: the run is recorded and nobody delivers

TRAIN = """
import json, os, sys, time
import numpy as np
import multitrack as mt
a, b = np.random.rand(700, 700), np.random.rand(700, 700)
for _ in range(20):
    a @ b
capture = mt.Capture(code=False, environment=False)
run = mt.init(project="bench", dir="store", quiet=True, mode={mode!r}, backends={backends!r}, capture=capture)
times, begin = [], time.perf_counter()
while time.perf_counter() - begin < {seconds}:
    start = time.perf_counter()
    a @ b
    run.log({{"loss": 0.5, "accuracy": 0.5}}, step=len(times))
    times.append(time.perf_counter() - start)
run.finish(timeout=60)
print(json.dumps(times))
"""

BACKENDS = ["local:{0}/one", "mlflow:sqlite:///{0}/two.db"]


def run(full: bool) -> None:
    import json
    import os

    rounds, seconds = (8, 12) if full else (3, 6)
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    kept: dict[str, list[list[float]]] = {"deferred": [], "online": []}
    for _ in range(rounds):
        for mode, runs in kept.items():
            with tempfile.TemporaryDirectory(prefix="multitrack-bench-", ignore_cleanup_errors=True) as folder:
                backends = [address.format(Path(folder)) for address in BACKENDS]
                linger = {"MULTITRACK_COURIER_LINGER": "0.1"}
                runs.append(
                    json.loads(fresh(TRAIN.format(mode=mode, backends=backends, seconds=seconds), cwd=folder, env={**threads, **linger}))
                )
    rows = []
    for mode, times in kept.items():
        ratios = [statistics.median(own) / statistics.median(low) for own, low in zip(times, kept["deferred"], strict=True)]
        means = [statistics.mean(own) / statistics.mean(low) for own, low in zip(times, kept["deferred"], strict=True)]
        every = sorted(time for one in times for time in one)
        name = "no courier (deferred)" if mode == "deferred" else "two couriers: local, MLflow sqlite"
        rows.append(
            (
                name,
                milliseconds(every[len(every) // 2]),
                milliseconds(every[len(every) * 99 // 100]),
                f"{statistics.median(ratios):.3f}",
                f"{statistics.median(means):.3f}",
            )
        )
    columns = ("a step (a product of two 700 x 700 matrices, one thread, and run.log)", "p50", "p99", "p50 / none", "mean / none")
    show(f"training beside couriers, which start with it, {os.cpu_count()} cores", columns, rows)

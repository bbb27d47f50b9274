"""A training step beside couriers that import their SDK and deliver, and beside the same couriers held, in turns of a quarter second."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Sequence

from measure import fresh, milliseconds, show

# -- the floor is the same loop in the same process while its couriers are held by SIGSTOP

TRAIN = """
import contextlib, json, os, signal, time
import numpy as np
import multitrack as mt
from multitrack.delivery import start
a, b = np.random.rand(500, 500), np.random.rand(500, 500)
for _ in range(20):
    a @ b
capture = mt.Capture(code=False, environment=False, system=False, console=False)
run = mt.init(project="bench", dir="store", quiet=True, mode="online", backends={backends!r}, capture=capture)
pids = [one.process.pid for one in start._started.values()]

def hold(held):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP if held else signal.SIGCONT)

blocks, step = [], 0
try:
    for block in range({blocks}):
        hold(block % 2 == 0)
        times, begin = [], time.perf_counter()
        while time.perf_counter() - begin < 0.25:
            before = time.perf_counter()
            a @ b
            run.log({{"loss": 0.5, "accuracy": 0.5}}, step=step)
            times.append(time.perf_counter() - before)
            step += 1
        blocks.append(times)
finally:
    hold(False)
run.finish(timeout=60)
print(json.dumps(blocks))
"""


def run(full: bool) -> None:
    blocks = 400 if full else 80
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-", ignore_cleanup_errors=True) as folder:
        backends = [f"local:{folder}/one", f"mlflow:sqlite:///{folder}/two.db"]
        env = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MULTITRACK_COURIER_LINGER": "0.1"}
        times: list[list[float]] = json.loads(fresh(TRAIN.format(backends=backends, blocks=blocks), cwd=folder, env=env).splitlines()[-1])
    held, beside = times[0::2], times[1::2]
    rows = [_row("couriers held", held, held), _row("two couriers: local, MLflow sqlite, from their start on", beside, held)]
    columns = ("a step: a product of two 500 x 500 matrices, one thread, and run.log", "p50", "p99", "p50 / held", "mean / held")
    show(f"{sum(map(len, times)):,} steps, {os.cpu_count()} cores", columns, rows)


def _row(name: str, blocks: Sequence[Sequence[float]], floor: Sequence[Sequence[float]]) -> tuple[str, ...]:
    every = sorted(time for times in blocks for time in times)
    medians = statistics.median(statistics.median(own) / statistics.median(low) for own, low in zip(blocks, floor, strict=True))
    means = statistics.median(statistics.mean(own) / statistics.mean(low) for own, low in zip(blocks, floor, strict=True))
    return (name, milliseconds(every[len(every) // 2]), milliseconds(every[len(every) * 99 // 100]), f"{medians:.3f}", f"{means:.3f}")

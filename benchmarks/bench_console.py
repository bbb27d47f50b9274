"""`print` to a pipe while the console is recorded, beside the same without a run; and what it adds to a run's start and end."""

from __future__ import annotations

import json
import statistics
import tempfile

from measure import fresh, microseconds, milliseconds, show

PRINT = """
import json, os, sys, time
import multitrack as mt
COUNT = {count}
recorded = {mode!r} != "floor"
capture = mt.Capture(code=False, environment=False, system=False, console=recorded)
mt.init
start = time.perf_counter()
run = mt.init(dir="store", quiet=True, capture=capture)
begun = time.perf_counter() - start
times = []
for _ in range(10):
    time.sleep(0.05)
    start = time.perf_counter()
    for number in range(COUNT):
        print("epoch 1 step", number, "loss 0.1234567", flush={flush})
    times.append((time.perf_counter() - start) / COUNT)
start = time.perf_counter()
run.finish()
json.dump([sorted(times)[5], begun, time.perf_counter() - start], open("result.json", "w"))
"""

MODES = {
    "floor: not recorded": ("floor", {}),
    "recorded": ("auto", {}),
    "recorded, `python`": ("python", {"MULTITRACK_CONSOLE": "python"}),
}


def run(full: bool) -> None:
    """Print in fresh processes, each case in turn."""
    count, rounds = (20_000, 7) if full else (5_000, 3)
    for flush, title in ((False, "print(...)"), (True, "print(..., flush=True)")):
        kept: dict[str, list[list[float]]] = {name: [] for name in MODES}
        for _ in range(rounds):
            for name, (mode, variables) in MODES.items():
                with tempfile.TemporaryDirectory() as folder:
                    fresh(PRINT.format(count=count, mode=mode, flush=flush), cwd=folder, env={**variables, "PYTHONUNBUFFERED": ""})
                    with open(f"{folder}/result.json") as file:  # noqa: PTH123
                        kept[name].append(json.load(file))
        rows = []
        for name, results in kept.items():
            a_print, begin, end = (statistics.median(column) for column in zip(*results, strict=True))
            rows.append([name, microseconds(a_print), milliseconds(begin), milliseconds(end)])
        show(f"{title}, {count * 10:,} lines to a pipe", ["", "a print", "init", "finish"], rows)

"""`init` with two remote targets that nobody answers at: in fresh processes, beyond the import and before capture."""

from __future__ import annotations

import statistics
import tempfile

from measure import fresh, milliseconds, show

# -- the floor: a folder, three synced files, and two processes started

FLOOR = """
import os, subprocess, sys, time
start = time.perf_counter()
os.makedirs("store/run/records")
for name in ("record", "one", "two"):
    with open(f"store/run/{name}.json", "w") as file:
        file.write("{}")
children = [subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE, start_new_session=True) for _ in range(2)]
print(time.perf_counter() - start)
for child in children:
    child.communicate()
"""

INIT = """
import os, time
import multitrack as mt
mt.init
def begin(project):
    start = time.perf_counter()
    run = mt.init(
        project=project, params={{"lr": 0.1}}, dir="store", quiet=True, mode={mode!r}, backends={backends!r},
        capture=mt.Capture(code=False, environment=False, system=False, console=False),
    )
    return run, time.perf_counter() - start
run, first = begin("one")
run.finish(timeout=0)
again, second = begin("two")
again.finish(timeout=0)
print(first, second)
from multitrack.delivery import start
for courier in start._started.values():
    courier.process.kill()
    courier.process.wait()
"""

REMOTE = ["mlflow:http://127.0.0.1:9", "mlflow:http://127.0.0.1:10"]


def run(full: bool) -> None:
    rounds = 15 if full else 6
    cases = {
        "floor: files, two processes": FLOOR,
        "init, no target": INIT.format(mode="online", backends=["local"]),
        "init, two remote targets, deferred": INIT.format(mode="deferred", backends=REMOTE),
        "init, two remote targets, couriers started": INIT.format(mode="online", backends=REMOTE),
    }
    kept: dict[str, list[list[float]]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, code in cases.items():
            with tempfile.TemporaryDirectory(prefix="multitrack-bench-", ignore_cleanup_errors=True) as folder:
                times = [float(word) for word in fresh(code, cwd=folder).split()]
            if number:
                kept[name].append(times)
    rows = [
        (name, milliseconds(statistics.median(one[0] for one in times)), milliseconds(min(one[0] for one in times)), _second(times))
        for name, times in kept.items()
    ]
    show("init, after the import and without capture", ("", "first, median", "first, best", "second in the process, median"), rows)


def _second(times: list[list[float]]) -> str:
    return milliseconds(statistics.median(one[1] for one in times)) if len(times[0]) > 1 else "-"

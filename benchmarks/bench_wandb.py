"""Runs to W&B's service and to offline folders, and back, requests counted. The service is the tests' double, in this process."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from journals import METRICS, write_run
from measure import fresh, rate, show

sys.path.append(str(Path(__file__).parents[1] / "tests"))

if TYPE_CHECKING:
    from services.wandb_double.server import WandbDouble

STEPS = 1_000

# -- the floor: a bare loop over the SDK for one run, and its own reading of it. What importing it costs is not in the numbers.

_LOOP = f"""
import time, wandb
run = wandb.init(entity="team", project="floor", id="floor", settings=wandb.Settings(x_disable_stats=True, silent=True, console="off"))
start = time.perf_counter()
for step in range({STEPS}):
    run.log({{f"metric_{{metric}}": step / 7 + metric for metric in range({METRICS})}}, step=step)
run.finish()
print(time.perf_counter() - start)
"""
_SCAN = f"""
import time, wandb
run = wandb.Api().run("team/floor/floor")
start = time.perf_counter()
assert sum(1 for _ in run.scan_history(page_size=1000)) == {STEPS}
print(time.perf_counter() - start)
"""


def run(full: bool) -> None:
    if find_spec("wandb") is None or find_spec("graphql") is None:
        print("wandb, or graphql-core for the double of its service, is not installed: left out")
        return
    from bench_comet import fill

    from services.wandb_double.server import WandbDouble

    runs = 50 if full else 5
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as text, WandbDouble() as double:
        folder = Path(text)
        (folder / "cache").mkdir()
        os.environ |= {"WANDB_BASE_URL": double.url, "WANDB_API_KEY": double.key, "WANDB_ERROR_REPORTING": "false"}
        os.environ |= {"WANDB_CACHE_DIR": str(folder / "cache"), "WANDB_DIR": str(folder / "cache"), "WANDB_SILENT": "true"}
        for _ in range(runs):
            write_run(folder / "store", METRICS * STEPS, fill)
        for name, code in (("floor: a loop over the SDK", _LOOP), ("floor: the SDK's scan_history", _SCAN)):
            rows.append(_floor(name, code, folder, double))
        for name, source, destination in (
            ("local to W&B", f"local:{folder}/store", "wandb:team/bench"),
            ("W&B to local", "wandb:team/bench", f"local:{folder}/back"),
            ("local to offline folders", f"local:{folder}/store", f"wandb:{folder}/wandb"),
            ("offline folders to local", f"wandb:{folder}/wandb", f"local:{folder}/again"),
        ):
            rows.append(_way(name, source, destination, runs, folder, double))
    show(f"{runs} runs x {METRICS} metrics x {STEPS:,} steps", ("", "runs", "time", "points", "requests"), rows)


def _floor(name: str, code: str, folder: Path, double: WandbDouble) -> tuple[str, ...]:
    seconds, asked = _counted(lambda: float(fresh(code, cwd=folder, env=os.environ).split()[-1]), double)
    return name, "1 of 1", f"{seconds:.2f} s", rate(METRICS * STEPS, seconds), str(asked)


def _way(name: str, source: str, destination: str, runs: int, folder: Path, double: WandbDouble) -> tuple[str, ...]:
    import multitrack as mt

    def move() -> float:
        start = time.perf_counter()
        report = mt.migrate(source, destination, staging=folder / name.replace(" ", "-"))
        arrived.append(sum(outcome.points == METRICS * STEPS for outcome in report.outcomes))
        return time.perf_counter() - start

    arrived: list[int] = []
    seconds, asked = _counted(move, double)
    return name, f"{arrived[0]} of {runs}", f"{seconds:.2f} s", rate(runs * METRICS * STEPS, seconds), str(asked)


def _counted(act: Callable[[], float], double: WandbDouble) -> tuple[float, int]:
    """Return what it returns, and how many requests the service was asked in the meantime."""
    before = double.requests.total()
    return act(), double.requests.total() - before

"""Runs to W&B's offline folders and its service, and back, requests counted. The service is the tests' double, in this process."""

from __future__ import annotations

import os
import shutil
import subprocess
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

# -- folders: the SDK's own offline runs, the messages of a log and nothing made of them, and another converter of such folders.

_OFFLINE = f"""
import sys, time, wandb
start = time.perf_counter()
quiet = wandb.Settings(x_disable_stats=True, silent=True, console="off")
for number in range(int(sys.argv[2])):
    run = wandb.init(project="floor", mode="offline", dir=sys.argv[1], settings=quiet)
    for step in range({STEPS}):
        run.log({{f"metric_{{metric}}": step / 7 + metric for metric in range({METRICS})}}, step=step)
    run.finish()
print(time.perf_counter() - start)
"""
_PARSE = """
import json, sys, time
from pathlib import Path
from multitrack_wandb.log_file import read_log
from wandb.proto.wandb_internal_pb2 import Record
start = time.perf_counter()
for log in Path(sys.argv[1]).glob("offline-run-*/*.wandb"):
    with log.open("rb") as file:
        for content in read_log(file):
            for item in Record.FromString(content).history.item:
                json.loads(item.value_json)
print(time.perf_counter() - start)
"""
_READ = """
import sys, time
from multitrack.backend import RunFilter
from multitrack.records import Metrics, Points
from multitrack_wandb import WandbBackend
start = time.perf_counter()
source, points = WandbBackend(sys.argv[1]).source(), 0
for run in source.runs(RunFilter()):
    for record in source.read(run):
        points += len(record.values) if isinstance(record, (Metrics, Points)) else 0
assert points == int(sys.argv[2]), points
print(time.perf_counter() - start)
"""
_SWANLAB = """
import sys, time, swanlab
from pathlib import Path
from swanlab.converter.wb.local_converter import WandbLocalConverter
swanlab.login = lambda *_, **__: None
start = time.perf_counter()
WandbLocalConverter(project="floor", mode="offline", log_dir=sys.argv[2]).run(root_wandb_dir=sys.argv[1])
seconds = time.perf_counter() - start
assert len([*Path(sys.argv[2]).glob("run-*")]) == int(sys.argv[3])
print(seconds)
"""
"""What `swanlab convert -t wandb-local --mode offline` does, but for the login to its service, which it asks for even so."""


def run(full: bool) -> None:
    if find_spec("wandb") is None:
        print("wandb is not installed: left out")
        return
    from bench_comet import fill

    runs = 50 if full else 5
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as text:
        folder = Path(text)
        (folder / "cache").mkdir()
        os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(folder / "cache"), "WANDB_SILENT": "true"}
        os.environ |= {"WANDB_DIR": str(folder / "cache")}
        for _ in range(runs):
            write_run(folder / "store", METRICS * STEPS, fill)
        _measure_folders(folder, runs)
        if find_spec("graphql") is None:
            print("graphql-core for the double of the service is not installed: the service is left out")
        else:
            _measure_service(folder, runs)


def _measure_folders(folder: Path, runs: int) -> None:
    """Into offline folders, and out of those of the SDK. What importing the SDKs costs is not in the numbers."""
    looped, points = _alone(_OFFLINE, folder, runs), runs * METRICS * STEPS
    made = folder / "wandb"
    rows = [
        _line("floor: a loop over the SDK, offline", runs, looped),
        _line("**local to offline folders**", *_move(f"local:{folder}/store", f"wandb:{folder}/ours", folder / "staged-out")),
        _line("floor: the SDK's logs parsed", runs, _alone(_PARSE, made)),
        _line("**the SDK's folders read as records**", runs, _alone(_READ, made, points)),
        _line("**the SDK's folders to local**", *_move(f"wandb:{made}", f"local:{folder}/again", folder / "staged-in")),
    ]
    if (swanlab := shutil.which("swanlab")) is None:
        print("swanlab is not on the PATH: its converter is left out")
    else:
        python = str(Path(swanlab).with_name("python"))
        seconds = _alone(_SWANLAB, made, folder / "swanlog", runs, python=python)
        rows.append(_line("the SDK's folders to swanlab's, by its own converter", runs, seconds))
    show(f"folders: {METRICS} metrics x {STEPS:,} steps a run", ("", "runs", "time", "points"), rows)


def _alone(code: str, *arguments: object, python: str = sys.executable) -> float:
    """Return the seconds that code in a process of its own says it took."""
    command = [python, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-2000:])
    return float(done.stdout.split()[-1])


def _line(name: str, runs: int, seconds: float) -> tuple[str, ...]:
    return name, str(runs), f"{seconds:.2f} s", rate(runs * METRICS * STEPS, seconds)


def _move(source: str, destination: str, staging: Path) -> tuple[int, float]:
    """Migrate; return how many runs arrived with every point, and the seconds that it took."""
    import multitrack as mt

    start = time.perf_counter()
    report = mt.migrate(source, destination, staging=staging)
    return sum(outcome.points == METRICS * STEPS for outcome in report.outcomes), time.perf_counter() - start


def _measure_service(folder: Path, runs: int) -> None:
    from services.wandb_double.server import WandbDouble

    with WandbDouble() as double:
        os.environ |= {"WANDB_BASE_URL": double.url, "WANDB_API_KEY": double.key}
        rows = [
            _floor("floor: a loop over the SDK", _LOOP, folder, double),
            _floor("floor: the SDK's scan_history", _SCAN, folder, double),
            _way("local to W&B", f"local:{folder}/store", "wandb:team/bench", runs, folder, double),
            _way("W&B to local", "wandb:team/bench", f"local:{folder}/back", runs, folder, double),
        ]
    show(f"service: {runs} runs x {METRICS} metrics x {STEPS:,} steps", ("", "runs", "time", "points", "requests"), rows)


def _floor(name: str, code: str, folder: Path, double: WandbDouble) -> tuple[str, ...]:
    seconds, asked = _counted(lambda: float(fresh(code, cwd=folder, env=os.environ).split()[-1]), double)
    return name, "1 of 1", f"{seconds:.2f} s", rate(METRICS * STEPS, seconds), str(asked)


def _way(name: str, source: str, destination: str, runs: int, folder: Path, double: WandbDouble) -> tuple[str, ...]:
    def move() -> float:
        number, seconds = _move(source, destination, folder / name.replace(" ", "-"))
        arrived.append(number)
        return seconds

    arrived: list[int] = []
    seconds, asked = _counted(move, double)
    return name, f"{arrived[0]} of {runs}", f"{seconds:.2f} s", rate(runs * METRICS * STEPS, seconds), str(asked)


def _counted(act: Callable[[], float], double: WandbDouble) -> tuple[float, int]:
    """Return what it returns, and how many requests the service was asked in the meantime."""
    before = double.requests.total()
    return act(), double.requests.total() - before

"""A run mirrored live to W&B by a courier, as `MULTITRACK_BACKENDS` asks for it, while the courier dies and the service goes away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from multitrack.delivery import Ledger
from services.wandb_double.server import WandbDouble
from services.wandb_double.state import CONSOLE, Run
from support.couriers import Bench, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

POINTS = 300
TRAINING = f"""
run = mt.init(project="mirror", name="svc", params={{"C": 1.0}}, tags=["live"])
for i in range({POINTS}):
    run.log({{"loss": 1 / (i + 1), "n": i}}, step=i)
    time.sleep(0.01)
    if i % 100 == 99:
        print(f"line {{i}}", flush=True)
        open(f"at-{{i}}", "w").close()
        while os.path.exists(f"wait-{{i}}"):
            time.sleep(0.05)
open("note.txt", "w").write("hello")
run.log_artifact("note.txt", kind="note")
run.finish(timeout=100)
"""


@pytest.fixture
def double() -> Iterator[WandbDouble]:
    """A service of the test's own."""
    with WandbDouble() as double:
        yield double


def environment(double: WandbDouble, folder: Path, **more: str) -> dict[str, str]:
    """Return what says where W&B is; nothing else in the script does."""
    return {
        "MULTITRACK_BACKENDS": "wandb:team/mirror",
        "WANDB_BASE_URL": double.url,
        "WANDB_API_KEY": double.key,
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CACHE_DIR": str(folder / "cache"),
        **more,
    }


def there(double: WandbDouble) -> Run:
    (run,) = double.state.all_runs()
    return run


def held(double: WandbDouble) -> int:
    return sum(len(run.history) for run in double.state.all_runs())


def check(double: WandbDouble, bench: Bench) -> None:
    run = there(double)
    assert [row["n"] for row in run.history] == list(range(POINTS))
    assert [row["_step"] for row in run.history] == list(range(POINTS))
    assert (run.name, run.display_name, run.state, run.tags) == (bench.only_run().id, "svc", "finished", ["live"])
    assert run.params["C"] == 1.0
    assert "complete" in run.params["multitrack"]
    assert [line.split("line ")[1] for line in run.lines[CONSOLE] if "line " in line] == ["99", "199", "299"]
    assert run.outputs[0].files["note.txt"].content == b"hello"
    assert double.unknown == []


def test_a_run_arrives_while_it_goes_on_though_couriers_and_wandb_core_die(bench: Bench, double: WandbDouble) -> None:
    for i in (99, 199):
        (bench.folder / f"wait-{i}").touch()
    process = bench.start(TRAINING, environment(double, bench.folder, MULTITRACK_CAPTURE="console"))

    wait_for((bench.folder / "at-99").exists, 60)
    wait_for(lambda: held(double) == 100, 60)
    assert there(double).state == "running"
    (courier,) = bench.couriers()
    cores = courier.children(recursive=True)
    os.kill(courier.pid, signal.SIGKILL)
    psutil.wait_procs(cores, timeout=10)
    assert not [core for core in cores if core.is_running() and core.status() != psutil.STATUS_ZOMBIE], "wandb-core ends with its courier"

    (bench.folder / "wait-99").unlink()
    wait_for((bench.folder / "at-199").exists, 60)
    wait_for(lambda: held(double) == 200, 60)
    (courier,) = bench.couriers()
    for core in courier.children(recursive=True):
        core.kill()
    double.stop()
    (bench.folder / "wait-199").unlink()
    wait_for((bench.folder / "at-299").exists, 60)
    wait_for(lambda: any(ledger.progress().state == "retrying" for ledger in Ledger.of(bench.only_run())), 60)
    double.restart()

    _, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    check(double, bench)
    assert f"{double.url}/team/mirror/runs/{bench.only_run().id}" in err


def test_a_wrong_key_is_one_line_and_a_later_sync_delivers(bench: Bench, double: WandbDouble) -> None:
    _, err = bench.run(
        "run = mt.init(project='mirror')\nrun.log({'n': 0}, step=0)\nrun.finish(timeout=60)\n",
        environment(double, bench.folder, WANDB_API_KEY="x" * 40),
    )
    assert "refuses the login" in err
    assert "x" * 40 not in err + bench.log_of("wandb")
    assert held(double) == 0

    done = bench.multitrack("sync", env=environment(double, bench.folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert held(double) == 1

"""Moving runs to W&B and back: from journals, and from MLflow's own databases, through the real wandb-core and a double of the service."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from multitrack.backend import ATTACHED_RECORDS
from multitrack.testing.conformance import ConformanceSuite
from multitrack.testing.scene import Scene
from multitrack_local import LocalBackend
from services.wandb_double.server import WandbDouble
from services.wandb_double.state import HISTORY
from support import foreign_mlflow

pytestmark = pytest.mark.slow

Database = Callable[[str], str]
THERE = "wandb:team/"
"""Each run in the project of its own name."""


@pytest.fixture(scope="module")
def running_double() -> Iterator[WandbDouble]:
    with WandbDouble() as double:
        yield double


@pytest.fixture
def double(running_double: WandbDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbDouble]:
    """The service, empty, logged in to."""
    running_double.clear()
    monkeypatch.chdir(tmp_path)
    for name in ("cache", "config"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb-cache"))
    monkeypatch.setenv("WANDB_BASE_URL", running_double.url)
    monkeypatch.setenv("WANDB_API_KEY", running_double.key)
    yield running_double
    assert running_double.unknown == []


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; making one takes seconds, copying it none."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Database:
    """Makes an empty MLflow database of the test's own; returns its address."""

    def make(name: str) -> str:
        file = tmp_path / f"{name}.db"
        file.write_bytes(empty_database.read_bytes())
        return f"mlflow:sqlite:///{file}"

    return make


def record(folder: Path) -> str:
    """Record runs with something of everything; return the address of their store."""
    folder.mkdir()
    scene = Scene(folder, LocalBackend(str(folder / "nowhere")))
    suite = ConformanceSuite()
    parent = suite.rich_run(scene)
    scene.record(scene.start(parent=parent.id, tags={"long": "z" * 1000}), [], status="failed")
    return f"local:{scene.store.root}"


def build_mlflow(address: str, tmp_path: Path) -> None:
    """Make MLflow runs that are hard to move, with MLflow's own client."""
    from mlflow import MlflowClient

    folder = tmp_path / "files"
    folder.mkdir()
    foreign_mlflow.build(MlflowClient(address.removeprefix("mlflow:")), "hard", folder)


def forget_attached(double: WandbDouble) -> None:
    """Have the service lose the records that go along with each run: what is left is what it holds in its own way."""
    for run in double.state.all_runs():
        run.files.pop(ATTACHED_RECORDS, None)


# -- there and back -------------------------------------------------------------------------------------------------------------


def test_local_to_wandb_and_back_is_the_identity(double: WandbDouble, tmp_path: Path) -> None:
    here = record(tmp_path / "store")

    done = mt.migrate(here, THERE)

    assert done.ok, str(done)
    there = mt.verify(here, THERE)
    assert there.ok, str(there)
    assert {run.attached for run in there.runs} == {"exact"}
    assert mt.migrate(THERE, "local:./back").ok
    assert mt.verify(here, "local:./back").counts == {"identical": 2}


def test_what_wandb_itself_holds_of_a_run_is_all_of_it(double: WandbDouble, tmp_path: Path) -> None:
    """Without the attached records: natively, nothing is missing but what was declared."""
    here = record(tmp_path / "store")
    assert mt.migrate(here, THERE).ok
    forget_attached(double)

    assert mt.migrate(THERE, "local:./native").ok

    assert mt.verify(here, "local:./native").counts == {"identical": 2}


def test_local_to_an_offline_folder_and_back_is_the_identity(double: WandbDouble, tmp_path: Path) -> None:
    here = record(tmp_path / "store")

    assert mt.migrate(here, "wandb:./new").ok  # the first run makes the folder
    assert mt.migrate("wandb:./new", "local:./back").ok

    assert mt.verify(here, "local:./back").counts == {"identical": 2}
    assert not double.requests


def test_mlflow_to_wandb_to_mlflow(double: WandbDouble, database: Database, tmp_path: Path) -> None:
    here, back = database("here"), database("back")
    build_mlflow(here, tmp_path)

    done = mt.migrate(here, THERE, deleted=True)

    assert done.ok, str(done)
    there = mt.verify(here, THERE, deleted=True)
    assert there.ok, str(there)
    assert {run.attached for run in there.runs} == {"exact"}
    assert mt.migrate(THERE, back, deleted=True).ok
    report = mt.verify(here, back, deleted=True)
    assert report.ok, str(report)
    # A tag that begins as ours do is renamed on its way into MLflow, wherever it comes from.
    assert report.counts == {"identical": len(there.runs) - 1, "identical but for declared losses": 1}


def test_run_again_it_leaves_alone_what_has_arrived(double: WandbDouble, tmp_path: Path) -> None:
    here = record(tmp_path / "store")
    mt.migrate(here, THERE)
    lines = {run.name: list(run.lines[HISTORY]) for run in double.state.all_runs()}

    assert mt.migrate(here, THERE).counts == {"unchanged": 2}
    assert mt.migrate(THERE, "local:./back").counts == {"migrated": 2}
    assert mt.migrate(THERE, "local:./back").counts == {"unchanged": 2}

    assert {run.name: run.lines[HISTORY] for run in double.state.all_runs()} == lines


def test_what_people_change_at_wandb_comes_back(double: WandbDouble, tmp_path: Path) -> None:
    here = record(tmp_path / "store")
    mt.migrate(here, THERE)
    run = next(run for run in double.state.all_runs() if run.lines[HISTORY])
    run.fields["notes"] = "edited there"
    run.tags.append("picked")

    mt.migrate(THERE, "local:./back")
    mt.migrate(THERE, "local:./original", as_recorded=True)

    view = mt.open("local:./back").run(run.name)
    assert (view.notes, view.tags) == ("edited there", {"team": "vision", "base": None, "picked": None})
    assert mt.verify(here, "local:./original").counts == {"identical": 2}


# -- interruptions --------------------------------------------------------------------------------------------------------------


def run_with_kills(double: WandbDouble, command: list[str], kills: int, dice: random.Random) -> None:
    """Run a program, kill it `kills` times at some request of its, and run it to its end."""
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        left = [dice.randrange(5, 60)]

        def count(_: str, process: subprocess.Popen[str] = process, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == 0:
                process.send_signal(signal.SIGKILL)

        double.on_request = count
        output, _errors = process.communicate(timeout=120)
        double.on_request = lambda _: None
        assert process.returncode == -signal.SIGKILL, output
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def record_many(folder: str, count: int, rows: int) -> str:
    for number in range(count):
        with mt.init(project="many", name=f"run {number}", dir=folder, quiet=True, capture=QUICK, params={"n": number}) as run:
            for step in range(rows):
                run.log({"loss": 1 / (step + 1), "n": number}, step=step)
    return f"local:./{folder}"


QUICK = mt.Capture(code=False, environment=False, system=False, console=False)


def test_killed_at_random_and_run_again_every_row_is_there_once(double: WandbDouble, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    here = record_many("store", 12, 300)

    def migrate(source: str, destination: str) -> list[str]:
        return [sys.executable, "-m", "multitrack.cli", "migrate", source, destination, "--staging", str(tmp_path / "staging")]

    run_with_kills(double, migrate(here, THERE), 4, random.Random(seed))

    found = list(double.state.all_runs())
    assert len(found) == 12
    assert [[row["loss"] for row in run.history if "loss" in row] for run in found] == [[1 / (step + 1) for step in range(300)]] * 12
    assert mt.verify(here, THERE).ok
    run_with_kills(double, migrate(THERE, "local:./back"), 1, random.Random(seed))
    assert mt.verify(here, "local:./back").counts == {"identical": 12}


def test_an_outage_in_the_middle_of_reading_is_waited_out(double: WandbDouble, tmp_path: Path) -> None:
    here = record(tmp_path / "store")
    mt.migrate(here, THERE)
    answers: dict[str, Any] = {"times": 2, "headers": {"Retry-After": "1"}}

    with double.fault("MultitrackWholeRun", 429, **answers), double.fault("MultitrackHistory", 503, times=1):
        assert mt.migrate(THERE, "local:./back").ok

    assert mt.verify(here, "local:./back").counts == {"identical": 2}

"""The examples, run as a reader would run them; the third-party backend is installed as one would be."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def run_python(tmp_path: Path):
    """Return a function that runs Python in an empty folder, with nobody's settings, and returns what it said: on stderr if it failed."""

    def run(*arguments: str, paths: tuple[Path, ...] = (), fails: bool = False) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MULTITRACK_", "MLFLOW_", "_MLFLOW_"))}
        env = {
            **kept,
            "HOME": str(tmp_path / "home"),  # neither a user's configuration nor a user's cache
            "XDG_CONFIG_HOME": str(tmp_path / "home"),
            "XDG_CACHE_HOME": str(tmp_path / "home"),
            "MULTITRACK_CAPTURE": "code,environment",  # points are counted
            "MULTITRACK_COURIER_LINGER": "0",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        }
        (tmp_path / "work").mkdir(exist_ok=True)
        command = [sys.executable, *arguments]
        done = subprocess.run(command, check=False, cwd=tmp_path / "work", env=env, capture_output=True, text=True, timeout=240)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else done.stdout

    return run


def points(database: Path) -> int:
    with closing(sqlite3.connect(database)) as opened:
        return opened.execute("select count(*) from metrics where key not like '%summary/%'").fetchone()[0]


def test_quickstart_records_a_run_and_reads_it_back(run_python, tmp_path: Path) -> None:
    printed = run_python(str(EXAMPLES / "quickstart.py"))

    assert "first: finished, depth 3, best accuracy 0.95" in printed
    assert "losses: [0.741, 0.549" in printed
    assert len(list((tmp_path / "work" / ".multitrack" / "quickstart").glob("*/run.json"))) == 1


def test_media_are_logged_and_read_back(run_python) -> None:
    printed = run_python(str(EXAMPLES / "media.py"))

    assert "6 images; the first of them: media/images/val/samples/0-" in printed
    assert "confusion at step 2: [['cat', 10], ['dog', 9]]" in printed
    assert "weights: 1000 in 16 bins" in printed


@pytest.mark.slow
def test_mirror_brings_every_point_to_both_targets(run_python, tmp_path: Path) -> None:
    printed = run_python(str(EXAMPLES / "mirror.py"))

    assert printed.count("finished, 100 points") == 2
    assert points(tmp_path / "work" / "first.db") == points(tmp_path / "work" / "second.db") == 100


@pytest.mark.slow
def test_migrate_moves_and_verifies(run_python, tmp_path: Path) -> None:
    printed = run_python(str(EXAMPLES / "migrate.py"))

    assert "1 planned" in printed
    assert "1 migrated; 100 points" in printed
    assert "1 identical" in printed
    assert points(tmp_path / "work" / "copy.db") == 100


@pytest.mark.slow
def test_deferred_delivers_nothing_until_sync(run_python, tmp_path: Path) -> None:
    run_python(str(EXAMPLES / "deferred.py"))
    assert not (tmp_path / "work" / "later.db").exists()

    run_python("-m", "multitrack.cli", "sync")
    assert points(tmp_path / "work" / "later.db") == 100


# -- a backend of somebody else's -----------------------------------------------------------------------------------------

RECORD = """
import math, sys
import multitrack as mt

with mt.init(project="p", name="a", params={"m": {"d": 3}, "lr": 0.1}, tags={"x": None, "y": "1"}, backends=sys.argv[1]) as run:
    run.set_notes("notes")
    for i in range(50):
        run.log({"loss": 1 / (i + 1), "nan": math.nan, "int": 5, "text": "t"}, step=i if i % 2 else None)
    run.log({"inf": math.inf, "late": 1.0}, step=-3)
    with open("file.txt", "w") as file:
        file.write("content")
    run.log_artifact("file.txt", "folder/file.txt")
    run.log_artifact("s3://bucket/object", "reference", reference=True)
    run.summary["best"] = 0.5
"""
"""A run with what SQLite and the backend's tables hold, and with what they do not."""
MOVE = """
import sys
import multitrack as mt

source, destination = sys.argv[1:]
report = mt.migrate(source, destination)
verified = mt.verify(source, destination)
again = mt.migrate(source, destination)
print(report, verified, again, sep="\\n")
sys.exit(0 if report.ok and verified.ok and again.counts == {"unchanged": 1} else 1)
"""


@pytest.fixture(scope="session")
def sqlite_backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip has installed the example backend into, without a network."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    shutil.copytree(EXAMPLES / "backend-sqlite", source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    subprocess.run([*pip, str(folder / "packages"), str(source)], check=True, capture_output=True, timeout=120)
    return folder / "packages"


@pytest.mark.slow
def test_an_installed_backend_shows_up(run_python, sqlite_backend: Path) -> None:
    assert "sqlite" in run_python("-m", "multitrack.cli", "backends", paths=(sqlite_backend,))
    assert "sqlite" not in run_python("-m", "multitrack.cli", "backends")


@pytest.mark.slow
def test_a_third_party_backend_passes_the_conformance_suite(run_python, sqlite_backend: Path) -> None:
    suite = sqlite_backend.parent / "source" / "tests"
    said = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(suite), paths=(sqlite_backend,))
    assert " passed" in said


@pytest.mark.slow
def test_a_third_party_backend_is_delivered_to_live(run_python, sqlite_backend: Path, tmp_path: Path) -> None:
    run_python("-c", RECORD, "sqlite:./runs.db", paths=(sqlite_backend,))

    with closing(sqlite3.connect(tmp_path / "work" / "runs.db")) as database:
        losses = database.execute("select step, value from points where metric = 'loss' order by time").fetchall()
        nans = database.execute("select count(*) from points where metric = 'nan' and value is null").fetchone()[0]
        (status,) = database.execute("select status from runs").fetchone()
        params = dict(database.execute("select name, value from params"))
        (sha256,) = database.execute("select sha256 from files where name = 'folder/file.txt'").fetchone()
    assert losses == [(i if i % 2 else None, 1 / (i + 1)) for i in range(50)]
    assert nans == 50
    assert status == "finished"
    assert params == {"m.d": "3", "lr": "0.1"}
    assert (tmp_path / "work" / "runs.db.files" / sha256).read_text() == "content"
    verified = run_python("-m", "multitrack.cli", "verify", "local", "sqlite:./runs.db", paths=(sqlite_backend,))
    assert "1 identical but for declared losses" in verified
    assert "texts are left out (50 times)" in verified


@pytest.mark.slow
def test_a_run_goes_from_mlflow_through_a_third_party_backend_and_back(run_python, sqlite_backend: Path) -> None:
    run_python("-c", RECORD, "mlflow:sqlite:///mlflow.db", paths=(sqlite_backend,))

    there = run_python("-c", MOVE, "mlflow:sqlite:///mlflow.db", "sqlite:./runs.db", paths=(sqlite_backend,))
    back = run_python("-c", MOVE, "sqlite:./runs.db", "local:./back", paths=(sqlite_backend,))
    whole = run_python("-m", "multitrack.cli", "verify", "local", "local:./back", paths=(sqlite_backend,))

    assert "1 are restored exactly" in there
    assert "1 identical; " in back
    assert "1 identical; " in whole


@pytest.mark.slow
def test_what_somebody_else_wrote_into_mlflow_survives_a_third_party_backend(run_python, sqlite_backend: Path) -> None:
    foreign = """
import mlflow
mlflow.set_tracking_uri("sqlite:///foreign.db")
mlflow.set_experiment("theirs")
with mlflow.start_run(run_name="r"):
    mlflow.log_params({"lr": "0.1"})
    for step in range(20):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
"""
    run_python("-c", foreign)

    moved = run_python("-c", MOVE, "mlflow:sqlite:///foreign.db", "sqlite:./runs.db", paths=(sqlite_backend,))
    assert "1 migrated; 20 points" in moved


@pytest.mark.slow
def test_a_file_that_is_no_database_is_one_clear_line(run_python, sqlite_backend: Path, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "runs.db").write_text("this is no database, whatever its name says")

    said = run_python("-m", "multitrack.cli", "runs", "sqlite:./runs.db", paths=(sqlite_backend,), fails=True)

    assert said.count("\n") == 1
    assert "runs.db: file is not a database" in said

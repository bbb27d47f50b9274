"""A run had again: from a project that has changed since, from a service, without its repository, outside of any."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from multitrack.journal import Store

TRAIN = """
import argparse, random
import multitrack as mt
from model import losses

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--token")
options = parser.parse_args()
with open("data/train.csv") as file:
    numbers = [float(line) for line in file]
random.seed(7)
with mt.init(project="p", name="svc", params={"lr": options.lr, "data": "data/train.csv"}) as run:
    run.log_data("train", "data/train.csv", role="train")
    for step, loss in enumerate(losses(numbers, options.lr)):
        run.log({"loss": loss, "time/step": __import__("time").time()}, step=step)
    run.log({"odd": float("nan")})
"""
MODEL = """
import random
from scale import FACTOR

def losses(numbers, lr):
    return [FACTOR * sum(numbers) * lr / (step + 1) + random.random() for step in range(20)]
"""
SAME = ("--ignore", "time/*", "--environment", "current")


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MULTITRACK_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MULTITRACK_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("MULTITRACK_QUIET", "1")
    monkeypatch.setenv("MULTITRACK_CAPTURE", "code,environment")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git project: one commit, a tracked file that has changed, a module that is not tracked, data that is ignored."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "train.py").write_text(TRAIN)
    (folder / "model.py").write_text("losses = None\n")
    (folder / ".gitignore").write_text("data/\n__pycache__/\n")
    git(folder, "init", "--quiet")
    commit(folder, "first")
    (folder / "model.py").write_text(MODEL)
    (folder / "scale.py").write_text("FACTOR = 2.5\n")
    (folder / "data" / "train.csv").write_text("1.5\n2.5\n")
    monkeypatch.chdir(folder)
    return folder


def git(folder: Path, *arguments: str) -> str:
    user = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(["git", "-C", str(folder), *user, *arguments], check=True, capture_output=True, text=True).stdout


def commit(folder: Path, text: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", text)


def train(*arguments: str, python: str = sys.executable) -> str:
    """Train, and return the run's id."""
    before = set(runs())
    subprocess.run([python, "train.py", *arguments], check=True, capture_output=True)
    (made,) = set(runs()) - before
    return made


def runs() -> list[str]:
    return [folder.id for folder in Store(Path(os.environ["MULTITRACK_DIR"])).runs()]


def reproduce(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "multitrack.cli", "reproduce", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})


def change(project: Path) -> None:
    """Go on with the project, as people do."""
    (project / "train.py").write_text("raise SystemExit('this is not how it was')\n")
    commit(project, "second")
    (project / "scale.py").write_text("FACTOR = 3\n")
    (project / "new.py").write_text("")


def contents(folder: Path) -> dict[str, str]:
    """Return what is in a working tree, git's own folder included but for what reading it touches."""
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts and path.name != "index"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_a_run_comes_out_the_same_from_a_project_that_has_changed(project: Path, tmp_path: Path) -> None:
    first = train()
    change(project)
    (project / "data" / "train.csv").write_text("1.5\n3.5\n")
    before = contents(project)

    refused = reproduce(first, "--run", *SAME)

    assert refused.returncode == 1
    assert "data         train (train) is changed" in refused.stderr
    assert "nothing was run, since not everything is as it was; --allow data" in refused.stdout
    assert runs() == [first]
    assert contents(project) == before

    (project / "data" / "train.csv").write_text("1.5\n2.5\n")
    before = contents(project)
    done = reproduce(first, "--run", "--into", str(tmp_path / "again"), *SAME)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "came out the same within 1e-06" in done.stdout
    assert contents(project) == before
    (second,) = set(runs()) - {first}
    with mt.open("local") as store:
        one, other = store.run(first), store.run(second)
        assert other.state.reproduces == first
        assert one.code is not None
        assert other.code is not None
        assert (one.code.commit, one.code.diff) == (other.code.commit, other.code.diff)
        assert [(ref.name, ref.sha256) for ref in one.code.untracked] == [(ref.name, ref.sha256) for ref in other.code.untracked]
        assert other.code.root == str(tmp_path / "again")
        assert one.metrics("loss")["value"] == other.metrics("loss")["value"]


@pytest.mark.slow
def test_what_was_allowed_is_run_and_what_differs_is_told(project: Path) -> None:
    first = train("--lr", "0.5")
    (project / "data" / "train.csv").write_text("1.5\n3.5\n")

    done = reproduce(first, "--run", "--allow", "data", "--json", *SAME)

    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["outcome"]["equal"] is False
    differing = [one["field"] for one in report["outcome"]["differences"]]
    assert differing == ["metric loss", "data train (train)"]
    assert report["outcome"]["differences"][0]["actual"].endswith("20 of 20 points differ")


@pytest.mark.slow
def test_a_run_is_had_again_from_a_service(project: Path, tmp_path: Path) -> None:
    first = train()
    address = f"mlflow:sqlite:///{tmp_path}/mlflow.db"
    mt.migrate("local", address)
    compared = subprocess.run(
        [sys.executable, "-m", "multitrack.cli", "compare", first, f"{address}#{first}"], capture_output=True, text=True, check=True
    )
    assert "nothing differs" in compared.stdout
    change(project)
    shutil.rmtree(tmp_path / "store")

    done = reproduce(f"{address}#{first}", "--run", *SAME)

    assert done.returncode == 0, done.stdout + done.stderr
    (again,) = runs()
    with mt.open("local") as store:
        assert store.run(again).state.reproduces == f"{address}#{first}"


@pytest.mark.slow
def test_a_commit_that_is_nowhere_is_said_and_one_at_a_remote_is_fetched(project: Path, tmp_path: Path) -> None:
    first = train()
    git(tmp_path, "clone", "--quiet", "--bare", str(project), str(tmp_path / "server.git"))
    git(project, "remote", "add", "origin", f"file://{tmp_path}/server.git")
    second = train()
    data = project / "data"
    data.rename(tmp_path / "data")
    shutil.rmtree(project)
    project.mkdir()
    os.chdir(tmp_path)

    nowhere = reproduce(first, "--run", *SAME)
    assert nowhere.returncode == 1
    assert "it is in no repository in" in nowhere.stderr
    assert "--allow code" in nowhere.stdout

    there = reproduce(second, "--run", *SAME, "--data", str(tmp_path))
    assert there.returncode == 0, there.stdout + there.stderr
    assert f"from file://{tmp_path}/server.git" in there.stderr


@pytest.mark.slow
def test_outside_git_the_modules_that_were_kept_are_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "plain"
    (folder / "data").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name, text in {"train.py": TRAIN, "model.py": MODEL, "scale.py": "FACTOR = 1\n", "data/train.csv": "1\n2\n"}.items():
        (folder / name).write_text(text)
    first = train()
    (folder / "model.py").write_text("losses = None\n")

    done = reproduce(first, "--run", *SAME)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 files that were kept" in done.stderr


@pytest.mark.slow
def test_a_file_too_large_to_be_kept_is_missed_unless_it_is_data_that_is_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTITRACK_CODE_LIMIT", "5KB")
    (project / ".gitignore").write_text("__pycache__/\n")
    (project / "data" / "train.csv").write_text("1.5\n" * 2000)
    first = train()

    found = reproduce(first, *SAME)
    assert found.returncode == 0, found.stdout
    assert "copied to data/train.csv" in found.stdout

    (project / "unlogged.bin").write_bytes(os.urandom(6000))
    second = train()
    missed = reproduce(second, "--run", *SAME)
    assert missed.returncode == 1
    assert "unlogged.bin was not kept: " in missed.stderr
    assert "--allow code" in missed.stdout


@pytest.mark.slow
def test_a_credential_in_the_command_is_asked_for(project: Path) -> None:
    first = train("--token", "correct-horse-battery-9f3a7c")

    refused = reproduce(first, "--run", *SAME)
    assert refused.returncode == 1
    assert "--secret token=VARIABLE" in refused.stderr
    assert runs() == [first]
    assert reproduce(first, *SAME).returncode == 0, "without --run it is no obstacle"

    given = reproduce(first, "--run", "--secret", "token=MY_TOKEN", *SAME, env={"MY_TOKEN": "correct-horse-battery-9f3a7c"})
    assert given.returncode == 0, given.stdout + given.stderr
    assert "correct-horse" not in given.stdout + given.stderr


@pytest.mark.slow
def test_without_run_nothing_is_executed_and_no_hook_ever(project: Path, tmp_path: Path) -> None:
    hooks = tmp_path / "template" / "hooks"
    hooks.mkdir(parents=True)
    (hook := hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[init]\n  templateDir = {tmp_path}/template\n")
    first = train()
    change(project)

    done = reproduce(first, "--into", str(tmp_path / "again"), *SAME)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"cd {tmp_path}/again && " in done.stdout
    assert (tmp_path / "again" / "train.py").read_text() == TRAIN
    assert (tmp_path / "again" / "model.py").read_text() == MODEL
    assert (tmp_path / "again" / "scale.py").read_text() == "FACTOR = 2.5\n"
    assert (tmp_path / "again" / "data" / "train.csv").read_text() == "1.5\n2.5\n"
    assert git(tmp_path / "again", "status", "--short").split() == ["M", "model.py", "??", "scale.py"], "links are not seen"
    assert not (tmp_path / "hooked").exists()
    assert runs() == [first]
    again = reproduce(first, "--into", str(tmp_path / "again"), *SAME)
    assert "is not empty" in again.stderr


@pytest.mark.slow
def test_a_command_that_fails_or_records_nothing_is_no_success(project: Path) -> None:
    first = train()
    second = train("--lr", "0.2")
    (project / "data").rename(project.parent / "data")

    missing = reproduce(first, "--run", "--allow", "data", *SAME)
    assert missing.returncode == 1
    assert "the command ended with exit code 1, and recorded no run" in missing.stdout
    assert sorted(runs()) == sorted([first, second])


@pytest.mark.slow
def test_folders_paths_and_variables_of_then_become_those_of_now(project: Path, tmp_path: Path) -> None:
    """A module in a package, started in an empty folder by PYTHONPATH, with an absolute path; its data is an array in memory."""
    numpy = pytest.importorskip("numpy")
    (project / "package").mkdir()
    (project / "package" / "__init__.py").touch()
    (project / "package" / "fit.py").write_text(
        "import sys, numpy, multitrack as mt\n"
        "table = numpy.loadtxt(sys.argv[1])\n"
        "with mt.init(project='p', params={'path': sys.argv[1]}) as run:\n"
        "    run.log_data('table', table, role='train')\n"
        "    run.log({'mean': table.mean() + numpy.random.default_rng(0).random()}, step=0)\n"
    )
    commit(project, "package")
    (project / "empty").mkdir()
    path = project / "data" / "table.txt"
    numpy.savetxt(path, numpy.arange(6.0))
    arguments = [sys.executable, "-m", "package.fit", str(path)]
    subprocess.run(arguments, check=True, cwd=project / "empty", env={**os.environ, "PYTHONPATH": ".."})
    (first,) = runs()
    path.rename(tmp_path / "table.txt")
    (tmp_path / "again").mkdir()

    done = reproduce(first, "--run", "--into", str(tmp_path / "again"), *SAME)
    assert done.returncode == 1, "nobody knew of the file"
    assert "table (train) cannot be verified before the run" in done.stderr
    assert f"cd {tmp_path}/again/empty && PYTHONPATH=.. " in done.stderr
    assert f"-m package.fit {tmp_path}/again/data/table.txt" in done.stderr

    shutil.rmtree(tmp_path / "again")
    (project / "data").rename(tmp_path / "data")
    (tmp_path / "table.txt").rename(tmp_path / "data" / "table.txt")
    restored = reproduce(first, "--into", str(tmp_path / "again"), *SAME)
    assert restored.returncode == 0
    (tmp_path / "again" / "data").symlink_to(tmp_path / "data")
    (tmp_path / "again" / "empty").mkdir()
    again = {"PYTHONPATH": "..", "MULTITRACK_REPRODUCES": first}
    subprocess.run(
        [*arguments[:3], f"{tmp_path}/again/data/table.txt"], check=True, cwd=tmp_path / "again" / "empty", env={**os.environ, **again}
    )
    with mt.open("local") as store:
        one, other = (store.run(run) for run in [first, *(set(runs()) - {first})])
        assert other.state.reproduces == first
        assert one.metrics("mean")["value"] == other.metrics("mean")["value"]
        assert [data.digest for data in one.data] == [data.digest for data in other.data]


# -- the environment --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python environment that holds little but multitrack, as it is developed."""
    folder = tmp_path_factory.mktemp("small") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    source = Path(__file__).parents[2]
    made: Any = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-e", str(source), "six==1.16.0"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip(f"no package index: {made.stderr[-300:]}")
    return str(folder / "bin" / "python")


@pytest.mark.slow
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_the_environment_is_built_again(project: Path, tmp_path: Path, small_python: str, installer: str) -> None:
    with_uv = os.pathsep.join([os.environ["PATH"], str(Path(sys.executable).parent)])
    if installer == "uv" and shutil.which("uv", path=with_uv) is None:
        pytest.skip("uv is not installed")
    first = train(python=small_python)
    change(project)
    where = {"PATH": with_uv if installer == "uv" else os.pathsep.join(without_uv(os.environ["PATH"]))}

    done = reproduce(first, "--run", "--into", str(tmp_path / "again"), "--ignore", "time/*", env=where)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"by {installer}" in done.stderr
    with mt.open("local") as store:
        one, other = (store.run(run).environment for run in [first, *(set(runs()) - {first})])
    assert one is not None
    assert other is not None
    assert other.prefix == str(tmp_path / "again" / ".venv")
    tools = {"pip", "setuptools"}
    assert {k: v for k, v in one.packages.items() if k not in tools} == {k: v for k, v in other.packages.items() if k not in tools}
    assert one.python == other.python


def without_uv(path: str) -> list[str]:
    return [folder for folder in path.split(os.pathsep) if not (Path(folder) / "uv").exists()]

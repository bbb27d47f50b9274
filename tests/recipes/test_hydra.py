"""Hydra changes the working directory. Hydra itself is not installed here: what it does to the process is done by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.journal import Journal, Store
from multitrack.state import fold
from support.recipes import Recipe, following

JOB = """
import os, shutil, sys
from pathlib import Path

folder = Path(sys.argv[1]).absolute()  # hydra.run.dir
folder.mkdir(parents=True)
os.chdir(folder)
{code}
"""


def test_jobs_of_a_sweep_are_in_the_projects_store(tmp_path: Path) -> None:
    with following("hydra", tmp_path / "project") as recipe:
        recipe.write("multitrack.toml", recipe.block("toml"))
        for number in range(2):
            run_job(recipe, f"multirun/2026-01-31/12-00-00/{number}")
        states = [fold(Journal(run).records()) for run in recipe.store.runs()]
        assert [(state.project, state.status) for state in states] == [("digits", "finished")] * 2
        assert states[0].params == {"optimizer": {"name": "adam", "lr": 0.1}, "seed": 1}
        assert not list(recipe.folder.glob("multirun/**/.multitrack"))


def test_a_folder_elsewhere_needs_the_variable(tmp_path: Path) -> None:
    with following("hydra", tmp_path / "project") as recipe:
        recipe.write("multitrack.toml", recipe.block("toml"))
        run_job(recipe, str(tmp_path / "scratch" / "without"))
        assert not recipe.store.root.exists()
        home = recipe.block("bash").split("=")[1].strip()
        assert home == "$HOME/digits/.multitrack"
        run_job(recipe, str(tmp_path / "scratch" / "with"), MULTITRACK_DIR=home.replace("$HOME", str(tmp_path)))
        assert len(list(Store(tmp_path / "digits" / ".multitrack").runs())) == 1


def test_a_job_may_go_elsewhere_and_delete_its_folder(tmp_path: Path) -> None:
    with following("hydra", tmp_path / "project") as recipe:
        recipe.write("multitrack.toml", recipe.block("toml"))
        leave = "os.chdir('/')\n        shutil.rmtree(folder)\n        run.log({"
        run_job(recipe, "outputs/job", changes={"run.log({": leave})
        state = recipe.state()
        assert state.status == "finished"
        assert len(state.metrics["train/loss"]) == 1


def run_job(recipe: Recipe, folder: str, changes: dict[str, str] | None = None, **variables: str) -> None:
    recipe.write("train.py", JOB.format(code=recipe.block("python")), changes)
    recipe.follow("python", "train.py", folder, env={**recipe.env, **variables})


pytestmark = pytest.mark.slow

"""pytest in CI: the page's own tests are run, by a pytest of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.recipes import Recipe, following

pytestmark = pytest.mark.slow


def write_tests(recipe: Recipe) -> None:
    recipe.write("conftest.py", recipe.block("python"))
    recipe.write("test_training.py", recipe.block("python", 1) + recipe.block("python", 2))


def test_the_pages_tests_pass_and_leave_nothing_behind(tmp_path: Path) -> None:
    with following("pytest", tmp_path / "project") as recipe:
        # What the project and the person have configured must not get in: the target does not exist.
        recipe.write("multitrack.toml", 'backends = ["mlflow:http://127.0.0.1:9"]\n')
        write_tests(recipe)
        env = {**recipe.env, "CI": "true"}
        said = recipe.follow("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}", env=env)
        assert "2 passed" in said
        assert not recipe.store.root.exists()
        assert not recipe.couriers()


def test_disabled_records_nothing(tmp_path: Path) -> None:
    with following("pytest", tmp_path / "project") as recipe:
        recipe.write("multitrack.toml", "")
        recipe.write("train.py", recipe.block("python", 1).split("def test_")[0] + "\n\ntrain(3)\n")
        command = recipe.block("bash").replace("pytest", "python train.py")
        recipe.shell(command)
        assert not recipe.store.root.exists()

"""Nodes that reach nothing but a shared folder, and a gateway that watches it."""

from __future__ import annotations

import configparser
import shlex
import signal
from pathlib import Path

import pytest

from multitrack.delivery import Ledger
from multitrack.journal import Store
from support.couriers import wait_for
from support.recipes import Recipe, following

pytestmark = pytest.mark.slow
SHARED = "/shared/team/multitrack"


def node(recipe: Recipe, shared: Path, env: dict[str, str]) -> str:
    """Run the training on a node."""
    script = recipe.block("bash").replace(SHARED, str(shared))
    return recipe.follow("bash", "-c", f"{script}\npython train.py", env=env)


def gateway(recipe: Recipe, shared: Path) -> list[str]:
    """Return the service's command, for a store elsewhere."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(recipe.block("ini"))
    command = shlex.split(unit["Service"]["ExecStart"].replace(SHARED, str(shared)))
    assert Path(command[0]).name == "multitrack"
    return ["multitrack", *command[1:]]


def test_the_gateway_delivers_what_the_nodes_record(tmp_path: Path) -> None:
    with following("air-gapped", tmp_path) as recipe:
        shared = tmp_path / "shared"
        recipe.write("multitrack.toml", recipe.block("toml"))
        recipe.write("train.py", recipe.block("python"))
        node(recipe, shared, recipe.env)
        assert not recipe.couriers()
        assert not recipe.service("team").runs()

        watch = recipe.launch(*gateway(recipe, shared))
        wait_for(lambda: recipe.service("team").runs())
        node(recipe, shared, recipe.env)  # while the gateway watches
        wait_for(lambda: len([run for run in recipe.service("team").runs().values() if run.marker]) == 2)
        watch.send_signal(signal.SIGTERM)  # as systemd does
        out, err = watch.communicate(timeout=20)
        assert watch.returncode == 0, err
        assert "2 of 2 runs delivered" in out


def test_nodes_need_no_sdk_and_no_login(tmp_path: Path) -> None:
    with following("air-gapped", tmp_path) as recipe:
        recipe.write("multitrack.toml", recipe.block("toml"))
        recipe.write("train.py", recipe.block("python"))
        recipe.write("bare/sitecustomize.py", "import sys\nsys.modules['mlflow'] = None  # as if it were not installed\n")
        env = {name: value for name, value in recipe.env.items() if "_TEAM__" not in name}
        bare = {**env, "PYTHONPATH": str(recipe.folder / "bare")}
        node(recipe, recipe.folder / "shared", bare)
        assert "needs mlflow" in recipe.follow("python", "train.py", env=bare, code=1)  # it is the mode that does it
        (run,) = Store(recipe.folder / "shared").runs()
        assert Ledger(run, "team").read_target()["location"] == "https://mlflow.example.org"

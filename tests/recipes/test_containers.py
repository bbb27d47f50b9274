"""Containers that are thrown away. There is no Kubernetes here: commands, variables and ends are played, from the page's manifests."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from multitrack.config.variables import UNATTENDED_TIMEOUT, default_finish_timeout
from multitrack.journal import Store
from multitrack.records import Metrics
from support.couriers import wait_for
from support.recipes import Recipe, following

pytestmark = pytest.mark.slow


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Recipe]:
    with following("containers", tmp_path) as recipe:
        recipe.write("multitrack.toml", "")
        recipe.write("train.py", recipe.block("python"))
        recipe.store = Store(tmp_path / "volume")
        yield recipe


def start(pods: Recipe, manifest: int, *, command: list[str] | None = None) -> subprocess.Popen[str]:
    """Start the container of a manifest, with the test's volume in place of its own."""
    (container,) = yaml.safe_load(pods.block("yaml", manifest))["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item["value"] for item in container["env"]}
    assert variables["MULTITRACK_DIR"] == container["volumeMounts"][0]["mountPath"]
    env = {**pods.env, **variables, "MULTITRACK_DIR": str(pods.store.root), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    return pods.launch(*(command or container["command"]), env=env)


def throw_away(pods: Recipe, container: subprocess.Popen[str]) -> None:
    os.killpg(container.pid, signal.SIGKILL)
    container.communicate(timeout=30)
    pods.lose_power()


def test_a_pod_delivers_its_run_before_it_ends(pods: Recipe) -> None:
    container = start(pods, 0)
    out, err = container.communicate(timeout=60)
    assert container.returncode == 0, out + err
    assert pods.stored("team").marker is not None


def test_a_pod_whose_training_fails_delivers_too(pods: Recipe) -> None:
    pods.write("train.py", pods.block("python"), {"run.log(": "raise SystemExit(3)\n        run.log("})
    container = start(pods, 0)
    container.communicate(timeout=60)
    assert container.returncode == 3
    assert (pods.stored("team").concluded or {})["status"] == "failed"


def test_what_an_evicted_pod_leaves_is_delivered_by_the_deployment(pods: Recipe) -> None:
    pods.rule("team", "down")
    pods.write("train.py", pods.block("python") + "    __import__('time').sleep(60)\n")
    container = start(pods, 0)
    wait_for(lambda: list(pods.store.runs()) and len(pods.state().metrics.get("train/loss", ())) == 10)
    throw_away(pods, container)
    pods.rule("team", "down", on=False)
    watch = start(pods, 1)
    wait_for(lambda: (run := pods.service("team").run(pods.only_run().id)) and run.marker)
    throw_away(pods, watch)
    stored = pods.stored("team")
    assert (stored.concluded or {})["status"] == "crashed"
    assert len([entry for entry in stored.entries() if isinstance(entry.record, Metrics)]) == 10


def test_a_training_that_is_the_first_process_has_the_signal(pods: Recipe) -> None:
    pods.write("train.py", pods.block("python") + "    __import__('time').sleep(60)\n")
    container = start(pods, 0, command=["sh", "-c", "exec python train.py"])
    wait_for(lambda: list(pods.store.runs()) and len(pods.state().metrics.get("train/loss", ())) == 10)
    container.send_signal(signal.SIGTERM)
    container.communicate(timeout=30)
    assert pods.state().status == "killed"


def test_a_container_is_waited_for_longer(tmp_path: Path) -> None:
    assert default_finish_timeout({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path) == UNATTENDED_TIMEOUT == 600

"""A run mirrored live to two real MLflow servers, one of which goes away in the middle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from multitrack.delivery import Ledger
from multitrack.delivery.progress import Progress
from support.couriers import Bench, wait_for
from support.mlflow_server import MLflowServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

POINTS = 400
TRAINING = """
servers = {servers}
run = mt.init(project="mirror", name="svc", params={{"C": 1.0}}, backends=[f"mlflow:{{url}}" for url in servers])
for i in range({points}):
    run.log({{"loss": 1 / (i + 1), "acc": i}}, step=i)
    time.sleep(0.005)
    if i == {points} // 2:
        open("halfway", "w").close()
        while os.path.exists("wait"):
            time.sleep(0.05)
open("note.txt", "w").write("hello")
run.log_artifact("note.txt")
run.finish(timeout=200)
"""


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[MLflowServer]]:
    """Two servers with nothing in them."""
    with MLflowServer(tmp_path / "server-one") as one, MLflowServer(tmp_path / "server-two") as two:
        yield [one, two]


def test_two_servers_have_the_run_once_though_one_was_away(bench: Bench, servers: list[MLflowServer]) -> None:
    one, two = servers
    (bench.folder / "wait").touch()
    process = bench.start(TRAINING.format(servers=[one.url, two.url], points=POINTS), env={"MLFLOW_DISABLE_TELEMETRY": "true"})
    wait_for((bench.folder / "halfway").exists, 60)
    wait_for(lambda: all(progress.delivered > 0 for progress in progresses(bench)), 120)
    two.stop()
    (bench.folder / "wait").unlink()
    wait_for(lambda: any(progress.state == "retrying" for progress in progresses(bench)), 120)
    time.sleep(1)
    two.start()
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert all(progress.done for progress in progresses(bench)), err
    for server in servers:
        check(server, bench)


def progresses(bench: Bench) -> list[Progress]:
    return [ledger.progress() for ledger in Ledger.of(bench.only_run())]


def check(server: MLflowServer, bench: Bench) -> None:
    """Ask the server itself, through MLflow's own client."""
    from mlflow import MlflowClient

    client = MlflowClient(server.url)
    experiment = client.get_experiment_by_name("mirror")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "svc"
    assert run.data.params["C"] == "1.0"
    assert run.data.tags["multitrack.run_id"] == bench.only_run().id
    assert "multitrack.complete" in run.data.tags
    for name, value in (("loss", lambda i: 1 / (i + 1)), ("acc", float)):
        history = client.get_metric_history(run.info.run_id, name)
        assert [(point.step, point.value) for point in history] == [(i, value(i)) for i in range(POINTS)]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"note.txt", "multitrack"}

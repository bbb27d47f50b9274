"""One run, mirrored live to three services at once, each by its own SDK: nothing of one gets into another.

Comet's and W&B's SDKs patch other libraries when they are imported, MLflow among them: that is why each has a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from multitrack.delivery import Ledger
from multitrack.testing.proxy import FaultProxy
from services.comet.double import CometDouble
from services.wandb_double.server import WandbDouble
from support.couriers import Bench, wait_for
from support.mlflow_server import MLflowServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

POINTS = 300
TRAINING = """
run = mt.init(project="mirror", name="svc", params={{"C": 1.0}}, tags={{"team": "vision"}}, backends={backends})
for i in range({points}):
    run.log({{"loss": 1 / (i + 1), "acc": i}}, step=i)
    time.sleep(0.005)
    if i == {points} // 2:
        open("halfway", "w").close()
        while os.path.exists("wait"):
            time.sleep(0.05)
print("a line")
open("note.txt", "w").write("hello")
run.log_artifact("note.txt")
assert not {{"mlflow", "wandb", "comet_ml"}} & set(sys.modules), "an SDK in the training process"
run.finish(timeout=300)
"""


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[MLflowServer]:
    with MLflowServer(tmp_path / "mlflow-server") as running:
        yield running


@pytest.fixture
def comet() -> Iterator[CometDouble]:
    with CometDouble() as running:
        yield running
        assert not running.unknown


@pytest.fixture
def wandb() -> Iterator[WandbDouble]:
    with WandbDouble() as running:
        yield running


def environment(comet_url: str, comet: CometDouble, wandb: WandbDouble) -> dict[str, str]:
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "COMET_URL_OVERRIDE": f"{comet_url}/clientlib/",
        "COMET_API_KEY": comet.api_key,
        "WANDB_BASE_URL": wandb.url,
        "WANDB_API_KEY": wandb.key,
        "WANDB_ERROR_REPORTING": "false",
    }


def test_three_services_have_the_run_and_nothing_of_each_other(
    bench: Bench, mlflow: MLflowServer, comet: CometDouble, wandb: WandbDouble
) -> None:
    backends = [f"mlflow:{mlflow.url}", "wandb:team/", "comet:team/"]
    bench.run(TRAINING.format(backends=backends, points=POINTS), env=environment(comet.root, comet, wandb))

    run = bench.only_run()
    progresses = [ledger.progress() for ledger in Ledger.of(run)]
    assert len(progresses) == 3
    assert all(progress.done for progress in progresses), progresses
    check_mlflow(mlflow, run.id)
    check_comet(comet, run.id)
    assert list(comet.service.experiments) == [run.id]
    assert len(wandb.state.projects) == 1
    [project] = wandb.state.projects.values()
    [at_wandb] = project.runs.values()
    assert len([row for row in at_wandb.history if "loss" in row]) == POINTS


def test_a_courier_that_is_killed_and_a_service_that_is_away(bench: Bench, comet: CometDouble, wandb: WandbDouble) -> None:
    """Of the one run, Comet has everything once."""
    with FaultProxy(comet.root) as proxy:
        env = environment(proxy.url, comet, wandb)
        (bench.folder / "wait").touch()
        process = bench.start(TRAINING.format(backends=["comet:team/"], points=POINTS), env=env)
        wait_for((bench.folder / "halfway").exists, 60)
        wait_for(lambda: any(one.points for one in comet.service.experiments.values()), 120)
        [courier] = bench.couriers()
        courier.kill()
        proxy.stop()
        (bench.folder / "wait").unlink()
        wait_for(lambda: any(ledger.progress().state == "retrying" for ledger in Ledger.of(bench.only_run())), 120)
        proxy.start()
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        done = bench.multitrack("sync", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
    check_comet(comet, bench.only_run().id)


def check_mlflow(server: MLflowServer, run_id: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server.url)
    [run] = client.search_runs([client.get_experiment_by_name("mirror").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["multitrack.run_id"] == run_id
    assert not [tag for tag in run.data.tags if "comet" in tag.lower() or "wandb" in tag.lower()]
    assert [point.value for point in client.get_metric_history(run.info.run_id, "acc")] == list(range(POINTS))


def check_comet(comet: CometDouble, run_id: str) -> None:
    there = comet.experiment(run_id)
    assert (there.workspace, there.project, there.name, there.alive, there.crashed) == ("team", "mirror", "svc", False, False)
    for name, values in (("loss", [1 / (i + 1) for i in range(POINTS)]), ("acc", list(range(POINTS)))):
        points = sorted((point for point in there.points if point.name == name), key=lambda point: point.step or 0)
        assert [(point.step, point.value) for point in points] == list(enumerate(values))
    assert there.params["C"].current == "1.0"
    assert there.others["team"].current == "vision"
    assert there.others["multitrack.complete"].current.startswith("{")
    assert there.asset("note.txt").content == b"hello"

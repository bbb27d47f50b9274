"""Couriers and a real MLflow server with a faulty network between them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from multitrack.delivery import Ledger
from multitrack.journal import RunFolder
from multitrack.testing.proxy import Answer, Corrupt, Cut, Effect, FaultProxy, Hang
from support.couriers import Bench, wait_for
from support.couriers import bench as make_bench
from support.mlflow_server import MLflowServer

pytestmark = pytest.mark.slow

POINTS = 400
TRAINING = """
import json, statistics
prod = {{"backend": "mlflow", "location": {url!r}, "name": "prod"}}
run = mt.init(project={name!r}, name="svc", params={{"C": 1.0}}, backends=[prod, address({name!r})], quiet=True)
took = []
for i in range({points}):
    began = time.perf_counter()
    run.log({{"loss": 1 / (i + 1), "acc": i}}, step=i)
    took.append(time.perf_counter() - began)
    time.sleep(0.002)
    if i == {points} // 2:
        open({name!r} + ".halfway", "w").close()
        while not os.path.exists({name!r} + ".go"):
            time.sleep(0.02)
run.finish(timeout=1)
print(json.dumps(statistics.median(took)))
"""


class Place:
    """A bench, a server and a proxy that the tests of this file share: the courier that has imported MLflow stays."""

    def __init__(self, bench: Bench, server: MLflowServer, proxy: FaultProxy) -> None:
        self.bench, self.server, self.proxy = bench, server, proxy
        self.env = {
            "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_TIMEOUT": "2", "MULTITRACK_COURIER_LINGER": "60",
        }  # fmt: skip

    def start(self, name: str) -> Any:
        return self.bench.start(TRAINING.format(url=self.proxy.url, name=name, points=POINTS), env=self.env)

    def halfway(self, name: str) -> None:
        """Wait until the training waits in its middle."""
        wait_for((self.bench.folder / f"{name}.halfway").exists, 60)

    def go_on(self, name: str) -> None:
        (self.bench.folder / f"{name}.go").touch()

    def run_of(self, project: str) -> RunFolder:
        return next(run for run in self.bench.store.runs() if run.path.parent.name == project)

    def state(self, project: str) -> dict[str, dict[str, Any]]:
        """Return what `multitrack status` says of the project's run, by target."""
        run = self.run_of(project).id
        return {target["target"].partition("-")[0]: target for target in self.bench.status("--all") if target["run"] == run}

    def delivered(self, project: str) -> bool:
        return Ledger(self.run_of(project), "prod").progress().done


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with (
        MLflowServer(tmp_path_factory.mktemp("server")) as server,
        FaultProxy(server.url) as proxy,
        make_bench(tmp_path_factory.mktemp("bench")) as bench,
    ):
        yield Place(bench, server, proxy)


@pytest.fixture(autouse=True)
def _pass_in_the_end(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        monkeypatch.delenv(name)
    yield
    place.proxy.clear()


@pytest.fixture(scope="module")
def calm(place: Place) -> float:
    """The median time of a `log` call, in seconds, while nothing is wrong."""
    process = place.start("calm")
    place.halfway("calm")
    place.go_on("calm")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    wait_for(lambda: place.delivered("calm"), 60)
    check(place, "calm")
    return float(json.loads(out))


FAULTS: dict[str, tuple[Effect, str]] = {
    "hanging": (Hang(), "time"),
    "busy": (Answer(429, {"Retry-After": "1"}), ""),
    "broken": (Answer(500), ""),
    "cut": (Cut(keep=0.5), ""),
    "garbled": (Corrupt(), "not MLflow"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_mid_run_is_made_up_for(place: Place, calm: float, name: str) -> None:
    import re

    effect, told = FAULTS[name]
    process = place.start(name)
    place.halfway(name)
    wait_for(lambda: Ledger(place.run_of(name), "prod").progress().delivered > POINTS // 2, 60)
    place.proxy.rule(effect)
    place.go_on(name)

    said = wait_for(lambda: (found := place.state(name)["prod"])["state"] == "retrying" and found, 60)
    assert re.search(told, said["error"]), said
    assert said["attempts"] > 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert float(json.loads(out)) < 3 * calm + 0.0005
    other = wait_for(lambda: (found := place.state(name))["flaky"]["state"] == "delivered" and found, 30)
    assert other["prod"]["state"] != "delivered"
    stored = place.bench.service(name).run(place.run_of(name).id)
    assert stored is not None
    assert stored.marker is not None

    place.proxy.clear()
    wait_for(lambda: place.delivered(name), 60)
    assert {target["state"] for target in place.state(name).values()} == {"delivered"}
    assert all(target["error"] is None for target in place.state(name).values())
    check(place, name)


def test_answers_that_are_lost_here_and_there_double_nothing(place: Place, calm: float) -> None:
    place.proxy.rule(Cut(), method="POST", path="runs/create", times=2)  # both what the client asked and what it asked again
    place.proxy.rule(Cut(), method="POST", path="runs/log-batch", times=1)
    place.proxy.rule(Cut(keep=0.7), method="POST", path="runs/update", times=3)
    place.proxy.rule(Cut(), method="PUT", times=1)
    name = "lost"
    process = place.start(name)
    place.halfway(name)
    place.go_on(name)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    wait_for(lambda: place.delivered(name), 90)
    assert place.proxy.count(path="runs/create") >= 2
    check(place, name)


def test_two_couriers_that_open_a_run_at_the_same_moment_make_one(place: Place, tmp_path: Path) -> None:
    """As ranks with separate disks have them."""
    from multitrack_mlflow import MLflowBackend
    from support.journals import started

    sinks = [MLflowBackend(place.server.url).sink() for _ in range(4)]
    start = started(os.urandom(16).hex(), project="race")
    tags = {"multitrack.run_id": start.id}
    threads = [threading.Thread(target=sink.open, args=(start.model_copy(update={"tags": tags}),)) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    urls = {sink.url() for sink in sinks}
    for sink in sinks:
        sink.close()
    assert len(urls) == 1
    assert len(native_runs(place, "race")) == 1


def test_a_login_that_is_refused_in_mid_run_stops_that_target_alone(place: Place, calm: float) -> None:
    name = "refused"
    process = place.start(name)
    place.halfway(name)
    wait_for(lambda: Ledger(place.run_of(name), "prod").progress().delivered > POINTS // 2, 60)
    place.proxy.rule(Answer(401), after=1)
    place.go_on(name)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    stopped = wait_for(lambda: (found := place.state(name))["prod"]["state"] == "stopped" and found, 30)
    assert "401" in stopped["prod"]["error"]
    assert "MULTITRACK_" in stopped["prod"]["error"]
    assert float(json.loads(out)) < 3 * calm + 0.0005
    wait_for(lambda: place.state(name)["flaky"]["state"] == "delivered")

    asked = place.proxy.count()
    place.proxy.clear()
    done = place.bench.multitrack("sync", place.run_of(name).id, env=place.env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.proxy.count() > asked
    assert place.state(name)["prod"]["state"] == "delivered"
    check(place, name)


def native_runs(place: Place, project: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(place.server.url)
    experiment = client.get_experiment_by_name(project)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def check(place: Place, name: str) -> None:
    """Ask the server itself: one run, and every point once. Then have every field and point compared."""
    from mlflow import MlflowClient

    client = MlflowClient(place.server.url)
    (run,) = native_runs(place, name)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"C": "1.0"}
    for metric, value in (("loss", lambda i: 1 / (i + 1)), ("acc", float)):
        history = client.get_metric_history(run.info.run_id, metric)
        assert [(point.step, point.value) for point in history] == [(i, value(i)) for i in range(POINTS)]
    report = mt.verify(f"local:{place.bench.store.root}", f"mlflow:{place.server.url}", runs=[place.run_of(name).id])
    assert report.ok, str(report)

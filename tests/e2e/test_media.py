"""Images and tables at a real MLflow server: as its own pages look for them, and back."""

from __future__ import annotations

import io
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import multitrack as mt
from multitrack.backend import RunFilter
from multitrack.journal.blobs import hash_file
from multitrack_mlflow import MLflowBackend
from support.couriers import Bench
from support.mlflow_server import MLflowServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TRAINING = """
import numpy as np
from matplotlib.figure import Figure
figure = Figure()
figure.subplots().plot([1, 2])
with mt.init(project="pictures", backends={server!r}) as run:
    for step in range(3):
        image = np.full((8, 600, 3), step, np.uint8)
        pictures = [mt.Image(image, caption="c"), mt.Image(image[:4])]
        run.log({{"val/pred": pictures, "cm": mt.Table([{{"step": step}}]), "loss": 0.5}}, step=step)
    run.log({{"fig": figure, "h": mt.Histogram([1, 2, 3]), "no step": mt.Image(image)}})
    run.log({{"val/pred": mt.Image(image)}}, step=-2.5)
print(run.id)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """A server that this file's tests share."""
    with MLflowServer(tmp_path_factory.mktemp("server")) as running:
        yield running


def answer(server: MLflowServer, route: str, **query: str) -> Any:
    """Ask the server as its pages do."""
    with urllib.request.urlopen(f"{server.url}/{route}?{urllib.parse.urlencode(query)}") as response:
        return response.read()


def listed(server: MLflowServer, run_id: str, folder: str) -> list[str]:
    found = json.loads(answer(server, "ajax-api/2.0/mlflow/artifacts/list", run_uuid=run_id, path=folder))
    return [file["path"] for file in found.get("files", [])]


def shape(path: str) -> str:
    """Return a file's name without what differs from image to image: the names of MLflow's own and of ours must then be the same."""
    path = re.sub(r"[+][0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=[+.])", "+FILE", path)
    path = re.sub(r"[+](none|-?[\d.]+)-[0-9a-f]{16}(?=[+.])", "+FILE", path)
    return re.sub(r"timestamp[+]\d+", "timestamp+MS", path)


def test_mlflows_pages_find_images_and_tables(bench: Bench, server: MLflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    target = f"mlflow:{server.url}"
    out, _ = bench.run(TRAINING.format(server=target), env={"MLFLOW_DISABLE_TELEMETRY": "true"})
    client = MlflowClient(server.url)
    experiment = client.get_experiment_by_name("pictures")
    (run,) = client.search_runs([experiment.experiment_id])
    own = client.create_run(experiment.experiment_id)
    for step in (0, 1, 2, -3):
        client.log_image(own.info.run_id, np.full((8, 600, 3), step % 5, np.uint8), key="val/pred", step=step)
    client.log_image(own.info.run_id, np.zeros((8, 600, 3), np.uint8), key="no_step-00000000")
    client.log_table(own.info.run_id, {"step": [0]}, "table.json")

    # The names, the tags, and the thumbnails are those that MLflow's own client would have written.
    ours, theirs = listed(server, run.info.run_id, "images"), listed(server, own.info.run_id, "images")
    assert {re.sub("no_step-[0-9a-f]{8}", "KEY", shape(path)) for path in ours} == {
        re.sub("no_step-[0-9a-f]{8}", "KEY", shape(path)) for path in theirs
    }
    assert len(ours) == 2 * 8
    assert run.data.tags["mlflow.loggedImages"] == client.get_run(own.info.run_id).data.tags["mlflow.loggedImages"]
    step_2 = sorted(path for path in ours if "+step+2+" in path and path.endswith(".png"))
    seen = [PIL.Image.open(io.BytesIO(answer(server, "get-artifact", run_uuid=run.info.run_id, path=path))) for path in step_2]
    assert {image.size for image in seen} == {(600, 8), (600, 4)}
    small = step_2[0].replace(".png", "+compressed.webp")
    assert PIL.Image.open(io.BytesIO(answer(server, "get-artifact", run_uuid=run.info.run_id, path=small))).size[0] == 256
    assert not any(path.startswith("media/images") for path in listed(server, run.info.run_id, "media"))

    # A table is one for MLflow's client, which looks for it where the variable says, whatever server it was made for.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    tables = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert [table["type"] for table in tables] == ["table"] * 3
    frame = client.load_table(experiment.experiment_id, tables[2]["path"], [run.info.run_id])
    assert frame.to_dict("list") == {"step": [2]}

    # And multitrack reads back what was recorded, points and files.
    assert mt.verify(f"local:{bench.store.root}", target, runs=[out.strip()]).ok
    with mt.open(target) as store:
        view = store.run(out.strip())
        assert view.metrics("val/pred")["step"] == [0, 0, 1, 1, 2, 2, -2.5]
        assert view.image("val/pred", step=2).to_pil().size == (600, 4)
        assert view.image("val/pred", step=0).caption is None
        assert view.table("cm").rows == [[2]]
        assert "mlflow.loggedImages" not in view.tags
        assert view.download(view.metrics("fig")["value"][0].name, tmp_path / "figure").read_bytes().startswith(b"\x89PNG")
        artifact = view.artifacts[view.metrics("val/pred")["value"][0].name]

    # Another process has not listed the files, and finds an image all the same.
    source = MLflowBackend(server.url).source()
    (ref,) = source.runs(RunFilter(ids=[out.strip()]))
    source.fetch(ref, artifact, tmp_path / "image")
    source.close()
    assert hash_file(tmp_path / "image") == (artifact.sha256, artifact.size)

    # On to a store of files, the run is whole.
    back = f"local:{tmp_path / 'back'}"
    assert mt.migrate(target, back, runs=[out.strip()]).ok
    (moved,) = mt.verify(f"local:{bench.store.root}", back, runs=[out.strip()]).runs
    assert moved.verdict == "identical"


def test_what_others_logged_as_images_and_tables_moves_with_its_tags(
    server: MLflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow to local to MLflow: files and tags are where MLflow's pages look for them."""
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    client = MlflowClient(server.url)
    experiment = client.create_experiment("theirs")
    run = client.create_run(experiment)
    client.log_image(run.info.run_id, np.zeros((8, 9, 3), np.uint8), key="dogs", step=3)
    client.log_table(run.info.run_id, {"a": [1]}, "table.json")
    client.set_terminated(run.info.run_id)
    there = f"mlflow:sqlite:///{tmp_path / 'there.db'}"

    assert mt.migrate(f"mlflow:{server.url}", "local:./between", projects=["theirs"]).ok
    assert mt.migrate("local:./between", there).ok
    assert mt.verify("local:./between", there).ok

    copy = MlflowClient(there.removeprefix("mlflow:"))
    (moved,) = copy.search_runs([copy.get_experiment_by_name("theirs").experiment_id])
    assert moved.data.tags["mlflow.loggedImages"] == "True"
    assert moved.data.tags["mlflow.loggedArtifacts"] == json.dumps([{"path": "table.json", "type": "table"}])
    assert [file.path for file in copy.list_artifacts(moved.info.run_id, "images")] == listed(server, run.info.run_id, "images")

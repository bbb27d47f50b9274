"""Folders that we write: what is in them, what W&B's own `wandb sync` makes of them, and what happens when a run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wandb.proto import wandb_internal_pb2 as pb

from multitrack.backend import TAG_COMPLETE, RunFilter
from multitrack.errors import ConfigError, MissingExtraError, PermanentError
from multitrack.journal import RunFolder
from multitrack.records import (
    CodeVersion,
    Environment,
    Histogram,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    RunFinished,
    Summary,
)
from multitrack.testing.conformance import PNG, points_of
from multitrack.testing.scene import START, Scene
from multitrack_wandb import WandbBackend, WandbSettings, versions
from multitrack_wandb.log_file import LogWriter
from multitrack_wandb.offline_logs import read_records, read_story
from services.wandb_double.server import WandbDouble
from services.wandb_double.state import CONSOLE, Run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "wandb"


@pytest.fixture
def scene(tmp_path: Path, folder: Path) -> Scene:
    """A local store, and a folder."""
    (tmp_path / "scene").mkdir()
    return Scene(tmp_path / "scene", WandbBackend(str(folder)))


def rich(scene: Scene) -> RunFolder:
    start = scene.start(project="digits", name="svc", tags={"base": None, "team": "vision"}, group="sweep", job_type="train", notes="notes")
    image = scene.artifact(start, "media/images/pred/1-0a1b2c3d4e5f6071.png", PNG, type="image")
    model = scene.artifact(start, "model/weights.bin", b"weights", type="model", metadata={"layers": 3})
    return scene.record(
        start,
        [
            CodeVersion(time=START, vcs="git", commit="c0ffee", remote="https://example.org/r.git", diff="--- a\n"),
            Environment(time=START, host="node1", python="3.12.1", packages={"numpy": "2.0.0"}, memory=2**35),
            Hyperparameters(time=START, values={"lr": 1.0, "model": {"depth": 3}}),
            MetricDefinition(time=START, name="val/*", x="epoch", summary="max"),
            points_of("loss", *((step, step * 1_000_000, 1 / (step + 1)) for step in range(100))),
            Metrics(time=START + 1, step=3, values={"val/acc": 0.5, "epoch": 1}),
            Metrics(time=START + 2, step=2.5, values={"val/acc": 0.25, "epoch": 2, "weights": Histogram(edges=[0.0, 1.0], counts=[3])}),
            Metrics(time=START + 3, values={"system/cpu": 12.5}, source="system"),
            Summary(time=START, values={"best": 0.97}),
            LogLines(time=START, times=[START, START + 1], lines=["epoch 1", "done"]),
            image,
            model,
            scene.artifact(start, "notes.txt", b"some notes"),
        ],
    )


def log_of(folder: Path) -> Path:
    (log,) = folder.glob("offline-run-*/run-*.wandb")
    return log


# -- what is in a folder


def test_it_looks_as_the_sdk_writes_it(scene: Scene, folder: Path) -> None:
    run = rich(scene)
    assert scene.deliver(run)
    log = log_of(folder)
    assert log.parent.name == f"offline-run-20200102_030405-{run.id}"
    files = {path.relative_to(log.parent / "files").as_posix() for path in (log.parent / "files").rglob("*") if path.is_file()}
    assert files >= {"notes.txt", "model/weights.bin", "requirements.txt", "diff.patch", "media/images/pred/1-0a1b2c3d4e5f6071.png"}
    story = read_story(log)
    assert not story.damages
    assert (story.run.project, story.run.display_name, story.run.run_group, story.run.job_type) == ("digits", "svc", "sweep", "train")
    assert list(story.run.tags) == ["base", "team: vision"]
    assert story.run.git.commit == "c0ffee"
    assert story.started == START
    assert story.exit is not None
    assert story.exit.exit_code == 0
    assert (story.config["lr"], story.config["model"]) == (1.0, {"depth": 3})
    assert story.summary["best"] == 0.97
    assert story.summary["val/acc"] == {"max": 0.5}
    assert story.summary["loss"] == pytest.approx(0.01)


def test_steps_grow_and_the_own_ones_stay(scene: Scene, folder: Path) -> None:
    """A step that goes back, repeats, is fractional or missing is a value, on an axis that the charts use."""
    steps = [3, 1, 1, 2.5, None, 7]
    scene.deliver(scene.record(scene.start(), [Metrics(time=START + n, step=step, values={"loss": n / 4}) for n, step in enumerate(steps)]))
    rows = []
    axes = {}
    for record in read_records(log_of(folder)):
        if record.HasField("history"):
            rows.append({item.key: json.loads(item.value_json) for item in record.history.item})
        elif record.HasField("metric"):
            axes[record.metric.name] = record.metric.step_metric
    assert [row["_step"] for row in rows] == [3, 4, 5, 6, 7, 8]
    assert [row.get("multitrack/step") for row in rows] == steps
    assert axes == {"loss": "multitrack/step"}


def test_ten_thousand_metrics(scene: Scene) -> None:
    run = scene.record(scene.start(), [Metrics(time=START, step=1, values={f"m{number}": number / 3 for number in range(10_000)})])
    assert scene.deliver(run)
    assert len(scene.native(run).metrics) == 10_000


# -- when a run goes on


def test_a_run_that_goes_on_is_one_log(scene: Scene, folder: Path) -> None:
    run = scene.record(scene.start(), [points_of("loss", (1, 10, 0.5))])
    assert scene.deliver(run)
    before = log_of(folder).stat().st_size
    scene.append(run, [points_of("loss", (2, 20, 0.25)), RunFinished(time=START + 90_000_000, status="failed")], first=3)
    assert scene.deliver(run)
    assert log_of(folder).stat().st_size > before
    story = read_story(log_of(folder))
    assert story.exit is not None
    assert story.exit.exit_code == 1
    assert len(scene.native(run).metrics["loss"]) == 2
    assert TAG_COMPLETE in scene.find(run).tags


def test_what_was_torn_is_cut_off(scene: Scene, folder: Path) -> None:
    run = scene.record(scene.start(), [points_of("loss", (1, 10, 0.5))], status=None)
    scene.deliver(run)
    log = log_of(folder)
    with log.open("ab") as file:
        file.write(b"\x01\x02\x03 what a killed process leaves")
    scene.append(run, [points_of("loss", (2, 20, 0.25))], first=2)
    scene.deliver(run)
    assert not read_story(log).damages
    assert len(scene.native(run).metrics["loss"]) == 2


def test_a_run_that_was_uploaded_cannot_go_on(scene: Scene, folder: Path) -> None:
    run = scene.record(scene.start(), [points_of("loss", (1, 10, 0.5))])
    scene.deliver(run)
    log = log_of(folder)
    log.with_name(f"{log.name}.synced").touch()
    assert scene.deliver(run), "nothing is left to deliver"
    scene.append(run, [points_of("loss", (2, 20, 0.25))], first=3)
    with pytest.raises(PermanentError, match="has been uploaded by `wandb sync`"):
        scene.deliver(run)


def test_a_log_of_the_sdk_is_not_written_to(scene: Scene, folder: Path) -> None:
    run = scene.record(scene.start(), [])
    scene.deliver(run)
    log = log_of(folder)
    own = folder / f"run-20200102_030405-{run.id}"
    log.parent.rename(own)
    story = read_story(own / log.name)
    with (own / log.name).open("wb") as file:
        LogWriter(file).write(pb.Record(run=story.run).SerializeToString())
    with pytest.raises(PermanentError, match="not of multitrack's making"):
        scene.deliver_anew(run)


# -- what W&B makes of it


@pytest.mark.slow
def test_wandb_sync_takes_it(scene: Scene, folder: Path, double: WandbDouble, tmp_path: Path) -> None:
    """The real `wandb sync` uploads the folder; the service has every row, file and word, at the original times."""
    run = rich(scene)
    assert scene.deliver(run)
    log = log_of(folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    told = {"WANDB_BASE_URL": double.url, "WANDB_API_KEY": double.key, "WANDB_ERROR_REPORTING": "false", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--yes", str(log.parent)],
        cwd=tmp_path,
        env={**kept, **told},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    there = double.run("digits", run.id)
    check_uploaded(there)
    service = WandbBackend("tester/digits", WandbSettings.model_validate({"base_url": double.url, "api_key": double.key}))
    assert_same_run(scene, run, service)
    assert log.with_name(f"{log.name}.synced").exists()


def assert_same_run(scene: Scene, run: RunFolder, service: WandbBackend) -> None:
    """Read back from the service, the run is the one that was recorded."""
    scene.backend = service
    result = scene.verify(run)
    assert not result.differences, "\n".join(map(str, result.differences))
    assert result.attached == "exact"


def check_uploaded(there: Run) -> None:
    rows = there.history
    assert [row["_step"] for row in rows] == sorted({row["_step"] for row in rows})
    assert len([row for row in rows if "loss" in row]) == 100
    assert {round(row["_timestamp"] * 1e6) - START for row in rows if "loss" in row} == {step * 1_000_000 for step in range(100)}
    (halfway,) = [row for row in rows if row.get("multitrack/step") == 2.5]
    assert halfway["weights"]["_type"] == "histogram"
    (event,) = there.events
    assert event["system.cpu"] == 12.5
    assert (there.state, there.exit_code, there.display_name) == ("finished", 0, "svc")
    assert (there.fields["groupName"], there.fields["jobType"], there.fields["notes"]) == ("sweep", "train", "notes")
    assert there.fields["commit"] == "c0ffee"
    assert sorted(there.tags) == ["base", "team: vision"]
    assert there.params["model"] == {"depth": 3}
    assert there.summary["best"] == 0.97
    assert any("epoch 1" in line for line in there.lines[CONSOLE])
    assert there.files["notes.txt"].content == b"some notes"
    assert there.files["diff.patch"].content == b"--- a\n"
    assert there.files["media/images/pred/1-0a1b2c3d4e5f6071.png"].content == PNG
    assert "multitrack/records.jsonl.zst" in there.files
    assert there.files["model/weights.bin"].content == b"weights"
    (model,) = there.outputs
    assert (model.collection.name, model.collection.type) == ("model", "model")
    assert json.loads(model.metadata or "{}") == {"layers": 3}
    assert model.entries()["weights.bin"]["size"] == len(b"weights")


# -- what cannot be


def test_another_version_of_wandb_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "version", lambda _: "0.32.1")
    folder.mkdir()
    for act in (WandbBackend(str(folder)).source, WandbBackend(str(folder)).check):
        with pytest.raises(MissingExtraError, match=r"wandb 0\.31 is needed and 0\.32\.1 is installed"):
            act()


@pytest.mark.parametrize("location", ["a/b/c", "/", "team/pro#ject", "https://api.wandb.ai/team/x", "team/" + "x" * 129])
def test_what_is_no_location(location: str, tmp_path: Path) -> None:
    if location == "/":
        return
    with pytest.raises(ConfigError, match="is no W&B location"):
        WandbBackend.resolve(location, tmp_path)


def test_locations(tmp_path: Path) -> None:
    assert WandbBackend.resolve(None, tmp_path) is None
    assert WandbBackend.resolve("team/digits", tmp_path) == "team/digits"
    assert WandbBackend.resolve("digits", tmp_path) == "digits"
    assert WandbBackend.resolve("team/", tmp_path) == "team/"
    assert WandbBackend.resolve("./wandb", tmp_path) == str(tmp_path / "wandb")


def test_listing_an_empty_place(scene: Scene, folder: Path) -> None:
    folder.mkdir()
    assert list(scene.backend.source().runs(RunFilter())) == []
    assert scene.backend.check() == f"0 runs' transaction logs in {folder}"

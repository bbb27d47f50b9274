"""Archives that multitrack writes: what is in them, that they survive deaths, and that Comet's own `comet upload` takes them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from multitrack.backend import Batch, Conclusion, Entry, RunFilter
from multitrack.errors import PermanentError, TransientError
from multitrack.journal import RunFolder
from multitrack.media.image import Image
from multitrack.media.points import describe
from multitrack.records import Artifact, Hyperparameters, Metrics, Points, Record, RunFinished, RunStarted, RunUpdated
from multitrack.testing.conformance import PNG, ConformanceSuite, points_of
from multitrack.testing.scene import START, Scene
from multitrack_comet import CometBackend, CometSettings
from services.comet.double import CometDouble

KEY = "0123456789abcdef" * 2


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, CometBackend(str(tmp_path / "archives")))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "archives"


def messages(archive: Path) -> list[dict[str, Any]]:
    with zipfile.ZipFile(archive) as file:
        return [json.loads(line) for line in file.read("messages.json").splitlines()]


def told(archive: Path) -> dict[str, Any]:
    with zipfile.ZipFile(archive) as file:
        found: dict[str, Any] = json.loads(file.read("experiment.json"))
        return found


def batch(number: int, *records: Record) -> Batch:
    return Batch(number, [Entry("w" * 16, number * 100 + seq, record) for seq, record in enumerate(records)], lambda _: Path("/nowhere"))


def loss(*steps: int) -> Points:
    return Points(time=START, name="loss", steps=[*steps], times=[START // 1000 * 1000] * len(steps), values=[0.5] * len(steps))


# -- what is written ----------------------------------------------------------------------------------------------------


def test_a_run_becomes_one_archive_that_says_when_and_how_it_went(scene: Scene, place: Path) -> None:
    start = scene.start(tags={"base": None, "gone": None, "team": "vision"}, project="digits")
    run = scene.record(start, [RunUpdated(time=START, removed_tags=["gone"])], status="failed")
    assert scene.deliver(run)
    assert [file.name for file in place.iterdir()] == [f"{run.id}.zip"]
    experiment = told(place / f"{run.id}.zip")
    assert experiment == {
        "offline_id": run.id, "project_name": "digits", "workspace": None, "tags": ["base"], "start_time": START // 1000,
        "stop_time": (START + 60_000_000) // 1000, "resume_strategy": "create", "customer_error_reported": True,
        "customer_error_message": "failed", "user_provided_experiment_key": True, "comet_start_sourced": False,
    }  # fmt: skip
    others = {line["payload"]["key"]: line["payload"]["value"] for line in messages(place / f"{run.id}.zip") if line["type"] == "log_other"}
    assert (others["team"], others["multitrack.run_id"], others["multitrack.status"]) == ("vision", run.id, "failed")
    assert "gone" not in others
    assert "base" not in others


def test_the_workspace_comes_from_the_settings(tmp_path: Path, place: Path) -> None:
    scene = Scene(tmp_path, CometBackend(str(place), CometSettings(workspace="team")))
    run = scene.record(scene.start(), [])
    assert scene.deliver(run)
    assert told(place / f"{run.id}.zip")["workspace"] == "team"


def test_a_crash_is_noted_with_its_error(scene: Scene, place: Path) -> None:
    start = scene.start()
    run = scene.record(start, [RunFinished(time=START + 1, status="failed", error="ValueError: lr\n" + "x" * 2000)], status=None)
    assert scene.deliver(run)
    native = scene.native(run)
    assert (native.status, native.error) == ("failed", "ValueError: lr\n" + "x" * 2000)
    assert scene.verify(run).ok
    others = {line["payload"]["key"]: line["payload"]["value"] for line in messages(place / f"{run.id}.zip") if line["type"] == "log_other"}
    assert others["multitrack.error"] == "x" * 1000


def test_of_files_and_words_that_changed_only_the_last_ones_come_along(scene: Scene, place: Path) -> None:
    start = scene.start()
    files = [scene.artifact(start, "a.txt", content) for content in (b"first", b"second")]
    names = [RunUpdated(time=START, name=name) for name in ("one", "two")]
    run = scene.record(start, [*files, *names])
    assert scene.deliver(run)
    lines = messages(place / f"{run.id}.zip")
    (upload,) = (line["payload"] for line in lines if line["type"] == "file_upload" and line["payload"]["metadata"])
    with zipfile.ZipFile(place / f"{run.id}.zip") as archive:
        assert archive.read(upload["file_path"]) == b"second"
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        named = [line["payload"]["file_path"] for line in lines if line["type"] == "file_upload"]
        assert sorted(named) == sorted(set(archive.namelist()) - {"messages.json", "experiment.json"})
        assert len(named) == len(set(named))  # `comet upload` removes each file once it has sent it
    assert [line["payload"]["value"] for line in lines if line["payload"].get("key") == "Name"] == ["two"]


def test_a_run_that_goes_on_is_a_folder_until_it_has_ended(scene: Scene, place: Path) -> None:
    run = scene.record(scene.start(project="digits"), [points_of("loss", (1, 0, 0.5))], status=None)
    sink = scene.backend.sink()
    sink.open(RunStarted(time=START, id=run.id, project="digits", tags={"multitrack.run_id": run.id}))
    sink.write(batch(1, loss(1)))
    (ref,) = scene.backend.source().runs(RunFilter())
    assert (ref.id, ref.project, ref.status, ref.started) == (run.id, "digits", "running", START // 1000 * 1000)
    sink.finish(Conclusion("finished", START + 5))
    assert [file.name for file in place.iterdir()] == [f"{run.id}.zip"]


# -- once -----------------------------------------------------------------------------------------------------------------


def begun(place: Path, key: str = KEY) -> Any:
    sink = CometBackend(str(place)).sink()
    position = sink.open(RunStarted(time=START, id=key, project="digits", name="n", tags={"multitrack.run_id": key}))
    return sink, position


def steps(place: Path) -> list[int]:
    lines = (place / KEY / "messages.json").read_text().splitlines() if (place / KEY).is_dir() else None
    found = map(json.loads, lines) if lines is not None else messages(place / f"{KEY}.zip")
    return [line["payload"]["metric"]["step"] for line in found if line["type"] == "metric_msg"]


def test_what_was_not_written_whole_is_cut_off(place: Path) -> None:
    sink, _ = begun(place)
    sink.write(batch(1, loss(1)))
    with (place / KEY / "messages.json").open("ab") as file:
        file.write(json.dumps({"payload": {"metric": {"step": 2}}, "type": "metric_msg"}).encode() + b'\n{"payload":{"loc')
    sink, position = begun(place)
    assert position.batches == 1
    sink.write(batch(2, loss(2, 3)))
    assert steps(place) == [1, 2, 3]


def test_a_batch_that_comes_again_replaces_itself_and_what_followed(place: Path) -> None:
    sink, _ = begun(place)
    for number in (1, 2, 3):
        sink.write(batch(number, loss(number)))
    sink, position = begun(place)
    assert position.batches == 3
    sink.write(batch(2, loss(20)))
    assert steps(place) == [1, 20]
    sink.write(batch(2, loss(21)))  # its other half
    assert steps(place) == [1, 20, 21]
    sink, position = begun(place)
    sink.write(batch(1, loss(10)))
    assert steps(place) == [10]
    sink.finish(Conclusion("finished", START + 5))
    assert (place / f"{KEY}.zip").is_file()
    assert Counter(line["payload"].get("key") for line in messages(place / f"{KEY}.zip"))["Name"] == 1


def test_an_archive_is_taken_up_again(place: Path) -> None:
    sink, _ = begun(place)
    sink.write(batch(1, loss(1)))
    sink.finish(Conclusion("finished", START + 5, tags={"multitrack.complete": "{}"}))
    sink, position = begun(place)
    assert (position.batches, position.marker) == (1, "{}")
    sink.write(batch(2, loss(2), RunUpdated(time=START, tags={"bare": None})))
    (ref,) = CometBackend(str(place)).source().runs(RunFilter())
    assert "multitrack.complete" not in ref.tags  # it is not whole any more
    sink, position = begun(place)
    assert (position.batches, position.marker) == (2, None)
    sink.finish(Conclusion("finished", START + 9, tags={"multitrack.complete": "{}"}))
    assert steps(place) == [1, 2]
    assert told(place / f"{KEY}.zip")["tags"] == ["bare"]
    assert [file.name for file in place.iterdir()] == [f"{KEY}.zip"]


def test_batches_that_an_archive_has_and_nobody_here_sent_are_not_mixed(place: Path) -> None:
    sink, _ = begun(place)
    for number in (1, 2, 3):
        sink.write(batch(number, loss(number)))
    sink.finish(Conclusion("finished", START + 5))
    sink, _ = begun(place)
    with pytest.raises(PermanentError, match="holds 3 batches of the run, and this store has sent fewer"):
        sink.write(batch(2, loss(20)))
    sink, _ = begun(place)
    sink.write(batch(1, loss(10)))
    assert steps(place) == [10]
    (ref,) = CometBackend(str(place)).source().runs(RunFilter())
    assert (ref.name, ref.project, ref.tags["multitrack.run_id"]) == ("n", "digits", KEY)


def test_a_death_between_the_archive_and_its_folder_leaves_one_whole_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, _ = begun(place)
    sink.write(batch(1, loss(1)))
    monkeypatch.setattr("multitrack_comet.pack.shutil.rmtree", lambda *_, **__: None)
    sink.finish(Conclusion("finished", START + 5, tags={"multitrack.complete": "{}"}))
    monkeypatch.undo()
    assert sorted(file.name for file in place.iterdir()) == [KEY, f"{KEY}.zip"]
    (ref,) = CometBackend(str(place)).source().runs(RunFilter())
    assert (ref.status, ref.ended) == ("finished", (START + 5) // 1000 * 1000)
    sink, position = begun(place)
    assert (position.batches, position.marker) == (1, "{}")
    sink.finish(Conclusion("finished", START + 5, tags={"multitrack.complete": "{}"}))
    assert [file.name for file in place.iterdir()] == [f"{KEY}.zip"]


# -- bad input --------------------------------------------------------------------------------------------------------------


def test_an_archive_of_somebody_else_is_not_overwritten(place: Path) -> None:
    place.mkdir()
    with zipfile.ZipFile(place / f"{KEY}.zip", "w") as archive:
        archive.writestr("messages.json", "")
    with pytest.raises(PermanentError, match="is there already, and is not of this run"):
        begun(place)


def test_an_archive_is_no_place_to_write_to(place: Path) -> None:
    place.mkdir()
    (place / "x.zip").write_bytes(b"")
    with pytest.raises(PermanentError, match="is an archive, which is read only"):
        begun(place / "x.zip")


def test_a_disk_that_refuses_is_waited_for(place: Path) -> None:
    place.mkdir()
    (place / KEY).write_text("in the way")
    with pytest.raises(TransientError, match="cannot be written"):
        begun(place)


# -- Comet's own upload -----------------------------------------------------------------------------------------------------


def upload(comet: CometDouble, archive: Path, **variables: str) -> str:
    """Run `comet upload`; return what it printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(archive.parent),
        "COMET_URL_OVERRIDE": comet.url,
        "COMET_API_KEY": comet.api_key,
        "COMET_ERROR_TRACKING_ENABLE": "0",
        "COMET_WORKSPACE": "team",
        **variables,
    }
    command = [str(Path(sys.executable).with_name("comet")), "upload", str(archive)]
    done = subprocess.run(command, env=environment, cwd=archive.parent, check=False, capture_output=True, text=True, timeout=120)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert "Number of uploaded experiments: 1" in printed
    assert "ERROR" not in printed
    return printed


def rich(scene: Scene) -> RunFolder:
    """Return a run with something of everything, an image and a reference besides."""
    run = ConformanceSuite().rich_run(scene)
    start = scene.start(id=run.id)
    picture, point = describe(Image(PNG), "val/pred", 3, START)
    stored = scene.artifact(start, picture.name, PNG, type=picture.type, step=3, media_type=picture.media_type)
    odd = points_of("odd", (1, 0, math.nan), (None, 1000, math.inf), (2.5, 2000, -math.inf), (-3, 3000, 1.0), (1, 9000, 0.5))
    params = Hyperparameters(time=START, values={"a|b": "1", "x" * 200: "y" * 2000, "deep": {"er": {"still": 1}}})
    far = Artifact(time=START, name="far/away.bin", uri="s3://bucket/key")
    many = points_of("many", *((step, step * 1000, float((step * 7919) % 10_007)) for step in range(16_000)))
    scene.append(run, [stored, Metrics(time=START, step=3, values={"val/pred": point}), odd, params, far, many], first=100)
    return run


@pytest.mark.slow
def test_comets_own_upload_takes_an_archive_with_everything(scene: Scene, comet: CometDouble, place: Path) -> None:
    run = rich(scene)
    assert scene.deliver(run)
    printed = upload(comet, place / f"{run.id}.zip", COMET_OFFLINE_SAMPLING_SIZE="1000000")
    assert "not valid" not in printed.replace("is not a valid number", "")

    there = comet.experiment(run.id)
    assert (there.workspace, there.project, there.error) == ("team", "conformance", None)
    assert (there.started, there.ended) == (START // 1000, (START + 60_000_000) // 1000)
    assert there.tags == ["base"]
    assert {name: there.params[name].history[-1][1] for name in ("lr", "model|depth", "deep|er|still")} == {
        "lr": "0.1", "model|depth": "3", "deep|er|still": "1",
    }  # fmt: skip
    points = Counter(point.name for point in there.points)
    assert (points["loss"], points["many"], points["odd"], points["sys.system/cpu"]) == (100, 16_000, 5, 1)
    assert [(point.value, point.step, point.timestamp - START // 1000) for point in there.points if point.name == "odd"] == [
        ("NaN", 1, 0), ("Infinity", None, 1), ("-Infinity", 2, 2), (1.0, -3, 3), (0.5, 1, 9),
    ]  # fmt: skip
    assert {point.epoch for point in there.points if point.name == "val/acc"} == set(range(10))
    assets = {asset.name: asset for asset in there.assets.values()}
    assert (assets["val/pred"].type, assets["val/pred"].step, assets["val/pred"].content) == ("image", 3, PNG)
    assert assets["far/away.bin"].link == "s3://bucket/key"
    assert json.loads(assets["notes.txt"].metadata or "")["multitrack.artifact"]["media_type"] == "text/plain"
    assert there.git["parent"] == "c0ffee"
    assert there.patch is not None
    assert [line.text for line in there.lines][:2] == ["epoch 1\n", "\x1b[1mbold\x1b[0m \u00e9\n"]


@pytest.mark.slow
def test_an_uploaded_archive_reads_at_the_service_as_if_it_was_delivered_there(
    scene: Scene, comet: CometDouble, backend: CometBackend, place: Path
) -> None:
    run = rich(scene)
    assert scene.deliver(run)
    upload(comet, place / f"{run.id}.zip", COMET_OFFLINE_SAMPLING_SIZE="1000000")
    scene.backend = backend
    found = scene.verify(run)
    assert not found.differences, "\n".join(map(str, found.differences))
    assert (found.verdict, found.attached, found.complete) == ("identical but for declared losses", "exact", True)


@pytest.mark.slow
def test_of_a_long_series_the_upload_sends_a_sample_unless_it_is_told_otherwise(scene: Scene, comet: CometDouble, place: Path) -> None:
    """`comet upload` keeps first, last, least and greatest: all points travel in the attached records, and the loss is declared."""
    run = rich(scene)
    assert scene.deliver(run)
    upload(comet, place / f"{run.id}.zip")
    sampled = [point for point in comet.experiment(run.id).points if point.name == "many"]
    assert len(sampled) == 15_000
    assert {0, 15_999} <= {point.step for point in sampled}
    assert len(scene.read(run).state.metrics["many"]) == 16_000
    losses = {(loss.kind, loss.subject): loss.count for loss in scene.verify(run).losses}
    assert losses["point_sample", "metric 'many'"] == 1_000


@pytest.mark.slow
def test_a_failed_run_is_shown_so_after_the_upload(scene: Scene, comet: CometDouble, place: Path) -> None:
    run = scene.record(scene.start(), [RunFinished(time=START + 1, status="failed", error="ValueError: lr")], status=None)
    assert scene.deliver(run)
    upload(comet, place / f"{run.id}.zip")
    there = comet.experiment(run.id)
    assert there.error == "ValueError: lr"
    assert there.others["multitrack.status"].history[-1][1] == "failed"

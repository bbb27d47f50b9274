"""Archives that Comet's own SDK wrote, and what is found in them."""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from pathlib import Path

import pytest

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import PermanentError
from multitrack.records import CaptureFailed
from multitrack.state import RunState, fold
from multitrack_comet import CometBackend, CometSettings
from support.foreign_comet import REMOTE, Written, write_archive

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A run that ended, as its archive."""
    return write_archive(tmp_path_factory.mktemp("finished"), "finished")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A run that was killed with SIGKILL: its archive is empty, its folder not."""
    return write_archive(tmp_path_factory.mktemp("killed"), "killed")


def source_of(location: Path) -> Source:
    return CometBackend(str(location)).source()


def only(location: Path) -> tuple[Source, RunRef, RunState]:
    source = source_of(location)
    (ref,) = source.runs(RunFilter())
    return source, ref, fold(source.read(ref))


@pytest.fixture
def read(finished: Written) -> tuple[Source, RunRef, RunState]:
    return only(finished.zip)


def test_a_run_is_its_key_and_what_it_is_called(read: tuple[Source, RunRef, RunState], finished: Written) -> None:
    _, ref, state = read
    assert (ref.id, ref.native_id) == (finished.key, finished.key)
    assert (state.project, state.name, state.status) == ("digits", "svc", "finished")
    assert state.started is not None
    assert state.ended is not None
    assert 0 <= state.ended - state.started < 120_000_000
    assert state.tags["base"] is None
    assert state.tags["verdict"] == "good"
    assert "Name" not in state.tags


def test_params_are_nested_at_the_bars_and_have_the_users_types(read: tuple[Source, RunRef, RunState]) -> None:
    params = dict(read[2].params)
    assert params["lr"] == 0.1
    assert params["model"] == {"depth": 3, "wide": True}
    assert params["none"] is None
    assert params["list"] == [1, 2]


def test_points_have_their_steps_times_and_contexts(read: tuple[Source, RunRef, RunState]) -> None:
    metrics = read[2].metrics
    assert (metrics["loss"].steps, metrics["loss"].values) == ([0, 1, 2, 3], [1.0, 0.5, 1 / 3, 0.25])
    assert all(time % 1000 == 0 and time > 1_500_000_000_000_000 for time in metrics["loss"].times)
    assert metrics["train_acc"].values == [0.5]
    odd = metrics["odd"]
    assert odd.steps == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert math.isnan(odd.values[0])  # type: ignore[arg-type]
    assert odd.values[1:] == [math.inf, -math.inf, 2**70, 3]


def test_epochs_are_a_metric_of_their_own(read: tuple[Source, RunRef, RunState]) -> None:
    epoch = read[2].metrics["epoch"]
    assert {(step, value) for step, value in zip(epoch.steps, epoch.values, strict=True) if step in (0, 1, 2, 3)} >= {
        (0, 0),
        (2, 1),
        (3, 1),
    }


def test_the_code_is_known(read: tuple[Source, RunRef, RunState], finished: Written) -> None:
    code = read[2].code
    assert code is not None
    assert (code.commit, code.branch, code.remote, code.dirty) == (finished.commit, "main", REMOTE, True)
    assert "-one\n+two\n" in str(code.diff)
    assert str(code.entry_point).endswith("foreign_comet.py")


def test_the_environment_is_known(read: tuple[Source, RunRef, RunState]) -> None:
    (environment,) = read[2].environments.values()
    assert environment.python == ".".join(map(str, __import__("sys").version_info[:3]))
    assert "numpy" in environment.packages
    assert environment.os == "Linux"


def test_files_have_names_that_lead_nowhere_else_and_their_content(read: tuple[Source, RunRef, RunState], tmp_path: Path) -> None:
    source, ref, state = read
    artifacts = state.artifacts
    assert artifacts["x/a.txt"].metadata == {"k": 1}
    assert artifacts["x/a.txt"].step == 2
    assert "abs/a.txt" in artifacts
    assert len([name for name in artifacts if name.startswith("twice-")]) == 2  # both, since Comet keeps both
    assert artifacts["far/key"].uri == "s3://bucket/key"
    assert artifacts["models/net/a.txt"].type == "model-element"
    assert [model.name for model in state.models.values()] == ["net"]
    for name, content in {"x/a.txt": "content", "comet/html.html": "<b>report</b>", "abs/a.txt": "content"}.items():
        source.fetch(ref, artifacts[name], tmp_path / "content")
        assert (tmp_path / "content").read_text() == content
    with pytest.raises(PermanentError, match=r"is a reference to s3://bucket/key"):
        source.fetch(ref, artifacts["far/key"], tmp_path / "content")


def test_output_is_lines_with_times(read: tuple[Source, RunRef, RunState]) -> None:
    lines = [(line.stream, line.text) for line in read[2].console]
    assert ("stdout", "a line of output") in lines
    assert ("stderr", "a line of errors") in lines


def test_a_killed_run_reads_crashed_and_whole(killed: Written) -> None:
    source, ref, state = only(killed.folder)
    assert (ref.status, state.status) == ("crashed", "crashed")
    assert state.project == "general"  # nothing in the folder tells it
    assert state.metrics["loss"].values == [1.0, 0.5, 1 / 3, 0.25]
    assert state.metrics["last"].steps == [9]
    assert "x/a.txt" in state.artifacts
    assert state.ended is not None
    assert state.ended >= max(state.metrics["last"].times)
    assert [again.id for again in source_of(killed.folder).runs(RunFilter())] == [ref.id]
    assert list(source.runs(RunFilter(ids=[ref.id])))


def test_the_project_of_a_killed_run_can_be_told(killed: Written) -> None:
    source = CometBackend(str(killed.folder), CometSettings(project="digits")).source()
    assert list(source.projects()) == ["digits"]


def test_a_killed_runs_torn_last_line_is_left_out(killed: Written, tmp_path: Path) -> None:
    folder = tmp_path / "torn"
    shutil.copytree(killed.folder, folder)
    with (folder / "messages.json").open("ab") as file:
        file.write(b'{"payload":{"local_timestamp":1,"metric":{"metricName":"lo')
    assert only(folder)[2].metrics["loss"].values == [1.0, 0.5, 1 / 3, 0.25]


def test_the_archive_of_a_killed_run_says_where_its_data_is(killed: Written) -> None:
    with pytest.raises(PermanentError, match=r"is empty, as where the process was killed: what it logged is in a folder tmp"):
        list(source_of(killed.zip).runs(RunFilter()))


def test_archives_of_one_experiment_are_one_run(finished: Written, tmp_path: Path) -> None:
    shutil.copy(finished.zip, tmp_path)
    with zipfile.ZipFile(finished.zip) as archive:
        told = json.loads(archive.read("experiment.json"))
    later = {
        **told,
        "start_time": told["stop_time"] + 1000,
        "stop_time": told["stop_time"] + 2000,
        "resume_strategy": "get",
        "tags": ["more"],
    }
    metric = {"metricName": "loss", "metricValue": 0.125, "step": 4, "epoch": None}
    line = {"type": "metric_msg", "payload": {"local_timestamp": told["stop_time"] + 1500, "metric": metric}}
    with zipfile.ZipFile(tmp_path / f"{finished.key}-QVzYaI.zip", "w") as archive:
        archive.writestr("experiment.json", json.dumps(later))
        archive.writestr("messages.json", json.dumps(line) + "\n")
    _, ref, state = only(tmp_path)
    assert ref.id == finished.key
    assert state.metrics["loss"].values == [1.0, 0.5, 1 / 3, 0.25, 0.125]
    assert state.ended == later["stop_time"] * 1000
    assert {"base", "more"} <= state.tags.keys()


def test_what_the_sdk_could_not_log_is_told(tmp_path: Path, finished: Written) -> None:
    with zipfile.ZipFile(finished.zip) as archive:
        told, messages = json.loads(archive.read("experiment.json")), archive.read("messages.json")
    told |= {"customer_error_reported": True, "customer_error_message": "an image was lost"}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("experiment.json", json.dumps(told))
        archive.writestr("messages.json", messages + b"no JSON\n")
    source, ref, _ = only(tmp_path / "a.zip")
    errors = [record.error for record in source.read(ref) if isinstance(record, CaptureFailed)]
    assert errors == ["an image was lost"]
    assert source.problems(ref) == ("2 damaged lines of messages.json were passed over",)  # one names the patch, which this archive lacks

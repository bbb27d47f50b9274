"""Folders that the real SDK has written offline: whole, killed, cut off and damaged ones; without a network."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from multitrack.backend import RunFilter
from multitrack.errors import PermanentError
from multitrack.migration import migrate
from multitrack.records import Artifact, Histogram, RunStarted
from multitrack.state import RunState, fold
from multitrack.verification import verify
from multitrack_wandb import WandbBackend
from multitrack_wandb.offline_source import OfflineSource
from support.wandb_offline import ROWS, write_offline_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a run that finished."""
    return write_offline_run(tmp_path_factory.mktemp("finished"), "finished")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a run whose process was killed."""
    return write_offline_run(tmp_path_factory.mktemp("killed"), "killed")


def open_source(place: Path) -> OfflineSource:
    source = WandbBackend(WandbBackend.resolve(str(place), place)).source()
    assert isinstance(source, OfflineSource)
    return source


def read(place: Path) -> tuple[RunState, list[str]]:
    source = open_source(place)
    (ref,) = source.runs(RunFilter())
    state = fold(source.read(ref))
    assert (ref.status, ref.started, ref.ended, ref.name) == (state.status, state.started, state.ended, state.name)
    return state, list(source.problems(ref))


def damaged(log: Path, folder: Path, content: bytes) -> Path:
    """Return a copy of the run's folder whose log has this content."""
    copy = folder / "wandb" / log.parent.name
    shutil.copytree(log.parent, copy)
    (copy / log.name).write_bytes(content)
    return folder / "wandb"


# -- a whole one


def test_a_finished_run(finished: Path) -> None:
    state, problems = read(finished.parent.parent)
    assert problems == []
    assert (state.project, state.name, state.status, state.group, state.job_type) == ("digits", "svc", "finished", "sweep", "train")
    assert (state.notes, state.tags) == ("# Notes", {"base": None, "vision": None})
    assert state.params == {"lr": 0.1, "model": {"depth": 3}, "betas": [0.9, 1]}
    loss = state.metrics["loss"]
    assert loss.steps == list(range(ROWS))
    assert loss.values == pytest.approx([1 / (step + 1) for step in range(ROWS)])
    assert loss.times == sorted(loss.times)
    assert state.metrics["nested.deep"].values[-1] == ROWS - 1
    assert state.metrics["late"].steps == [ROWS + 100]
    assert isinstance(state.metrics["hist"].values[0], Histogram)
    assert math.isnan(state.metrics["nan"].values[0])
    assert state.metrics["text"].values == ["words"]
    assert state.summary == {"best": 0.97}, "what only is a metric's last value, or what its definition asks for, is none of the summary's"
    definition = state.definitions["val/*"]
    assert (definition.x, definition.summary) == ("epoch", "max")
    assert {line.text for line in state.console} >= {"the first line", "the last line"}
    assert any(series.source == "system" and name.startswith("system/") for name, series in state.metrics.items())
    (machine,) = state.environments.values()
    assert machine.packages["wandb"].startswith("0.31.")
    assert machine.implementation == "CPython"


@pytest.mark.parametrize("place", ["the log", "the run's folder", "the folder of runs", "its parent"])
def test_every_way_to_say_where(finished: Path, place: str) -> None:
    at = {"the log": finished, "the run's folder": finished.parent, "the folder of runs": finished.parent.parent}
    assert read(at.get(place, finished.parent.parent.parent))[0].name == "svc"


def test_files_are_fetched(finished: Path, tmp_path: Path) -> None:
    source = open_source(finished)
    (ref,) = source.runs(RunFilter())
    artifacts = {record.name: record for record in source.read(ref) if isinstance(record, Artifact)}
    for name in ("saved.txt", "model/weights.bin"):
        source.fetch(ref, artifacts[name], tmp_path / "content")
        assert (tmp_path / "content").read_text() == "saved"
    assert artifacts["model/weights.bin"].type == "model"
    assert artifacts["model/data.csv"].uri == "https://example.org/data.csv"
    table = next(name for name in artifacts if name.startswith("media/table/"))
    source.fetch(ref, artifacts[table], tmp_path / "content")
    with pytest.raises(PermanentError):
        source.fetch(ref, Artifact(time=0, name="nothing"), tmp_path / "content")
    assert not {"requirements.txt", "output.log"} & artifacts.keys(), "their content is in the records"


def test_reading_twice_gives_the_same(finished: Path) -> None:
    source = open_source(finished)
    (ref,) = source.runs(RunFilter())
    assert list(source.read(ref)) == list(source.read(ref))
    (again,) = source.runs(RunFilter(ids=[ref.id]))
    assert again == ref
    assert list(source.projects()) == ["digits"]
    assert list(source.runs(RunFilter(projects=["others"]))) == []


def test_a_failed_run(tmp_path: Path) -> None:
    state, problems = read(write_offline_run(tmp_path, "failed"))
    assert (state.status, problems) == ("failed", [])


# -- those that broke off


def test_a_killed_run_reads_crashed(killed: Path) -> None:
    state, problems = read(killed)
    assert state.status == "crashed"
    loss = state.metrics["loss"]
    assert 0 < len(loss) <= ROWS
    assert loss.steps == list(range(len(loss)))
    assert state.ended is not None
    assert state.started is not None
    assert state.started < state.ended
    assert state.ended >= loss.times[-1]
    assert len(problems) <= 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_log_that_was_cut_off(finished: Path, tmp_path: Path, share: float) -> None:
    content = finished.read_bytes()
    cut = int(len(content) * share) | 1
    state, problems = read(damaged(finished, tmp_path, content[:cut]))
    assert state.status == "crashed"
    loss = state.metrics["loss"]
    assert loss.steps == list(range(len(loss)))
    assert abs(len(loss) / ROWS - share) < 0.15
    (problem,) = problems
    assert "killed as it wrote" in problem
    assert f"{cut:,}"[:2] not in ("", "0")


def test_a_flipped_bit_costs_a_block(finished: Path, tmp_path: Path) -> None:
    content = bytearray(finished.read_bytes())
    content[len(content) // 2] ^= 4
    state, problems = read(damaged(finished, tmp_path, bytes(content)))
    assert state.status == "finished"
    whole = read(finished)[0].metrics["loss"]
    loss = state.metrics["loss"]
    points = list(zip(loss.steps, loss.times, loss.values, strict=True))
    assert set(points) < set(zip(whole.steps, whole.times, whole.values, strict=True))
    assert len(loss) > 0.75 * ROWS
    (problem,) = problems
    assert "1 damaged places" in problem
    assert "a checksum that does not fit" in problem


def test_a_migration_tells_what_was_lost(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = bytearray(finished.read_bytes())
    content[len(content) // 2] ^= 4
    place = damaged(finished, tmp_path, bytes(content))
    report = migrate(f"wandb:{place}", f"local:{tmp_path / 'store'}")
    (outcome,) = report.outcomes
    assert outcome.action == "migrated"
    assert any("a checksum that does not fit" in problem for problem in outcome.problems)
    assert "lost at the source" in str(report)


# -- what is no run


def test_a_file_that_is_no_log(tmp_path: Path) -> None:
    folder = tmp_path / "wandb" / "offline-run-20200101_000000-abc"
    folder.mkdir(parents=True)
    (folder / "run-abc.wandb").write_bytes(b"no log at all")
    source = open_source(tmp_path)
    (ref,) = source.runs(RunFilter())
    assert ref.status is None
    with pytest.raises(PermanentError, match="does not begin as a transaction log"):
        list(source.read(ref))


def test_a_log_without_a_run(tmp_path: Path, finished: Path) -> None:
    place = damaged(finished, tmp_path, finished.read_bytes()[:20])
    source = open_source(place)
    (ref,) = source.runs(RunFilter())
    with pytest.raises(PermanentError, match="holds no run that can be read"):
        list(source.read(ref))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="there is no folder"):
        list(open_source(tmp_path / "nothing").runs(RunFilter()))
    assert "no folder" in WandbBackend(str(tmp_path / "nothing")).check()


def test_a_folder_without_runs(tmp_path: Path) -> None:
    assert list(open_source(tmp_path).runs(RunFilter())) == []


def test_two_logs_of_one_run_are_one(finished: Path, tmp_path: Path) -> None:
    """The SDK's `resume` offline: another folder, the same run."""
    for number in (1, 2):
        shutil.copytree(finished.parent, tmp_path / f"offline-run-2020010{number}_000000-run-finished")
    state, _ = read(tmp_path)
    assert len(state.metrics["loss"]) == 2 * ROWS


def test_the_first_record_is_the_start(finished: Path) -> None:
    source = open_source(finished)
    (ref,) = source.runs(RunFilter())
    assert isinstance(next(iter(source.read(ref))), RunStarted)


# -- to other places


def check_migrated(source: str, destination: str) -> None:
    report = migrate(source, destination)
    assert report.ok, str(report)
    assert report.counts == {"migrated": 1}
    verification = verify(source, destination)
    assert verification.ok, str(verification)
    assert migrate(source, destination).counts == {"unchanged": 1}


@pytest.mark.parametrize("how", ["finished", "killed"])
def test_a_run_of_the_sdk_goes_to_local_json(
    how: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log: Path = request.getfixturevalue(how)
    check_migrated(f"wandb:{log.parent.parent}", f"local:{tmp_path / 'store'}")


def test_a_run_of_the_sdk_goes_to_mlflow(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_migrated(f"wandb:{finished.parent.parent}", f"mlflow:sqlite:///{tmp_path / 'mlflow.db'}")


def test_a_run_of_the_sdk_becomes_a_folder_of_ours(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B -> local -> W&B: what the SDK wrote is in the folder that we write, metric by metric."""
    monkeypatch.chdir(tmp_path)
    check_migrated(f"wandb:{finished.parent.parent}", f"local:{tmp_path / 'store'}")
    check_migrated(f"local:{tmp_path / 'store'}", f"wandb:{tmp_path / 'ours'}")
    theirs, ours = read(finished)[0], read(tmp_path / "ours")[0]
    assert ours.metrics.keys() == theirs.metrics.keys()
    assert all(ours.metrics[name].values[-1:] == series.values[-1:] for name, series in theirs.metrics.items() if name != "nan")
    assert (ours.params, ours.summary, ours.status) == (theirs.params, theirs.summary, theirs.status)

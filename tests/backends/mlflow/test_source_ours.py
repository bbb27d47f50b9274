"""What multitrack wrote to MLflow, read back from it natively; and people's own runs, carried from MLflow to MLflow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from multitrack.backend import ATTACHED_RECORDS, TAG_COMPLETE, TAG_ORIGIN, Batch, Conclusion, Entry, RunFilter
from multitrack.records import (
    Artifact,
    CodeVersion,
    DataFile,
    DataVersion,
    Environment,
    Hyperparameters,
    LogLines,
    Model,
    ModelScore,
    Points,
    Record,
    RunFinished,
    RunStarted,
    Summary,
)
from multitrack_mlflow import MLflowBackend
from multitrack_mlflow.client import connect
from multitrack_mlflow.settings import MLflowSettings
from multitrack_mlflow.source import MLflowSource
from support.foreign_mlflow import build

RUN = "0123456789abcdefghijklmnopqrstuv"
START = 1_546_300_800_123_000
"""Microseconds."""
OURS: list[Record] = [
    CodeVersion(
        time=START,
        vcs="git",
        commit="c0ffee",
        branch="main",
        dirty=True,
        diff="-a\n+\u00e9",
        entry_point="train.py",
        command=["train.py", "-v"],
    ),
    Environment(time=START, host="node-1", python="3.11.7", packages={"numpy": "2.1"}, memory=2**40),
    Environment(time=START, host="node-2", python="3.11.8"),
    DataVersion(time=START, name="digits", role="train", uri="s3://b/d", digest="ab" * 40, rows=7, data_schema={"x": "int"}),
    DataVersion(time=START, name="digits", role="test", files=[DataFile(path="a", size=1, digest="00")], tags={"fold": "2"}),
    Hyperparameters(time=START, values={"lr": "0.1"}),
    Points(time=START, name="loss", steps=[0, 1], times=[START, START + 1000], values=[0.5, 0.25]),
    Summary(time=START + 5000, values={"best": 0.25, "verdict": "good"}),
    LogLines(time=START, times=[START, START + 1], lines=["\u00e9poque 1", ""]),
    LogLines(time=START + 2, stream="stderr", times=[START + 2], lines=["  warning"]),
    Model(
        time=START,
        name="a/b",
        id="forest",
        path="outputs/forest",
        type="sklearn",
        status="READY",
        step=4,
        params={"trees": "10"},
        tags={"t": "1"},
        scores=[ModelScore(name="acc", time=START, value=0.5, step=4)],
    ),
]
FILES = {"notes.txt": b"notes", "outputs/forest/weights.bin": b"\0\1\2"}


def deliver(location: str, run: RunStarted, records: Sequence[Record], files: dict[str, Path], conclusion: Conclusion) -> None:
    """Write a run through the sink, as a delivery does."""
    artifacts = [
        Artifact(time=START, name=name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), size=path.stat().st_size)
        for name, path in files.items()
    ]
    entries = [Entry("w", seq, record) for seq, record in enumerate([*records, *artifacts])]
    sink = MLflowBackend(location).sink()
    sink.open(run)
    assert not sink.write(Batch(1, entries, lambda artifact: files[artifact.name]))
    sink.flush()
    sink.finish(conclusion)
    sink.close()


@pytest.fixture
def ours(sqlite_uri: str, tmp_path: Path) -> str:
    """A store with one run of ours; its location."""
    files = {}
    for name, content in FILES.items():
        files[name] = tmp_path / "content" / name
        files[name].parent.mkdir(parents=True, exist_ok=True)
        files[name].write_bytes(content)
    attached = tmp_path / "attached"
    attached.write_bytes(b"records")
    started = RunStarted(
        time=START, id=RUN, project="digits", group="g", job_type="j", host="node-1", user="ann", tags={"a": "b", TAG_ORIGIN: "{}"}
    )
    end = Conclusion("failed", START + 9_000, "ValueError: x", {ATTACHED_RECORDS: attached}, {TAG_COMPLETE: "1"})
    deliver(sqlite_uri, started, OURS, files, end)
    return sqlite_uri


def read(location: str) -> list[Record]:
    source = MLflowSource(MLflowBackend(location))
    (ref,) = source.runs(RunFilter(ids=[RUN]))
    return list(source.read(ref))


def of(kind: type[Any], records: list[Record]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


@pytest.mark.slow
def test_our_run_comes_back(ours: str) -> None:
    records = read(ours)
    (started,) = of(RunStarted, records)

    assert (started.id, started.project, started.name, started.user, started.time) == (RUN, "digits", None, "ann", START)
    assert (started.group, started.job_type, started.host) == ("g", "j", "node-1")
    assert {key: value for key, value in started.tags.items() if not key.startswith("multitrack.")} == {"a": "b"}
    assert {TAG_ORIGIN, TAG_COMPLETE} <= started.tags.keys()
    for kind in (CodeVersion, Environment, Hyperparameters, Summary, LogLines):
        assert of(kind, records) == of(kind, OURS), kind
    assert sorted(of(DataVersion, records), key=repr) == sorted(of(DataVersion, OURS), key=repr)
    assert of(RunFinished, records) == [RunFinished(time=START + 9_000, status="failed", error="ValueError: x")]
    assert {points.name: points.values for points in of(Points, records)} == {"loss": [0.5, 0.25], "acc": [0.5]}


@pytest.mark.slow
def test_our_model_comes_back_under_its_own_id_name_and_path(ours: str, tmp_path: Path) -> None:
    (model,) = of(Model, read(ours))
    (wrote,) = of(Model, OURS)
    source = MLflowSource(MLflowBackend(ours))
    (ref,) = source.runs(RunFilter(ids=[RUN]))

    assert model.model_copy(update={"time": wrote.time}) == wrote
    source.fetch(ref, Artifact(time=0, name="outputs/forest/weights.bin"), tmp_path / "to")
    assert (tmp_path / "to").read_bytes() == FILES["outputs/forest/weights.bin"]


@pytest.mark.slow
def test_documents_are_no_artifacts_and_the_attached_records_are(ours: str) -> None:
    assert {artifact.name: artifact.size for artifact in of(Artifact, read(ours))} == {
        "notes.txt": 5,
        "outputs/forest/weights.bin": 3,
        ATTACHED_RECORDS: 7,
    }


@pytest.mark.slow
def test_what_people_change_at_mlflow_wins(ours: str) -> None:
    client = connect(ours, MLflowSettings())
    source = MLflowSource(MLflowBackend(ours))
    (before,) = source.runs(RunFilter(ids=[RUN]))
    client.set_tag(before.native_id, "mlflow.source.git.commit", "changed")
    client.set_tag(before.native_id, "mlflow.note.content", "a note")
    client.update_run(before.native_id, name="renamed")
    records = read(ours)
    (code,), (wrote,), (started,) = of(CodeVersion, records), of(CodeVersion, OURS), of(RunStarted, records)

    assert code == wrote.model_copy(update={"commit": "changed"})
    assert (started.name, started.notes) == ("renamed", "a note")
    (after,) = source.runs(RunFilter(ids=[RUN]))
    assert after.version != before.version


@pytest.mark.slow
def test_a_changed_data_set_wins_over_what_we_left(ours: str) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(ours.removeprefix("sqlite:///"))) as database, database:
        database.execute("UPDATE datasets SET dataset_source = 's3://moved', dataset_schema = '{\"y\": 1}' WHERE digest LIKE 'abab%'")
    (data,) = [record for record in of(DataVersion, read(ours)) if record.role == "train"]
    (wrote,) = [record for record in of(DataVersion, OURS) if record.role == "train"]

    assert data == wrote.model_copy(update={"uri": "s3://moved", "data_schema": {"y": 1}})


@pytest.mark.slow
def test_a_broken_document_is_an_artifact(ours: str) -> None:
    client = connect(ours, MLflowSettings())
    source = MLflowSource(MLflowBackend(ours))
    (ref,) = source.runs(RunFilter(ids=[RUN]))
    client.log_text(ref.native_id, "{", "multitrack/code.json")
    records = list(source.read(ref))

    assert "multitrack/code.json" in {artifact.name for artifact in of(Artifact, records)}
    assert [code.commit for code in of(CodeVersion, records)] == ["c0ffee"], "the tag is there still"


# -- MLflow to MLflow -------------------------------------------------------------------------------------------------


@pytest.fixture
def other_sqlite_uri(sqlite_uri: str, tmp_path: Path) -> str:
    """A second store, empty too."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mlflow.db").write_bytes(Path(sqlite_uri.removeprefix("sqlite:///")).read_bytes())
    return f"sqlite:///{tmp_path / 'other' / 'mlflow.db'}"


@pytest.mark.slow
@pytest.mark.parametrize("what", ["rich", "failed", "killed", "running", "orphan", "scheduled", "deleted"])
def test_a_foreign_run_is_the_same_at_another_mlflow_but_for_its_id(
    sqlite_uri: str, other_sqlite_uri: str, tmp_path: Path, what: str
) -> None:
    (tmp_path / "files").mkdir()
    ids = build(connect(sqlite_uri, MLflowSettings()), "foreign", tmp_path / "files")
    source = MLflowSource(MLflowBackend(sqlite_uri))
    (ref,) = source.runs(RunFilter(ids=[ids[what]], deleted=True))
    started, *records = source.read(ref)
    assert isinstance(started, RunStarted)
    files = {}
    for number, artifact in enumerate(of(Artifact, records)):
        files[artifact.name] = tmp_path / f"file {number}"
        source.fetch(ref, artifact, files[artifact.name])
    others = [record for record in records if not isinstance(record, Artifact | RunFinished)]
    end = Conclusion(ref.status or "failed", ref.ended, deleted=ref.deleted)

    deliver(other_sqlite_uri, started, others, files, end)

    (arrived,) = MLflowSource(MLflowBackend(other_sqlite_uri)).runs(RunFilter(ids=[ids[what]], deleted=True))
    assert arrived.native_id != ref.native_id
    before = as_mlflow_has_it(connect(sqlite_uri, MLflowSettings()), ids[what])
    after = as_mlflow_has_it(connect(other_sqlite_uri, MLflowSettings()), arrived.native_id)
    after["tags"] = {key: value for key, value in after["tags"].items() if not key.startswith("multitrack.") or key in before["tags"]}
    assert after == before


def as_mlflow_has_it(client: Any, run_id: str) -> dict[str, Any]:
    """Return everything that MLflow's own client shows of a run, but for ids and where it keeps files."""
    run = client.get_run(run_id)
    info = run.info
    models = [client.get_logged_model(link.model_id) for link in run.outputs.model_outputs] if run.outputs else []
    return {
        "info": (info.run_name, info.user_id, info.status, info.start_time, info.end_time, info.lifecycle_stage),
        "tags": run.data.tags,
        "params": run.data.params,
        "points": {
            key: sorted((m.timestamp, m.step, repr(m.value)) for m in client.get_metric_history(run_id, key)) for key in run.data.metrics
        },
        "datasets": sorted(
            (sorted(vars(used.dataset).items(), key=repr), sorted((tag.key, tag.value) for tag in used.tags))
            for used in run.inputs.dataset_inputs
        ),
        "files": contents(Path(info.artifact_uri)),
        "models": {
            model.name: (
                *(model.model_type, str(model.status), model.params),
                {key: value for key, value in model.tags.items() if not key.startswith("multitrack.")},
                [(m.key, m.value, m.timestamp, m.step, m.dataset_name, m.dataset_digest) for m in model.metrics or []],
                contents(Path(model.artifact_location)),
            )
            for model in models
            if model.name != "broken"  # was never linked to its run
        },
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder, but for our own documents."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and not file.is_relative_to(folder / "multitrack")
    }

"""The sink against a real MLflow server; MLflow's own client is the witness."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from multitrack.backend import (
    ATTACHED_RECORDS,
    TAG_COMPLETE,
    TAG_PARENT,
    TAG_RUN_ID,
    Batch,
    Conclusion,
    Entry,
    Position,
    Rejection,
)
from multitrack.errors import AuthError, PermanentError, TransientError
from multitrack.records import (
    Artifact,
    CodeVersion,
    DataVersion,
    Environment,
    Hyperparameters,
    LogLines,
    Metrics,
    Model,
    ModelScore,
    Points,
    Record,
    RunStarted,
    RunUpdated,
    Summary,
    new_run_id,
)
from multitrack_mlflow import MLflowBackend, MLflowSettings
from multitrack_mlflow.sink import MLflowSink
from support.mlflow_server import MLflowServer, free_port
from support.postgresql import PostgreSQL, find_programs

pytestmark = pytest.mark.slow

T = 1_600_000_000_123_456
"""September 2020, in microseconds."""
MS = T // 1000

OpenSink = Callable[..., MLflowSink]


@pytest.fixture
def make_sink(server_uri: str) -> Iterator[Callable[..., MLflowSink]]:
    """Makes sinks of the shared server, or of another location."""
    made: list[MLflowSink] = []

    def make(location: str = server_uri) -> MLflowSink:
        sink = MLflowBackend(location).sink()
        assert isinstance(sink, MLflowSink)
        made.append(sink)
        return sink

    yield make
    for sink in made:
        sink.close()


@pytest.fixture
def run(project: str) -> RunStarted:
    return started(project)


@pytest.fixture
def sink(make_sink: OpenSink, run: RunStarted) -> MLflowSink:
    """A sink in which a new run is open."""
    opened = make_sink()
    opened.open(run)
    return opened


def started(project: str, **fields: Any) -> RunStarted:
    return RunStarted(**{"time": T, "id": new_run_id(), "project": project, **fields})


def batch(*records: Record, number: int = 1, files: Path | None = None) -> Batch:
    entries = [Entry("writer", seq, record) for seq, record in enumerate(records)]
    return Batch(number, entries, lambda artifact: (files or Path()) / str(artifact.sha256))


def ended(**fields: Any) -> Conclusion:
    return Conclusion(**{"status": "finished", "time": T + 5_000_000, **fields})


def write_and_wait(sink: MLflowSink, whole: Batch) -> None:
    """Write a batch whose points take several requests."""
    assert sink.write(whole) == []
    sink.flush()


def run_of(sink: MLflowSink, client: Any) -> Any:
    return client.get_run(sink._run_id)


def history(sink: MLflowSink, client: Any, key: str) -> list[tuple[int, int, float]]:
    """The points of a metric as (milliseconds, step, value)."""
    return [(point.timestamp, point.step, point.value) for point in client.get_metric_history(sink._run_id, key)]


def files_of(sink: MLflowSink, client: Any, folder: str | None = None) -> list[str]:
    found = []
    for item in client.list_artifacts(sink._run_id, folder):
        found += files_of(sink, client, item.path) if item.is_dir else [item.path]
    return sorted(found)


def content_of(sink: MLflowSink, client: Any, name: str, to: Path) -> bytes:
    return Path(client.download_artifacts(sink._run_id, name, str(to))).read_bytes()


def model_of(sink: MLflowSink, client: Any) -> Any:
    """The only logged model of the sink's experiment, with its files' names."""
    (found,) = client.search_logged_models([sink._experiment])
    return client.get_logged_model(found.model_id)


# -- the run ----------------------------------------------------------------------------------------------------------


def test_a_new_run_stands_in_its_experiment_with_everything_that_is_known_at_the_start(
    make_sink: OpenSink, project: str, client: Any
) -> None:
    record = started(project, name="svc é 日本", user="alice", notes="# hi", group="g", job_type="train", host="node1", tags={"a/b c": "1"})
    sink = make_sink()
    assert sink.open(record) == Position(batches=0)
    found = run_of(sink, client)
    assert client.get_experiment(found.info.experiment_id).name == project
    assert (found.info.run_name, found.info.user_id, found.info.start_time, found.info.status) == ("svc é 日本", "alice", MS, "RUNNING")
    assert found.data.tags == {
        "mlflow.runName": "svc é 日本",
        "mlflow.user": "alice",
        "mlflow.note.content": "# hi",
        "multitrack.group": "g",
        "multitrack.job_type": "train",
        "multitrack.host": "node1",
        "a/b c": "1",
        TAG_RUN_ID: record.id,
        "multitrack.chosen": "true",
    }
    assert sink.url() == f"{client.tracking_uri}/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id}"


def test_a_run_is_found_again_by_its_neutral_id_even_when_it_has_ended(make_sink: OpenSink, run: RunStarted, client: Any) -> None:
    first, second = make_sink(), make_sink()
    first.open(run)
    first.finish(ended(tags={TAG_COMPLETE: "all of it"}))
    assert second.open(run) == Position(batches=None, marker="all of it")
    assert second._run_id == first._run_id
    second.write(batch(Metrics(time=T, step=1, values={"loss": 0.5}), RunUpdated(time=T, status="running")))
    assert run_of(second, client).info.status == "RUNNING"
    second.finish(ended(status="killed", tags={TAG_COMPLETE: "more"}))
    assert run_of(second, client).info.status == "KILLED"
    assert len(client.search_runs([second._experiment])) == 1


def test_a_run_without_a_name_is_named_by_its_id_and_not_by_chance(sink: MLflowSink, run: RunStarted, client: Any) -> None:
    assert run_of(sink, client).info.run_name == run.id[:8]


def test_tags_of_foreign_runs_stay_as_they_are_and_fields_go_before_them(make_sink: OpenSink, project: str, client: Any) -> None:
    tags = {"mlflow.source.type": "NOTEBOOK", "mlflow.user": "from a tag", "mlflow.runName": "from a tag", "mlflow.parentRunId": "f" * 32}
    sink = make_sink()
    sink.open(started(project, name="mine", user="bob", tags=tags))
    found = run_of(sink, client)
    assert (found.info.run_name, found.info.user_id) == ("mine", "bob")
    kept = {name: value for name, value in found.data.tags.items() if name.startswith("mlflow.")}
    assert kept == {
        "mlflow.source.type": "NOTEBOOK",
        "mlflow.user": "bob",
        "mlflow.runName": "mine",
        "mlflow.parentRunId": "f" * 32,
    }


def test_a_start_at_the_epoch_stays_there(make_sink: OpenSink, project: str, client: Any) -> None:
    sink = make_sink()
    sink.open(started(project, time=0))
    assert run_of(sink, client).info.start_time == 0


@pytest.mark.parametrize(
    ("status", "there"),
    [("finished", "FINISHED"), ("failed", "FAILED"), ("killed", "KILLED"), ("running", "RUNNING"), ("scheduled", "SCHEDULED")],
)
def test_status_and_end_arrive(sink: MLflowSink, client: Any, status: str, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    sink.finish(ended(status=status, error="ValueError: é"))
    found = run_of(sink, client)
    assert found.info.status == there
    assert found.info.end_time == (None if status in {"running", "scheduled"} else (T + 5_000_000) // 1000)
    assert found.data.tags["multitrack.error"] == "ValueError: é"
    assert capsys.readouterr().out == "", "MLflow's client prints a link when a run ends"


def test_an_end_without_a_time_gets_none(sink: MLflowSink, client: Any) -> None:
    sink.finish(ended(time=None))
    assert run_of(sink, client).info.status == "FINISHED"
    assert run_of(sink, client).info.end_time is None


def test_the_end_brings_files_and_tags(sink: MLflowSink, client: Any, tmp_path: Path) -> None:
    (tmp_path / "attached").write_bytes(b"\x00zst")
    sink.finish(ended(files={ATTACHED_RECORDS: tmp_path / "attached"}, tags={TAG_COMPLETE: "x", "é": "日"}))
    assert files_of(sink, client) == [ATTACHED_RECORDS]
    assert content_of(sink, client, ATTACHED_RECORDS, tmp_path) == b"\x00zst"
    assert run_of(sink, client).data.tags.items() >= {TAG_COMPLETE: "x", "é": "日"}.items()


def test_updates_replace_what_stood_before(make_sink: OpenSink, project: str, client: Any) -> None:
    sink = make_sink()
    sink.open(started(project, name="one", notes="n1", tags={"keep": "1", "drop": "1", "back": "1"}))
    updates = [
        RunUpdated(time=T, name="two", group="g2", notes="n2", tags={"new": None}, removed_tags=["drop", "back", "never there"]),
        RunUpdated(time=T, tags={"back": "2"}, status="scheduled"),
    ]
    sink.write(batch(*updates))
    sink.write(batch(*updates))
    found = run_of(sink, client)
    assert (found.info.run_name, found.info.status) == ("two", "SCHEDULED")
    tags = {name: value for name, value in found.data.tags.items() if name not in (TAG_RUN_ID, "multitrack.chosen")}
    assert tags == {
        "mlflow.runName": "two", "mlflow.note.content": "n2", "multitrack.group": "g2", "keep": "1", "new": "", "back": "2"
    }  # fmt: skip


def test_a_deleted_run_is_among_the_deleted_and_can_still_be_written_to(make_sink: OpenSink, run: RunStarted, client: Any) -> None:
    sink = make_sink()
    sink.open(run)
    sink.finish(ended(deleted=True, tags={TAG_COMPLETE: "1"}))
    assert run_of(sink, client).info.lifecycle_stage == "deleted"
    again = make_sink()
    assert again.open(run).marker == "1"
    again.write(batch(Metrics(time=T, step=1, values={"loss": 1.0})))
    again.finish(ended(deleted=True, tags={TAG_COMPLETE: "2"}))
    found = run_of(again, client)
    assert (found.info.lifecycle_stage, found.data.tags[TAG_COMPLETE], found.data.metrics) == ("deleted", "2", {"loss": 1.0})


def test_a_deleted_experiment_is_named_with_the_remedy(make_sink: OpenSink, run: RunStarted, client: Any) -> None:
    experiment = client.create_experiment(run.project)
    client.delete_experiment(experiment)
    with pytest.raises(PermanentError, match=f"mlflow experiments restore --experiment-id {experiment}"):
        make_sink().open(run)


# -- parents ----------------------------------------------------------------------------------------------------------


def test_a_child_points_to_a_parent_that_is_there(make_sink: OpenSink, project: str, client: Any) -> None:
    parent, child = make_sink(), make_sink()
    parent_run = started(project)
    parent.open(parent_run)
    child.open(started(project, parent=parent_run.id))
    assert run_of(child, client).data.tags.items() >= {TAG_PARENT: parent_run.id, "mlflow.parentRunId": parent._run_id}.items()


@pytest.mark.parametrize("parent_project", ["the same", "another"])
def test_a_child_that_came_first_finds_its_parent_at_its_end(make_sink: OpenSink, project: str, client: Any, parent_project: str) -> None:
    parent_run = started(project if parent_project == "the same" else f"{project} parents")
    parent, child = make_sink(), make_sink()
    child.open(started(project, parent=parent_run.id))
    assert "mlflow.parentRunId" not in run_of(child, client).data.tags
    parent.open(parent_run)
    child.finish(ended())
    assert run_of(child, client).data.tags["mlflow.parentRunId"] == parent._run_id


def test_a_child_that_ended_before_its_parent_came_is_adopted(make_sink: OpenSink, project: str, client: Any) -> None:
    parent_run = started(project)
    parent, child = make_sink(), make_sink()
    child.open(started(project, parent=parent_run.id))
    child.finish(ended())
    parent.open(parent_run)
    assert run_of(child, client).data.tags["mlflow.parentRunId"] == parent._run_id


# -- points, params, tags ---------------------------------------------------------------------------------------------


def test_points_keep_step_time_and_value(sink: MLflowSink, client: Any) -> None:
    records = [
        Metrics(time=T, step=-7, values={"loss": 0.1, "a": 1e-320}),
        Metrics(time=T + 999, step=2**62, values={"loss": -0.25}),
        Metrics(time=T, step=3, values={"loss": 5.0}),
        Metrics(time=T, step=3, values={"loss": 6.0}),
        Points(time=T, name="b/c d", steps=[3, 1, 2], times=[0, T, T + 1000], values=[1.0, 2.0, 1.7976931348623157e308]),
        Metrics(time=T, step=1, values={"cpu": 50.0, "system/gpu": 10.0}, source="system"),
    ]
    sink.write(batch(*records))
    ms_2 = (T + 999) // 1000
    assert sorted(history(sink, client, "loss")) == [(MS, -7, 0.1), (MS, 3, 5.0), (MS, 3, 6.0), (ms_2, 2**62, -0.25)]
    assert history(sink, client, "a") == [(MS, -7, 1e-320)]
    assert sorted(history(sink, client, "b/c d")) == [(0, 3, 1.0), (MS, 1, 2.0), (MS + 1, 2, 1.7976931348623157e308)]
    assert history(sink, client, "system/cpu") == [(MS, 1, 50.0)]
    assert history(sink, client, "system/gpu") == [(MS, 1, 10.0)]


def test_nan_stays_nan_and_infinity_is_the_largest_float(sink: MLflowSink, client: Any) -> None:
    sink.write(batch(Points(time=T, name="x", steps=[1, 2, 3], times=[T] * 3, values=[math.nan, math.inf, -math.inf])))
    first, second, third = (value for _, _, value in sorted(history(sink, client, "x"), key=lambda point: point[1]))
    assert math.isnan(first)
    assert (second, third) == (1.7976931348623157e308, -1.7976931348623157e308)


def test_ten_thousand_points_written_twice_count_once(sink: MLflowSink, client: Any) -> None:
    count = 10_000
    points = Points(
        time=T, name="loss", steps=list(range(count)), times=[T + i * 1000 for i in range(count)], values=[i / 7 for i in range(count)]
    )
    write_and_wait(sink, batch(points))
    write_and_wait(sink, batch(points))
    assert history(sink, client, "loss") == [(MS + i, i, i / 7) for i in range(count)]


def test_everything_else_written_twice_counts_once(sink: MLflowSink, client: Any, tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"content")
    whole = batch(
        Hyperparameters(time=T, values={f"p{i}": str(i) for i in range(250)}),
        RunUpdated(time=T, tags={f"t{i}": "é" * 50 for i in range(250)}),
        Metrics(time=T, step=1, values={f"m{i}": float(i) for i in range(1200)}),
        Summary(time=T, values={"best": 0.5, "verdict": "good"}),
        DataVersion(time=T, name="digits", role="train", uri="data.csv", digest="d" * 64),
        Artifact(time=T, name="a/b.bin", sha256="abc"),
        LogLines(time=T, times=[T], lines=["hello"]),
        Model(time=T, name="net", id="m-1", path="model", scores=[ModelScore(name="acc", time=T, value=0.9, step=2)]),
        Artifact(time=T, name="model/MLmodel", sha256="abc"),
        files=tmp_path,
    )
    assert [*sink.write(whole), *sink.write(whole)] == []
    found = run_of(sink, client)
    assert found.data.params == {f"p{i}": str(i) for i in range(250)}
    assert {f"t{i}": "é" * 50 for i in range(250)}.items() <= found.data.tags.items()
    assert found.data.metrics == {**{f"m{i}": float(i) for i in range(1200)}, "_summary/best": 0.5, "acc": 0.9}
    assert all(len(history(sink, client, key)) == 1 for key in ("m0", "m1199", "_summary/best", "acc"))
    assert found.data.tags["multitrack.summary.verdict"] == "good"
    assert len(found.inputs.dataset_inputs) == 1
    assert len(found.outputs.model_outputs) == 1
    assert len(model_of(sink, client).metrics) == 1
    assert files_of(sink, client) == ["a/b.bin", "multitrack/console/00000001.log", "multitrack/data/36a54dcb.json"]


def test_the_longest_texts_and_names_arrive_whole(sink: MLflowSink, client: Any) -> None:
    name = "日" * 250
    params = {f"{i}{name[:240]}": "日" * 6000 for i in range(100)}
    sink.write(
        batch(
            Hyperparameters(time=T, values=params),
            RunUpdated(time=T, tags={name: "😀" * 8000}),
            Metrics(time=T, step=1, values={name: 1.0}),
        )
    )
    found = run_of(sink, client)
    assert found.data.params == params
    assert found.data.tags[name] == "😀" * 8000
    assert found.data.metrics == {name: 1.0}


def test_a_refused_record_is_a_permanent_error_and_the_others_can_still_be_written(sink: MLflowSink, client: Any) -> None:
    sink.write(batch(Hyperparameters(time=T, values={"lr": "1"})))
    good, bad = Metrics(time=T, step=1, values={"loss": 1.0}), Hyperparameters(time=T, values={"lr": "2"})
    with pytest.raises(PermanentError, match="Changing param values is not allowed"):
        sink.write(batch(good, bad, number=2))
    with pytest.raises(PermanentError, match="alphanumerics"):
        sink.write(batch(Metrics(time=T, step=1, values={"a,b": 1.0}), number=3))
    assert sink.write(batch(good, number=2)) == []
    assert run_of(sink, client).data.metrics == {"loss": 1.0}
    assert sink.flush() == Position(batches=None)


def test_one_bad_point_among_thousands_is_a_permanent_error(sink: MLflowSink, client: Any) -> None:
    good = Points(time=T, name="loss", steps=list(range(2500)), times=[T] * 2500, values=[1.0] * 2500)
    with pytest.raises(PermanentError, match="a,b"):
        write_and_wait(sink, batch(good, Metrics(time=T, step=1, values={"a,b": 1.0})))
    write_and_wait(sink, batch(good))
    assert len(history(sink, client, "loss")) == 2500


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a:b",
        "a.b",
        "-a",
        " a",
        "a ",
        "é",
        "²",
        "日本",
        "a..",
        "C:/x",
        "a,b",
        "a\tb",
        "a\\b",
        "..a",
        "...",
        "a@b",
        "a\u0301",
        "😀",
        "a%b",
        "a//b",
    ],
)
def test_the_name_rule_is_the_servers(sink: MLflowSink, client: Any, name: str) -> None:
    """For metrics, params and tags alike: what our rule takes MLflow takes, and what it refuses MLflow refuses."""
    from multitrack.adapt.names import holds

    for record, rule in [
        (Metrics(time=T, step=1, values={name: 1.0}), MLflowBackend.capabilities.metric_names),
        (Hyperparameters(time=T, values={name: "1"}), MLflowBackend.capabilities.param_names),
        (RunUpdated(time=T, tags={name: "1"}), MLflowBackend.capabilities.tag_names),
    ]:
        if holds(rule, name):
            sink.write(batch(record))
        else:
            with pytest.raises(PermanentError):
                sink.write(batch(record))


def test_names_differ_by_case_and_a_leaf_may_be_a_folder(sink: MLflowSink, client: Any) -> None:
    sink.write(
        batch(Metrics(time=T, step=1, values={"a": 1.0, "A": 2.0, "a/b": 3.0}), Hyperparameters(time=T, values={"a": "1", "A": "2"}))
    )
    found = run_of(sink, client)
    assert (found.data.metrics, found.data.params) == ({"a": 1.0, "A": 2.0, "a/b": 3.0}, {"a": "1", "A": "2"})


# -- data, code, environment ------------------------------------------------------------------------------------------


def test_data_code_and_environment_stand_where_an_mlflow_user_looks(sink: MLflowSink, client: Any, tmp_path: Path) -> None:
    from multitrack.records import decode

    code = CodeVersion(
        time=T, vcs="git", commit="c0ffee", branch="main", remote="https://example.com/r.git", entry_point="train.py", dirty=True
    )
    data = DataVersion(
        time=T,
        name="digits",
        role="train",
        uri="s3://b/d.csv",
        source_type="s3",
        digest="d" * 64,
        data_schema={"x": "int"},
        tags={"k": "v"},
    )
    host = Environment(time=T, host="node/1", python="3.11.2", packages={"numpy": "2.0", "a-b": "1"})
    sink.write(batch(code, data, host))
    found = run_of(sink, client)
    assert (
        found.data.tags.items()
        >= {
            "mlflow.source.git.commit": "c0ffee",
            "mlflow.source.git.branch": "main",
            "mlflow.source.git.repoURL": "https://example.com/r.git",
            "mlflow.source.name": "train.py",
        }.items()
    )
    (used,) = found.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest, used.dataset.source_type, used.dataset.source) == (
        "digits",
        "d" * 36,
        "s3",
        "s3://b/d.csv",
    )
    assert used.dataset.schema == '{"x": "int"}'
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "train", "k": "v"}
    documents = {
        "multitrack/code.json": code,
        "multitrack/data/36a54dcb.json": data,
        "multitrack/environment/node_1.json": host,
    }
    assert files_of(sink, client) == sorted([*documents, "multitrack/requirements.txt"])
    for name, record in documents.items():
        assert decode(content_of(sink, client, name, tmp_path))[1] == record
    assert content_of(sink, client, "multitrack/requirements.txt", tmp_path) == b"a-b==1\nnumpy==2.0\n"


def test_data_without_a_digest_or_beyond_mlflows_limits_arrives(sink: MLflowSink, client: Any) -> None:
    huge = DataVersion(time=T, name="n" * 600, role="r" * 600, uri="u" * 70_000, profile={"x": "y" * 100})
    sink.write(batch(huge, DataVersion(time=T, name="bare"), DataVersion(time=T, name="bare", role="again")))
    inputs = {used.dataset.name: used.dataset for used in run_of(sink, client).inputs.dataset_inputs}
    assert inputs["n" * 500].source == "u" * 65_535
    assert len(inputs["bare"].digest) == 8


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["plain.txt", "a/b c/d.txt", "é 日本 😀.txt", ".hidden", "a+b&c=d;e,f'g\"h", "a[b]{c}(d)", "~", "-x", "trail ", "a*b|c<d>", "x" * 250],
)  # fmt: skip
def test_files_keep_their_names_and_content(sink: MLflowSink, client: Any, tmp_path: Path, name: str) -> None:
    from multitrack.adapt.names import holds

    assert holds(MLflowBackend.capabilities.artifact_names, name)
    (tmp_path / "abc").write_bytes(name.encode())
    assert sink.write(batch(Artifact(time=T, name=name, sha256="abc"), files=tmp_path)) == []
    assert files_of(sink, client) == [name]
    assert content_of(sink, client, name, tmp_path / "..") == name.encode()


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "A:b", "a\tb", "a\x7fb", "a\x01b", "..a/b", " lead", "a\\b", "\ud800"])
def test_file_names_that_would_be_corrupted_are_outside_the_rule(name: str) -> None:
    from multitrack.adapt.names import hashed, holds

    rule = MLflowBackend.capabilities.artifact_names
    assert not holds(rule, name)
    assert holds(rule, hashed(rule, name))


@pytest.mark.parametrize("name", ["folder/ lead", "folder/" + "é" * 128])
def test_a_file_that_would_be_corrupted_is_rejected_by_name(sink: MLflowSink, client: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / "abc").write_bytes(b"x")
    good, bad = Artifact(time=T, name="good", sha256="abc"), Artifact(time=T, name=name, sha256="abc")
    (rejection,) = sink.write(batch(good, bad, files=tmp_path))
    assert isinstance(rejection, Rejection)
    assert (rejection.writer, rejection.seq) == ("writer", 1)
    assert repr(name) in rejection.reason
    assert files_of(sink, client) == ["good"]


def test_of_several_files_with_one_name_the_last_counts(sink: MLflowSink, client: Any, tmp_path: Path) -> None:
    for content in ("one", "two", "three"):
        (tmp_path / content).write_text(content)
    sink.write(batch(*(Artifact(time=T, name="f", sha256=name) for name in ("one", "two")), files=tmp_path))
    assert content_of(sink, client, "f", tmp_path) == b"two"
    sink.write(batch(Artifact(time=T, name="f", sha256="three"), number=2, files=tmp_path))
    assert content_of(sink, client, "f", tmp_path) == b"three"


def test_console_lines_stand_in_a_file_a_batch_also_when_a_batch_is_written_in_parts(sink: MLflowSink, client: Any, tmp_path: Path) -> None:
    first = Entry("w", 1, LogLines(time=T, times=[T, T + 1], lines=["é", ""]))
    second = Entry("w", 2, LogLines(time=T, stream="stderr", times=[T + 2], lines=["bad  end "]))
    for entries in ([first, second], [first], [second]):
        sink.write(Batch(7, entries, lambda _: Path()))
    sink.write(Batch(8, [first], lambda _: Path()))
    text = (
        "2020-09-13T12:26:40.123456+00:00 stdout é\n2020-09-13T12:26:40.123457+00:00 stdout \n"
        "2020-09-13T12:26:40.123458+00:00 stderr bad  end \n"
    )
    assert files_of(sink, client) == ["multitrack/console/00000007.log", "multitrack/console/00000008.log"]
    assert content_of(sink, client, "multitrack/console/00000007.log", tmp_path).decode() == text


# -- models -----------------------------------------------------------------------------------------------------------


def test_a_model_is_a_logged_model_with_its_files_params_tags_and_scores(sink: MLflowSink, client: Any, tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"weights")
    model = Model(
        time=T,
        name="my.net",
        id="m-77",
        path="models/net",
        type="sklearn",
        status="READY",
        step=4,
        params={"depth": "3"},
        tags={"t": "1"},
        scores=[
            ModelScore(name="acc", time=T, value=0.9, step=3, data_name="d", data_digest="x"),
            ModelScore(name="f1", time=T, value=0.5),
        ],
    )
    sink.write(
        batch(
            model,
            Artifact(time=T, name="models/net/sub/w.bin", sha256="abc"),
            Artifact(time=T, name="models/network", sha256="abc"),
            files=tmp_path,
        )
    )
    found = model_of(sink, client)
    assert (found.name, found.model_type, str(found.status), found.source_run_id) == ("my-net", "sklearn", "READY", sink._run_id)
    assert found.params == {"depth": "3"}
    assert found.tags.items() >= {"t": "1", "multitrack.model_id": "m-77"}.items()
    assert sorted((m.key, m.value, m.step, m.timestamp, m.dataset_name) for m in found.metrics) == [
        ("acc", 0.9, 3, MS, "d"),
        ("f1", 0.5, 0, MS, None),
    ]
    assert [link.step for link in run_of(sink, client).outputs.model_outputs] == [4]
    assert [item.path for item in client.list_logged_model_artifacts(found.model_id, "sub")] == ["sub/w.bin"]
    assert files_of(sink, client) == ["models/network"]


def test_files_of_a_model_find_it_after_the_run_was_opened_again(make_sink: OpenSink, run: RunStarted, client: Any, tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"weights")
    model = Model(time=T, name="net", id="m-1", path="net")
    first, second = make_sink(), make_sink()
    first.open(run)
    first.write(batch(model))
    second.open(run)
    second.write(batch(Artifact(time=T, name="net/w.bin", sha256="abc"), number=2, files=tmp_path))
    second.write(batch(model.model_copy(update={"tags": {"late": "1"}, "params": {"p": "1"}}), number=3))
    found = model_of(second, client)
    assert [item.path for item in client.list_logged_model_artifacts(found.model_id)] == ["w.bin"]
    assert (found.tags["late"], found.params) == ("1", {"p": "1"})
    assert files_of(second, client) == []


@pytest.mark.parametrize(("status", "there"), [(None, "READY"), ("READY", "READY"), ("FAILED", "FAILED"), ("PENDING", "PENDING")])
def test_a_models_status_arrives(sink: MLflowSink, client: Any, status: str | None, there: str) -> None:
    sink.write(batch(Model(time=T, name="net", id="m-1", path="net", status=status)))
    assert str(model_of(sink, client).status) == there


def test_an_input_model_is_linked_where_it_is_there_and_refused_where_not(make_sink: OpenSink, project: str, client: Any) -> None:
    maker, user = make_sink(), make_sink()
    maker.open(started(project))
    user.open(started(project))
    used = Model(time=T, name="net", id="m-1", path="net", role="input")
    with pytest.raises(PermanentError, match="deliver the run that made it first"):
        user.write(batch(used))
    maker.write(batch(Model(time=T, name="net", id="m-1", path="net")))
    user.write(batch(used))
    user.write(batch(used))
    assert [link.model_id for link in run_of(user, client).inputs.model_inputs] == [model_of(maker, client).model_id]


# -- other stores -----------------------------------------------------------------------------------------------------


def write_to_a_database(sink: MLflowSink, witness: Callable[[], Any], run: RunStarted, folder: Path) -> str:
    """Write a run of everything, twice, to a database without a server; return where its artifacts are."""
    (folder / "abc").write_bytes(b"x")
    assert sink.open(run) == Position(batches=0)
    records = [
        Metrics(time=T, step=-1, values={"loss": math.nan}),
        Points(time=T, name="x", steps=[1, 2**62], times=[T, T], values=[1.0, math.inf]),
        Hyperparameters(time=T, values={"a": "1", "A": "é"}),
        Artifact(time=T, name="d/f.txt", sha256="abc"),
        DataVersion(time=T, name="d", role="test"),
        Model(time=T, name="net", id="m-1", path="net", scores=[ModelScore(name="acc", time=T, value=0.5)]),
    ]
    for _ in range(2):
        assert sink.write(batch(*records, files=folder)) == []
    with pytest.raises(PermanentError):
        sink.write(batch(Hyperparameters(time=T, values={"a": "2"}), number=2))
    sink.finish(ended())
    client = witness()
    found = run_of(sink, client)
    assert (found.info.status, found.info.start_time, found.info.end_time) == ("FINISHED", MS, MS + 5000)
    assert found.data.params == {"a": "1", "A": "é"}
    assert len(history(sink, client, "loss")) == 1
    assert [point[1:] for point in history(sink, client, "x")] == [(1, 1.0), (2**62, 1.7976931348623157e308)]
    assert len(found.inputs.dataset_inputs) == len(found.outputs.model_outputs) == len(model_of(sink, client).metrics) == 1
    assert sink.url() is None
    return str(found.info.artifact_uri)


def test_a_sqlite_file_holds_the_same_and_its_artifacts_stand_beside_it(
    make_sink: OpenSink, sqlite_uri: str, run: RunStarted, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    artifacts = write_to_a_database(make_sink(sqlite_uri), lambda: MlflowClient(tracking_uri=sqlite_uri), run, tmp_path)
    assert artifacts.startswith(str(tmp_path / "mlruns"))
    assert (Path(artifacts) / "d/f.txt").read_bytes() == b"x"


@pytest.mark.skipif(find_programs() is None, reason="PostgreSQL's programs (initdb, postgres) are not installed")
def test_postgresql_holds_the_same_and_artifacts_go_where_the_settings_say(run: RunStarted, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    with PostgreSQL("s3cret/@ word") as server:
        settings = MLflowSettings(password=SecretStr("s3cret/@ word"), artifacts=str(tmp_path / "files"))
        location = MLflowBackend.resolve(server.location, tmp_path)
        with pytest.raises(AuthError):
            MLflowBackend(location, MLflowSettings(password=SecretStr("wrong"))).sink().open(run)
        sink = MLflowSink(str(location), settings)
        uri = server.location.replace("@", ":s3cret%2F%40%20word@", 1)
        artifacts = write_to_a_database(sink, lambda: MlflowClient(tracking_uri=uri), run, tmp_path)
        sink.close()
    assert artifacts.startswith(str(tmp_path / "files"))


def test_a_folder_is_not_written_to(make_sink: OpenSink, file_store: str, run: RunStarted) -> None:
    with pytest.raises(PermanentError, match="sqlite:///FILE"):
        make_sink(file_store).open(run)
    assert not Path(file_store).exists()


# -- outages ----------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(10)
def test_an_unreachable_server_is_a_transient_error_within_seconds(make_sink: OpenSink, run: RunStarted) -> None:
    with pytest.raises(TransientError, match="opening the run"):
        make_sink(f"http://127.0.0.1:{free_port()}").open(run)


def test_an_outage_in_mid_run_is_transient_and_the_batch_can_be_written_again(make_sink: OpenSink, run: RunStarted, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    (tmp_path / "abc").write_bytes(b"x")
    points = Points(time=T, name="loss", steps=list(range(5000)), times=[T] * 5000, values=[0.5] * 5000)
    whole = batch(points, Artifact(time=T, name="f", sha256="abc"), files=tmp_path)
    with MLflowServer(tmp_path / "server") as server:
        sink = make_sink(server.url)
        sink.open(run)
        sink.write(batch(Metrics(time=T, step=1, values={"before": 1.0})))
        server.stop()
        with pytest.raises(TransientError):
            sink.write(whole)
        server.start()
        assert sink.write(whole) == []
        sink.finish(ended())
        witness = MlflowClient(tracking_uri=server.url)
        assert len(history(sink, witness, "loss")) == 5000
        assert files_of(sink, witness) == ["f"]
    with pytest.raises(TransientError):
        sink.flush() and sink.write(whole)


def test_sinks_leave_no_threads_and_no_files(make_sink: OpenSink, run: RunStarted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "abc").write_bytes(b"x")
    sink = make_sink()
    sink.open(run)
    sink.write(batch(*(Artifact(time=T, name=name, sha256="abc") for name in "abcd"), files=tmp_path))
    sink.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("multitrack-mlflow")]
    assert list((tmp_path / "tmp").iterdir()) == []

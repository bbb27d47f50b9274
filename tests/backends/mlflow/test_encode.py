"""From records to MLflow's entities, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.backend import TAG_PARENT, TAG_RUN_ID, Entry
from multitrack.records import (
    Artifact,
    CaptureFailed,
    CodeVersion,
    DataColumn,
    DataVersion,
    Environment,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    Model,
    ModelScore,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Summary,
)
from multitrack_mlflow import encode

T = 1_600_000_000_123_999


def content_of(*records: Record) -> encode.Content:
    return encode.encode_entries([Entry("w", seq, record) for seq, record in enumerate(records)])


def points_of(*records: Record) -> list[tuple[str, float, int, int]]:
    return [(m.key, m.value, m.timestamp, m.step) for m in content_of(*records).metrics]


def started(**fields: Any) -> RunStarted:
    return RunStarted(**{"time": T, "id": "r" * 32, "project": "p", **fields})


def test_points_are_floats_at_whole_milliseconds() -> None:
    row = Metrics(time=T, step=2, values={"a": 1.0, "b": True})
    column = Points(time=T, name="c", steps=[1, None], times=[T, 999], values=[3, 4.5])
    ms = T // 1000
    assert points_of(row, column) == [("a", 1.0, ms, 2), ("b", 1.0, ms, 2), ("c", 3.0, ms, 1), ("c", 4.5, 0, 0)]
    assert all(type(value) is float for _, value, _, _ in points_of(row, column))


def test_resource_usage_is_told_by_its_name() -> None:
    row = Metrics(time=T, step=0, values={"cpu": 1.0, "system/gpu": 2.0}, source="system")
    assert [key for key, *_ in points_of(row)] == ["system/cpu", "system/gpu"]
    assert [key for key, *_ in points_of(Points(time=T, name="x", times=[T], values=[1.0], source="system"))] == ["system/x"]


def test_a_summary_is_metrics_for_numbers_and_tags_for_text() -> None:
    content = content_of(Summary(time=T, values={"best": 0.5, "n": 3, "verdict": "good"}))
    assert [(m.key, m.value, m.step, m.timestamp) for m in content.metrics] == [
        ("_summary/best", 0.5, 0, T // 1000),
        ("_summary/n", 3.0, 0, T // 1000),
    ]
    assert content.tags == {"multitrack.summary.verdict": "good"}


def test_of_one_params_values_the_first_stands_and_of_a_tags_the_last() -> None:
    content = content_of(
        Hyperparameters(time=T, values={"a": "1", "b": "x"}),
        Hyperparameters(time=T, values={"a": "2"}),
        RunUpdated(time=T, tags={"t": "1", "gone": "1", "back": "1"}, name="one"),
        RunUpdated(time=T, tags={"t": None}, removed_tags=["gone", "back"]),
        RunUpdated(time=T, tags={"back": "2"}, name="two", status="running"),
    )
    assert content.params == {"a": "1", "b": "x"}
    assert content.tags == {"t": "", "gone": None, "back": "2"}
    assert (content.run_name, content.status) == ("two", "RUNNING")


def test_beginning_and_end_of_a_run_are_left_to_open_and_finish() -> None:
    start = started(tags={"a": "1"})
    content = content_of(start, RunFinished(time=T, status="failed"), MetricDefinition(time=T, name="x"))
    assert content == encode.Content(start=start)


def test_a_runs_tags_hold_its_fields() -> None:
    run = started(
        user="u",
        notes="n",
        group="g",
        job_type="j",
        host="h",
        reproduces="o" * 32,
        parent="q" * 32,
        tags={"a": None, "mlflow.user": "other"},
    )
    assert encode.start_tags(run) == {
        "a": "",
        "mlflow.user": "u",
        "mlflow.note.content": "n",
        "multitrack.group": "g",
        "multitrack.job_type": "j",
        "multitrack.host": "h",
        "multitrack.reproduces": "o" * 32,
        TAG_PARENT: "q" * 32,
        TAG_RUN_ID: "r" * 32,
    }


def test_what_could_not_be_captured_is_a_tag_of_a_name_that_mlflow_takes() -> None:
    content = content_of(CaptureFailed(time=T, what="code", error="E: x"), CaptureFailed(time=T, what="a=b\nc" * 99, error="y" * 9000))
    assert content.tags == {
        "multitrack.capture_failed.code": "E: x",
        "multitrack.capture_failed." + ("a_b_c" * 99)[:200]: "y" * 8000,
    }


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"name": "n"}, "n"),
        ({"tags": {"mlflow.runName": "t"}}, "t"),
        ({"name": "n", "tags": {"mlflow.runName": "t"}}, "n"),
        ({}, "rrrrrrrr"),
    ],
)
def test_a_runs_name(fields: dict[str, Any], name: str) -> None:
    assert encode.run_name(started(**fields)) == name
    assert "mlflow.runName" not in encode.start_tags(started(**fields))


def test_a_data_set_always_has_a_digest_and_the_same_one_each_time() -> None:
    first, later = (encode.dataset_input(DataVersion(time=time, name="d", uri="u")).dataset.digest for time in (T, T + 1))
    other = encode.dataset_input(DataVersion(time=T, name="d", uri="v")).dataset.digest
    assert first == later != other
    assert encode.dataset_input(DataVersion(time=T, name="d", digest="x" * 64)).dataset.digest == "x" * 36


def test_a_data_set_that_was_described_is_shown_as_mlflow_shows_its_own() -> None:
    columns = [("x", "int64"), ("y", "Datetime(time_unit='us', time_zone=None)"), ("z", "struct<a: int64>")]
    table = DataVersion(time=T, name="d", rows=3, columns=[DataColumn(name=name, type=kind) for name, kind in columns])
    shown = encode.dataset_input(table).dataset
    assert json.loads(shown.schema)["mlflow_colspec"] == [
        {"type": "long", "name": "x", "required": False},
        {"type": "datetime", "name": "y", "required": False},
        {"type": "struct<a: int64>", "name": "z", "required": False},
    ]
    assert json.loads(shown.profile) == {"num_rows": 3, "num_elements": 9}
    own = table.model_copy(update={"data_schema": {"a": "b"}, "profile": {"c": 1}})
    assert (encode.dataset_input(own).dataset.schema, encode.dataset_input(own).dataset.profile) == ('{"a": "b"}', '{"c": 1}')


@pytest.mark.parametrize(
    ("source_type", "uri", "source"),
    [
        ("local", "file:///d/x.csv", '{"uri": "file:///d/x.csv"}'),
        ("s3", "s3://b/k", '{"uri": "s3://b/k"}'),
        ("http", "https://e/x", '{"url": "https://e/x"}'),
        ("hugging_face", '{"path": "squad"}', '{"path": "squad"}'),
        ("file", '{"uri": "x"}', '{"uri": "x"}'),
        (None, "s3://b/k", "s3://b/k"),
        ("s3", None, ""),
        ("s3", "s3://" + "u" * 65_530, "s3://" + "u" * 65_530),
    ],
)
def test_where_data_is_in_the_form_that_mlflow_finds_it_by(source_type: str | None, uri: str | None, source: str) -> None:
    record = DataVersion(time=T, name="d", source_type=source_type, uri=uri, digest="a", algorithm="sha256")
    assert encode.dataset_input(record).dataset.source == source
    foreign = record.model_copy(update={"algorithm": None})
    assert encode.dataset_input(foreign).dataset.source == (uri or "")


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (None, None),
        ("as it is", "as it is"),
        ({"a": [1, "é"]}, '{"a": [1, "\\u00e9"]}'),
        ("x" * 1_048_575, "x" * 1_048_575),
        ("x" * 1_048_576, None),
    ],
)
def test_a_schema_arrives_whole_or_not_at_all(schema: Any, text: str | None) -> None:
    assert encode.dataset_input(DataVersion(time=T, name="d", data_schema=schema)).dataset.schema == text


def test_documents_have_names_of_their_own() -> None:
    train, test = DataVersion(time=T, name="d", role="train"), DataVersion(time=T, name="d", role="test")
    hosts = [Environment(time=T, host=host) for host in ("a", "../../b/c", None)]
    names = set(content_of(train, test, *hosts, CodeVersion(time=T)).documents)
    assert names == {
        encode.data_file(train),
        encode.data_file(test),
        "multitrack/environment/a.json",
        "multitrack/environment/__.._b_c.json",
        "multitrack/environment/unknown.json",
        "multitrack/requirements.txt",
        "multitrack/code.json",
    }
    assert encode.data_file(train) != encode.data_file(test)


def test_a_console_line_stays_one_line() -> None:
    lines = LogLines(time=T, stream="stderr", times=[0, -1], lines=["a b", "two\nparts"])
    assert encode.console_text(lines) == (
        "1970-01-01T00:00:00.000000+00:00 stderr a b\n1969-12-31T23:59:59.999999+00:00 stderr two parts\n"
    )


def test_scores_belong_to_the_model_and_name_their_data_set_only_as_a_whole() -> None:
    scores = [
        ModelScore(name="acc", time=T, value=1, step=2, data_name="d", data_digest="x"),
        ModelScore(name="f1", time=T, value=0.5, data_name="d"),
    ]
    metrics = encode.score_metrics(Model(time=T, name="m", id="i", path="p", scores=scores), "m-1", "run")
    assert [(m.key, m.value, m.step, m.model_id, m.run_id, m.dataset_name, m.dataset_digest) for m in metrics] == [
        ("acc", 1.0, 2, "m-1", "run", "d", "x"),
        ("f1", 0.5, 0, "m-1", "run", None, None),
    ]


def test_of_a_long_error_the_end_is_kept() -> None:
    assert encode.error_tag("short") == "short"
    assert encode.error_tag("x" * 9000 + "ValueError: at last") == "x" * (8000 - 19) + "ValueError: at last"


@pytest.mark.parametrize("name", ["a", "a/b c", " a/b", "a /b", "é" * 127])
def test_good_file_names(name: str) -> None:
    assert encode.why_not_a_file_name(name) is None


@pytest.mark.parametrize("name", [" a", "a/ b", "é" * 128, "é" * 128 + "/a"])
def test_bad_file_names_are_told_why(name: str) -> None:
    assert repr(name) in str(encode.why_not_a_file_name(name))


def test_of_files_with_one_name_the_last_stands() -> None:
    one, two = Artifact(time=T, name="f", sha256="1"), Artifact(time=T, name="f", sha256="2")
    assert [artifact for _, artifact in content_of(one, two).artifacts.values()] == [two]


@given(metrics=st.integers(0, 3500), params=st.integers(0, 350), tags=st.integers(0, 350), removed=st.integers(0, 5))
def test_calls_hold_everything_once_within_mlflows_limits(metrics: int, params: int, tags: int, removed: int) -> None:
    points = list(range(metrics))
    all_tags: dict[str, str | None] = {str(i): str(i) for i in range(tags)} | {f"x{i}": None for i in range(removed)}
    made = list(encode.calls(points, {str(i): str(i) for i in range(params)}, all_tags))  # type: ignore[arg-type]
    assert [point for some, _, _ in made for point in some] == points
    assert [param.key for _, some, _ in made for param in some] == [str(i) for i in range(params)]
    assert [tag.key for _, _, some in made for tag in some] == [str(i) for i in range(tags)]
    for some_points, some_params, some_tags in made:
        assert 0 < len(some_points) + len(some_params) + len(some_tags) <= 1000
        assert len(some_params) <= 100
        assert len(some_tags) <= 100


def test_a_diff_is_a_file_for_people() -> None:
    assert content_of(CodeVersion(time=T, diff="-\udcff\n+é\n")).documents["multitrack/diff.patch"] == b"-\xff\n+\xc3\xa9\n"
    assert content_of(CodeVersion(time=T, diff="\ud800")).documents["multitrack/diff.patch"] == b"?"
    assert "multitrack/diff.patch" not in content_of(CodeVersion(time=T)).documents

"""A run as its records make it, taken apart again, and compared."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.records import (
    Artifact,
    Environment,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Summary,
    decode,
)
from multitrack.state import ConsoleLine, RunState, Series, compare, fold, last_values, merge_equal_points, to_records
from support.strategies import runs, some

START = RunStarted(time=100, id="0" * 32, project="p", name="n", tags={"a": "1", "b": None})


@some
@given(runs)
def test_canonical_records_fold_to_the_same_run(run: list[Record]) -> None:
    state = fold(run)
    again = fold(to_records(state))
    assert compare(state, again) == []
    assert list(again.metrics) == list(state.metrics)
    assert again.console == state.console


@some
@given(runs, st.integers(0, 11))
def test_reading_may_stop_and_go_on(run: list[Record], cut: int) -> None:
    assert compare(fold(run), fold(run[cut:], into=fold(run[:cut]))) == []


@some
@given(runs)
def test_folding_leaves_the_records_alone(run: list[Record]) -> None:
    before = str(run)
    fold(run, into=fold(run))
    assert str(run) == before


def test_a_run_s_life() -> None:
    state = fold([START])
    assert (state.status, state.started, state.ended) == ("running", 100, None)
    fold([RunFinished(time=200, status="failed", error="ValueError")], into=state)
    assert (state.status, state.ended, state.error) == ("failed", 200, "ValueError")
    fold([RunUpdated(time=300, status="running")], into=state)
    assert (state.status, state.ended, state.error) == ("running", None, None)


def test_the_first_of_several_writers_says_who_the_run_is_and_the_earliest_when_it_started() -> None:
    other = RunStarted(time=50, id="1" * 32, project="q", tags={"c": "3"})
    state = fold([START, other, START.model_copy(update={"time": 900, "id": "2" * 32})])
    assert (state.id, state.project, state.started, state.tags) == ("0" * 32, "p", 50, {"a": "1", "b": None})


def test_updates_replace_what_they_name() -> None:
    state = fold([START, RunUpdated(time=0, name="m", tags={"c": "3"}, removed_tags=["a", "none"], deleted=True)])
    assert (state.name, state.tags, state.deleted, state.notes) == ("m", {"b": None, "c": "3"}, True, None)


def test_params_merge_where_both_are_mappings() -> None:
    first = {"model": {"depth": 3, "opt": {"lr": 0.1}}, "seed": 1}
    second = {"model": {"opt": {"lr": 0.2}, "width": {}}, "seed": {"a": 1}}
    state = fold([Hyperparameters(time=0, values=first), Hyperparameters(time=0, values=second)])
    assert state.params == {"model": {"depth": 3, "opt": {"lr": 0.2}, "width": {}}, "seed": {"a": 1}}
    fold([Hyperparameters(time=0, values={"model": 0})], into=state)
    assert state.params["model"] == 0


def test_a_value_that_is_set_again_loses_its_source() -> None:
    first = Hyperparameters(
        time=0,
        values={"lr": 0.1, "model": {"depth": 3, "width": 8}, "opt": {"name": "sgd"}},
        sources={"lr": "default", "model": {"depth": "default", "width": "command line"}, "opt": {"name": "default"}},
    )
    second = Hyperparameters(time=1, values={"lr": 0.5, "model": {"depth": 5}, "opt": "adam", "new": 1}, sources={"new": "environment"})
    assert fold([first]).param_sources == first.sources
    assert fold([first, second]).param_sources == {"model": {"width": "command line"}, "new": "environment"}


def test_rows_and_columns_are_one_series() -> None:
    row = Metrics(time=1, step=0, values={"x": 1.0, "y": 1})
    column = Points(time=9, name="x", times=[2, 3], values=[math.inf, "t"])
    state = fold([row, column, Metrics(time=4, values={"x": True})])
    assert state.metrics["x"] == Series([0, None, None, None], [1, 2, 3, 4], [1.0, math.inf, "t", True])
    assert len(state.metrics["y"]) == 1


def test_the_last_artifact_of_a_name_and_the_environment_of_each_host_count() -> None:
    state = fold(
        [
            Artifact(time=0, name="m", size=1),
            Artifact(time=1, name="m", size=2),
            Environment(time=0, host="a"),
            Environment(time=0, host="b"),
        ]
    )
    assert state.artifacts["m"].size == 2
    assert list(state.environments) == ["a", "b"]


def test_console_keeps_streams_apart_and_lines_in_order() -> None:
    state = fold(
        [
            LogLines(time=0, times=[1, 2], lines=["a", "b"]),
            LogLines(time=0, stream="stderr", times=[3], lines=["e"]),
            LogLines(time=0, times=[4], lines=["c"]),
            LogLines(time=0, times=[5], lines=["d"], label="rank 1"),
        ]
    )
    assert [line[:3] for line in state.console[:3]] == [(1, "stdout", "a"), (2, "stdout", "b"), (3, "stderr", "e")]
    assert state.console[3:] == [ConsoleLine(4, "stdout", "c"), ConsoleLine(5, "stdout", "d", "rank 1")]
    again = [(record.lines, record.label) for record in to_records(state) if isinstance(record, LogLines)]
    assert again == [(["a", "b"], None), (["e"], None), (["c"], None), (["d"], "rank 1")]


def test_records_of_a_newer_version_pass_through() -> None:
    _, weather = decode(b'{"kind":"weather","seq":1,"time":1,"sky":"blue"}')
    assert to_records(fold([START, weather]))[-1] is weather
    assert [difference.field for difference in compare(fold([weather]), fold([]))] == ["unknown records"]


def test_long_series_are_written_in_chunks() -> None:
    count = 25_000
    state = fold([START, Points(time=0, name="x", times=[*range(count)], values=[0.5] * count)])
    chunks = [record for record in to_records(state) if isinstance(record, Points)]
    assert [len(chunk.times) for chunk in chunks] == [10_000, 10_000, 5_000]
    assert all(chunk.steps is None for chunk in chunks)


# -- views ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "value"), [(None, 2), ("last", 2), ("first", 3.0), ("min", 1), ("max", 3.0), ("mean", 2.0)])
def test_last_values_follow_the_definition(rule: Any, value: Any) -> None:
    column = Points(time=0, name="x", times=[0, 0, 0, 0], values=[3.0, math.nan, 1, 2])
    state = fold([column, MetricDefinition(time=0, name="x", summary=rule)])
    assert last_values(state) == {"x": value}


def test_last_values_patterns_and_what_was_set() -> None:
    state = fold(
        [
            Metrics(time=0, values={"val/a[0]": 2, "val/b": 1, "c": 1, "t": "text"}),
            Metrics(time=0, values={"val/a[0]": 1, "val/b": 2, "c": 2}),
            MetricDefinition(time=0, name="*", summary="last"),
            MetricDefinition(time=0, name="val/*", summary="max"),
            MetricDefinition(time=0, name="val/b", summary="min"),
            MetricDefinition(time=0, name="t*", summary="none"),
            Summary(time=0, values={"c": 9, "best": 0.5}),
        ]
    )
    assert last_values(state) == {"val/a[0]": 2, "val/b": 1, "c": 9, "best": 0.5}


def test_equal_points_become_one_and_others_stay() -> None:
    nan = float("nan")
    column = Points(time=0, name="x", steps=[1, 1, 1, 1, 1.0, 2], times=[5] * 6, values=[nan, math.nan, 1, 1.0, 1.0, 1.0])
    merged = merge_equal_points(state := fold([column]))
    assert merged.metrics["x"].steps == [1, 1, 1, 1.0, 2]
    assert len(state.metrics["x"]) == 6


# -- comparing ------------------------------------------------------------------------------------------------------------


def _with(**changes: Any) -> RunState:
    state = fold([START, Metrics(time=1, step=17, values={"loss": 0.5}), Hyperparameters(time=0, values={"a": {"b": 1}})])
    for name, value in changes.items():
        setattr(state, name, value)
    return state


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"status": "failed"}, "status: expected 'running', found 'failed'"),
        ({"started": 101}, "started: expected 100, found 101"),
        ({"tags": {"a": "1"}}, "tag 'b': expected None, found nothing"),
        ({"params": {"a": {"b": 1.0}}}, "param 'a.b': expected 1, found 1.0"),
        ({"params": {"a": {"b": True}}}, "param 'a.b': expected 1, found True"),
        ({"metrics": {}}, "metric 'loss': expected 1 points, found nothing"),
        ({"summary": {"x": math.nan}}, "summary 'x': expected nothing, found nan"),
        ({"artifacts": {"m": Artifact(time=0, name="m")}}, "artifact 'm': expected nothing, found a record"),
        ({"console": [(0, "stdout", "x")]}, "console: expected 0 lines, 0 of them missing, found 1 lines, 1 too many"),
        (
            {"metrics": {"loss": Series([17, 17], [1, 1], [0.5, 0.5])}},
            "metric 'loss': expected 1 points, found 2 points, 1 of them too many, the first at step 17, time 1, value 0.5",
        ),
        (
            {"metrics": {"loss": Series([17], [1], [0.25])}},
            "metric 'loss': expected 1 points, 1 of them missing, the first at step 17, time 1, value 0.5, "
            "found 1 points, 1 of them too many, the first at step 17, time 1, value 0.25",
        ),
    ],
)
def test_a_difference_is_named(changes: dict[str, Any], line: str) -> None:
    assert [str(difference) for difference in compare(_with(), _with(**changes))] == [line]
    assert compare(_with(**changes), _with(**changes)) == []
    assert compare(_with(), _with(**changes), ignoring=changes) == []


def _series(*points: tuple[Any, int, Any]) -> RunState:
    steps, times, values = ([*column] for column in zip(*points, strict=True))
    return RunState(metrics={"x": Series(steps, times, values)})


def test_points_are_a_multiset() -> None:
    a, b = (1, 0, math.nan), (None, 0, 2.0)
    assert compare(_series(a, b, a), _series(b, (1, 0, float("nan")), a)) == []
    assert len(compare(_series(a, b, a), _series(b, b, a))) == 1


@pytest.mark.parametrize("other", [1.0, True, "1"])
def test_types_count_unless_told_otherwise(other: Any) -> None:
    assert len(compare(_series((0, 0, 1)), _series((0, 0, other)))) == 1
    assert compare(_series((0, 0, 1)), _series((0, 0, other)), typed=False) == [] or other == "1"
    if other != "1":
        assert len(compare(_series((1, 0, 0.5)), _series((other, 0, 0.5)))) == 1


def test_values_too_long_to_print_are_told_apart() -> None:
    differences = compare(RunState(params={"big": 10**5000, "text": "x" * 500}), RunState(params={"big": 10**5001, "text": "y"}))
    assert [len(str(difference)) < 300 for difference in differences] == [True, True]


@pytest.mark.slow
def test_a_million_points_compare_in_seconds() -> None:
    count = 1_000_000
    one = Series([*range(count)], [*range(count)], [n * 0.5 for n in range(count)])
    other = Series(one.steps[::-1], one.times[::-1], one.values[::-1])
    other.values[5] = math.nan
    start = time.perf_counter()
    differences = compare(RunState(metrics={"x": one}), RunState(metrics={"x": other}))
    assert time.perf_counter() - start < 20
    assert "1 of them missing" in differences[0].expected

"""Points fitted to a service: types, steps, times."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given

from multitrack.adapt import Adapter, Losses
from multitrack.backend import ALL_KINDS, Capabilities
from multitrack.records import ArtifactRef, Histogram, Metrics, Points, Summary
from support.strategies import FOLDER_LIKE, MLFLOW_LIKE, entries_of, points

MAX = sys.float_info.max


def _adapt(held: Capabilities, *records: Any) -> tuple[list[Any], list[str]]:
    adapted = Adapter(held).adapt(entries_of(list(records)))
    return [entry.record for entry in adapted.entries], Losses(adapted.losses).lines()


def _column(steps: list[Any] | None, values: list[Any], times: list[int] | None = None) -> Points:
    return Points(time=0, name="x", steps=steps, times=times or [1000] * len(values), values=values)


@pytest.mark.parametrize(
    ("value", "there", "loss"),
    [
        (0.5, 0.5, None),
        (3, 3.0, "ints stand as floats"),
        (True, 1.0, "bools stand as floats"),
        (2**53, float(2**53), "ints stand as floats"),
        (2**53 + 1, float(2**53), "ints beyond 2**53 stand as the nearest float"),
        (10**400, None, "ints beyond the range of floats are left out"),
        (math.inf, MAX, "infinities stand as the largest floats"),
        (-math.inf, -MAX, "infinities stand as the largest floats"),
        ("text", None, "texts are left out"),
        (Histogram(edges=[0.0], counts=[]), None, "histograms are left out"),
        (ArtifactRef(name="a", sha256="0"), None, "images, tables and figures stand as files only"),
    ],
)
def test_values_where_only_floats_are_held(value: Any, there: Any, loss: str | None) -> None:
    losses = [] if loss is None else [f"metric 'x': {loss}"]
    row, row_losses = _adapt(MLFLOW_LIKE, Metrics(time=1000, step=1, values={"x": value}))
    column, column_losses = _adapt(MLFLOW_LIKE, _column([1], [value]))
    assert row_losses == column_losses == losses
    assert [type(record.values["x"]) for record in row] == [float] * (there is not None)
    assert (
        [record.values["x"] for record in row] == [value for record in column for value in record.values] == [there] * (there is not None)
    )


@pytest.mark.parametrize(
    ("value", "there", "loss"),
    [
        (2**53, 2**53, None),
        (-(2**53), -(2**53), None),
        (2**53 + 1, float(2**53), "ints beyond 2**53 stand as the nearest float"),
        (10**400, None, "ints beyond the range of floats are left out"),
        ("x" * 10, "x" * 10, None),
        ("x" * 11, "x" * 10, "only the start of a long text arrives"),
    ],
)
def test_values_where_ints_and_texts_have_an_end(value: Any, there: Any, loss: str | None) -> None:
    held = Capabilities(largest_int=2**53, text_length=10)
    row, row_losses = _adapt(held, Metrics(time=1000, step=1, values={"x": value}))
    column, column_losses = _adapt(held, _column([1], [value]))
    summary, summary_losses = _adapt(held, Summary(time=1000, values={"x": value}))
    assert row_losses == column_losses == ([] if loss is None else [f"metric 'x': {loss}"])
    assert summary_losses == ([] if loss is None else [f"summary 'x': {loss}"])
    expected = [] if there is None else [there]
    assert [record.values["x"] for record in row] == [record.values[0] for record in column] == expected
    assert [record.values["x"] for record in summary] == expected
    assert [type(record.values["x"]) for record in row] == [type(one) for one in expected]


def test_nan_stays_where_it_is_held_and_is_left_out_where_not() -> None:
    column = _column([1, 2], [math.nan, 1.0])
    assert _adapt(MLFLOW_LIKE, column) == ([column], [])
    kept, losses = _adapt(FOLDER_LIKE, column)
    assert (kept[0].steps, kept[0].values, losses) == ([2], [1.0], ["metric 'x': NaN is left out"])


@pytest.mark.parametrize(
    ("step", "there", "loss"),
    [
        (7, [7], None),
        (-7, [-7], None),
        (2.5, [2], "float steps stand as ints, rounded down"),
        (-2.5, [-3], "float steps stand as ints, rounded down"),
        (3.0, [3], "float steps stand as ints, rounded down"),
        (2**63, [], "points with a step out of range are left out"),
        (1e300, [], "points with a step out of range are left out"),
        (math.nan, [], "points with a step out of range are left out"),
        (math.inf, [], "points with a step out of range are left out"),
        (None, [0], "missing steps stand as ordinals"),
    ],
)
def test_steps_where_only_ints_fit(step: Any, there: list[int], loss: str | None) -> None:
    losses = [] if loss is None else [f"metric 'x': {loss}"]
    row, row_losses = _adapt(MLFLOW_LIKE, Metrics(time=1000, step=step, values={"x": 1.0}))
    column, column_losses = _adapt(MLFLOW_LIKE, _column([step], [1.0]))
    assert row_losses == column_losses == losses
    assert [record.step for record in row] == [step for record in column for step in record.steps] == there
    assert all(type(record.step) is int for record in row)


def test_missing_steps_count_each_series_for_itself_across_rows_and_columns() -> None:
    records, losses = _adapt(
        MLFLOW_LIKE,
        Metrics(time=0, values={"x": 1.0, "y": 1.0}),
        Metrics(time=0, values={"x": 2.0}),
        Metrics(time=0, values={"x": 3.0, "y": 2.0}),
        _column(None, [4.0, 5.0]),
        _column([None, 70, None], [6.0, 7.0, 8.0]),
    )
    rows = [(row.step, row.values) for row in records[:4]]
    assert rows == [(0, {"x": 1.0, "y": 1.0}), (1, {"x": 2.0}), (2, {"x": 3.0}), (1, {"y": 2.0})]
    assert [column.steps for column in records[4:]] == [[3, 4], [5, 70, 6]]
    assert losses == ["metric 'x': missing steps stand as ordinals (7 times)", "metric 'y': missing steps stand as ordinals (2 times)"]


def test_times_are_cut_to_the_resolution_and_the_earliest() -> None:
    records, losses = _adapt(
        MLFLOW_LIKE, _column([1, 2, 3], [1.0, 2.0, 3.0], [1999, 2000, -5]), Metrics(time=-1, step=1, values={"y": 1.0})
    )
    assert records[0].times == [1000, 2000, 0]
    assert records[1].time == 0
    assert losses == ["points: times are kept to the millisecond, none before 1970 (3 times)"]


def test_equal_points_are_declared_where_they_become_one() -> None:
    equal = _column([1, 1, 1, 2], [1.0, 1.0, 2.0, 1.0])
    assert _adapt(MLFLOW_LIKE, equal)[1] == ["metric 'x': equal points become one (counted within chunks: there may be more)"]
    nans = _column([1, 1, 1], [math.nan, float("nan"), 1.0])
    assert len(_adapt(MLFLOW_LIKE, nans)[1]) == 1
    distinct = _column([1, 1, 2], [1.0, 2.0, 1.0])
    assert _adapt(MLFLOW_LIKE, distinct) == ([distinct], [])


def test_what_needs_no_change_is_the_same_object() -> None:
    row, column = Metrics(time=1000, step=1, values={"x": 1.0, "y": math.nan}), _column([1, 2], [1.0, math.nan])
    adapted = Adapter(MLFLOW_LIKE).adapt(entries := entries_of([row, column]))
    assert [id(entry) for entry in adapted.entries] == [id(entry) for entry in entries]


@given(points)
def test_a_column_is_adapted_as_its_points_one_by_one(column: Points) -> None:
    """The passes over columns are quick ways to say what rows say point by point."""
    steps = column.steps if column.steps is not None else [None] * len(column.times)
    rows = [
        Metrics(time=at, step=step, values={column.name: value}, source=column.source)
        for step, at, value in zip(steps, column.times, column.values, strict=True)
    ]
    assume(column.times)
    for held in (MLFLOW_LIKE, replace(FOLDER_LIKE, kinds=ALL_KINDS)):
        whole, losses = _adapt(held, column)
        single, row_losses = _adapt(held, *rows)
        as_rows = [
            (one.name, step, at, str(value), one.source)
            for one in whole
            if isinstance(one, Points)
            for step, at, value in zip(one.steps or [None] * len(one.times), one.times, one.values, strict=True)
        ]
        row_points = [
            (name, one.step, one.time, str(value), one.source)
            for one in single
            if isinstance(one, Metrics)
            for name, value in one.values.items()
        ]
        assert as_rows == row_points
        assert [line for line in losses if "equal points" not in line] == row_losses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "per_second"),
    [
        (_column([*range(10_000)], [0.5 * n for n in range(10_000)], [1000 * n for n in range(10_000)]), 1_000_000),
        (_column(None, [*range(10_000)], [1000 * n for n in range(10_000)]), 300_000),
    ],
    ids=["as it is", "ints and missing steps"],
)
def test_columns_are_quick(column: Points, per_second: int) -> None:
    entries = entries_of([column] * 20)
    best = math.inf
    for _ in range(3):
        adapter, start = Adapter(MLFLOW_LIKE), time.perf_counter()
        adapter.adapt(entries)
        best = min(best, time.perf_counter() - start)
    assert 200_000 / best > per_second

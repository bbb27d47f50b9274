"""What was changed of a run since it was recorded, told behind it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from multitrack.edits import find_edits
from multitrack.records import Artifact, Hyperparameters, Metrics, Points, Record, RunFinished, RunStarted, RunUpdated, Summary
from multitrack.state import RunState, compare, fold

RECORDED: list[Record] = [
    RunStarted(time=10, id="a" * 32, project="p", name="one", tags={"k": "old", "bare": None}),
    Hyperparameters(time=11, values={"lr": 0.1, "model": {"depth": 3, "width": 8}}),
    Metrics(time=12, step=1, values={"loss": float("nan"), "n": 2**70}),
    Metrics(time=13, step=2, values={"loss": 0.5}),
    Summary(time=14, values={"best": 0.5}),
    Artifact(time=15, name="m.pt", sha256="0" * 64, size=3),
    RunFinished(time=20, status="finished"),
]


def edited(change: Callable[[RunState], Any]) -> RunState:
    state = copy.deepcopy(fold(RECORDED))
    change(state)
    return state


def add_point(state: RunState) -> None:
    series = state.metrics["loss"]
    series.steps.append(3)
    series.times.append(14)
    series.values.append(0.25)


def fail(state: RunState) -> None:
    state.status, state.error, state.ended = "failed", "said later", 21


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (lambda state: None, []),
        (lambda state: state.tags.update(k="new"), [RunUpdated]),
        (lambda state: state.tags.pop("bare"), [RunUpdated]),
        (lambda state: setattr(state, "notes", "n"), [RunUpdated]),
        (lambda state: setattr(state, "deleted", True), [RunUpdated]),
        (lambda state: state.params["model"].update(depth=4, more=None), [Hyperparameters]),
        (lambda state: state.summary.update(best=0.25), [Summary]),
        (add_point, [Points]),
        (lambda state: state.metrics.update(new=copy.deepcopy(state.metrics["loss"])), [Points]),
        (lambda state: state.artifacts.update({"m.pt": Artifact(time=1, name="m.pt", sha256="1" * 64, size=4)}), [Artifact]),
        (fail, [RunFinished]),
    ],
)
def test_what_can_be_told_behind_the_run_is(change: Callable[[RunState], Any], kinds: list[type[Record]]) -> None:
    state = edited(change)
    edits = find_edits(RECORDED, state)
    assert edits is not None
    assert [type(edit) for edit in edits] == kinds
    assert compare(fold([*RECORDED, *edits]), state) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.params.pop("lr"),
        lambda state: state.metrics["loss"].values.__setitem__(0, 1.0),
        lambda state: state.metrics.pop("n"),
        lambda state: state.artifacts.clear(),
        lambda state: setattr(state, "name", None),
    ],
)
def test_what_was_taken_away_cannot(change: Callable[[RunState], Any]) -> None:
    assert find_edits(RECORDED, edited(change)) is None

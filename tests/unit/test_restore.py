"""A run read back from a service: as it was recorded, but for what people changed there since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from multitrack.adapt import Adapter
from multitrack.adapt.names import hash8
from multitrack.backend import ATTACHED_RECORDS, Capabilities
from multitrack.records import (
    Artifact,
    CodeVersion,
    Environment,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    Origin,
    Points,
    Record,
    RunFinished,
    RunStarted,
    Summary,
)
from multitrack.restore import restore, without_own_marks
from multitrack.state import RunState, compare, fold, merge_equal_points, to_records
from support.strategies import FOLDER_LIKE, MLFLOW_LIKE, capabilities, entries_of, runs, some


def _there(records: list[Record], held: Capabilities) -> RunState:
    """What the service holds after the records were delivered."""
    return fold(entry.record for entry in Adapter(held).adapt(entries_of(records)).entries)


@some
@given(runs, capabilities)
def test_what_nobody_changed_is_as_it_was_recorded(run: list[Record], held: Capabilities) -> None:
    assert compare(fold(run), restore(run, _there(run, held), held)) == []


@some
@given(runs)
def test_a_service_that_merges_equal_points_changes_nothing(run: list[Record]) -> None:
    native = merge_equal_points(_there(run, MLFLOW_LIKE))
    assert compare(fold(run), restore(run, native, MLFLOW_LIKE)) == []


@some
@given(runs, capabilities)
def test_restoring_again_changes_nothing(run: list[Record], held: Capabilities) -> None:
    once = restore(run, _there(run, held), held)
    canonical = to_records(once)
    assert compare(once, restore(canonical, _there(canonical, held), held)) == []


@some
@given(runs, capabilities)
def test_the_service_s_view_is_left_alone(run: list[Record], held: Capabilities) -> None:
    native = _there(run, held)
    before = fold(to_records(native))
    restore(run, native, held)
    restore(None, native, held)
    assert compare(before, native) == []


RUN: list[Record] = [
    RunStarted(
        time=1_000_001, id="0" * 32, project="p", name="svc", parent="1" * 32, tags={"owner": "ada", "bare": None, "a#b": "1"},
        notes="first", user="ada", origin=Origin(source="wandb:team", project="p", run="77"),
    ),
    Hyperparameters(time=0, values={"model": {"depth": 3, "lr": 0.1}, "seed": 7, "c#d": True}),
    Hyperparameters(time=0, values={"seed": 8}),
    Metrics(time=5_000_001, step=0.5, values={"loss": 1, "e#f": 2.0}),
    Points(time=0, name="loss", times=[6_000_001, 7_000_001], values=[2, 3]),
    Metrics(time=5_000_001, step=1, values={"cpu": 0.5}, source="system"),
    Summary(time=0, values={"best": 3, "g#h": "good"}),
    Artifact(time=1, name="model.pt", sha256="a" * 64, size=10, type="model"),
    Artifact(time=1, name="i#j", sha256="b" * 64, size=11),
    CodeVersion(time=2, commit="c0ffee", dirty=True),
    Environment(time=3, host="n1", python="3.11"),
    MetricDefinition(time=4, name="val/*", summary="max"),
    LogLines(time=0, times=[1, 2], lines=["a", "b"]),
    RunFinished(time=9_000_001, status="finished"),
]  # fmt: skip


def _changed(change: Callable[[RunState], Any]) -> tuple[RunState, RunState]:
    """Return the run as recorded and as restored after somebody has changed it at the service."""
    native = _there(RUN, MLFLOW_LIKE)
    change(native)
    return fold(RUN), restore(RUN, native, MLFLOW_LIKE)


def _fields(change: Callable[[RunState], Any]) -> list[str]:
    return [difference.field for difference in compare(*_changed(change))]


def test_a_changed_param_wins_and_the_others_stay() -> None:
    original, restored = _changed(lambda native: native.params.update({"model.depth": "5"}))
    assert restored.params == {"model": {"depth": "5", "lr": 0.1}, "seed": 8, "c#d": True}
    assert [difference.field for difference in compare(original, restored)] == ["param 'model.depth'"]


def test_what_the_run_itself_replaced_does_not_come_back() -> None:
    run: list[Record] = [RUN[0], Hyperparameters(time=0, values={"a": {"b": 1}}), Hyperparameters(time=0, values={"a": 2})]
    native = _there(run, MLFLOW_LIKE)
    assert native.params == {"a.b": "1", "a": "2"}
    assert restore(run, native, MLFLOW_LIKE).params == {"a": 2}
    native.params["a.b"] = "changed"
    assert restore(run, native, MLFLOW_LIKE).params == {"a": 2, "a.b": "changed"}


def test_a_changed_value_under_a_changed_name_comes_back_under_its_own() -> None:
    _, restored = _changed(lambda native: native.params.update({f"c_d-{hash8('c#d')}": "False"}))
    assert restored.params["c#d"] == "False"


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (lambda native: native.params.pop("model.lr"), ["param 'model.lr'"]),
        (lambda native: native.params.update(new="1"), ["param 'new'"]),
        (lambda native: native.tags.pop("owner"), ["tag 'owner'"]),
        (lambda native: native.tags.update({"owner": "eve", f"a_b-{hash8('a#b')}": "2"}), ["tag 'owner'", "tag 'a#b'"]),
        (lambda native: native.tags.update(mine=""), ["tag 'mine'"]),
        (lambda native: native.artifacts.pop("model.pt"), ["artifact 'model.pt'"]),
        (lambda native: native.artifacts.pop(f"i_j-{hash8('i#j')}"), ["artifact 'i#j'"]),
        (lambda native: native.artifacts.update(x=Artifact(time=0, name="x", size=1)), ["artifact 'x'"]),
        (lambda native: native.metrics.pop(f"e_f-{hash8('e#f')}"), ["metric 'e#f'"]),
        (lambda native: native.summary.update(best=4.0), ["summary 'best'"]),
        (lambda native: setattr(native, "name", "renamed"), ["name"]),
        (lambda native: setattr(native, "notes", ""), ["notes"]),
        (lambda native: setattr(native, "deleted", True), ["deleted"]),
        (lambda native: setattr(native, "ended", 9_500_000), ["ended"]),
    ],
)
def test_what_people_change_wins_and_nothing_else_moves(change: Callable[[RunState], Any], fields: list[str]) -> None:
    assert _fields(change) == fields


@pytest.mark.parametrize("field", ["name", "notes", "user", "started", "parent", "origin", "code"])
def test_what_a_service_does_not_tell_is_no_change(field: str) -> None:
    assert _fields(lambda native: setattr(native, field, None)) == []


def test_a_run_that_was_reopened_is_running() -> None:
    def reopen(native: RunState) -> None:
        native.status, native.ended = "running", None

    _, restored = _changed(reopen)
    assert (restored.status, restored.ended) == ("running", None)


def test_points_that_were_added_join_the_original_ones() -> None:
    original, restored = _changed(lambda native: fold([Metrics(time=8_000_000, step=9, values={"loss": 4.0})], into=native))
    before, after = original.metrics["loss"], restored.metrics["loss"]
    assert after.steps == [*before.steps, 9]
    assert after.times == [*before.times, 8_000_000]
    assert [*map(type, after.values)] == [int, int, int, float]


def test_where_points_are_gone_the_service_s_count() -> None:
    def drop(native: RunState) -> None:
        series = native.metrics["loss"]
        del series.steps[0], series.times[0], series.values[0]

    _, restored = _changed(drop)
    assert (restored.metrics["loss"].steps, restored.metrics["loss"].values) == ([0, 1], [2.0, 3.0])


def test_an_artifact_that_was_replaced() -> None:
    def replace(native: RunState) -> None:
        native.artifacts["model.pt"] = Artifact(time=99, name="model.pt", size=12)

    _, restored = _changed(replace)
    artifact = restored.artifacts["model.pt"]
    assert (artifact.size, artifact.sha256, artifact.type) == (12, None, "model")


def test_an_artifact_of_which_only_the_size_is_told_is_the_same() -> None:
    assert _fields(lambda native: native.artifacts.update({"model.pt": Artifact(time=99, name="model.pt", size=10)})) == []


def test_a_tag_somebody_edits_to_what_multitrack_reserves_is_no_one_s() -> None:
    assert _fields(lambda native: native.tags.update({"multitrack.complete": "x", "multitrack.param.seed": "9"})) == []


def test_as_recorded_restores_the_original_whatever_was_changed() -> None:
    native = _there(RUN, MLFLOW_LIKE)
    native.name, native.status = "renamed", "killed"
    native.params.clear()
    assert compare(fold(RUN), restore(RUN, native, MLFLOW_LIKE, as_recorded=True)) == []


# -- without attached records -----------------------------------------------------------------------------------------------


def test_without_attached_records_names_and_last_values_come_from_the_tags() -> None:
    native = _there(RUN, MLFLOW_LIKE)
    native.artifacts[ATTACHED_RECORDS] = Artifact(time=0, name=ATTACHED_RECORDS)
    native.parent = native.origin = None
    restored = restore(None, native, MLFLOW_LIKE)
    assert restored.tags == {"owner": "ada", "bare": "", "a#b": "1"}
    assert restored.params == {"model.depth": "3", "model.lr": "0.1", "seed": "8", "c#d": "True"}
    assert set(restored.metrics) == {"loss", "e#f", "cpu"}
    assert restored.summary == {"best": 3.0, "g#h": "good"}
    assert {name: artifact.name for name, artifact in restored.artifacts.items()} == {"model.pt": "model.pt", "i#j": "i#j"}
    assert (restored.parent, restored.origin) == ("1" * 32, Origin(source="wandb:team", project="p", run="77"))


def test_a_name_tag_that_does_not_fit_its_name_is_not_believed() -> None:
    there = f"a_b-{hash8('a#b')}"
    native = RunState(tags={there: "1", f"multitrack.name.tag.{hash8(there)}": "something else"})
    assert restore(None, native, MLFLOW_LIKE).tags == {there: "1"}


def test_a_name_that_is_taken_meanwhile_stays_with_who_has_it() -> None:
    there = f"cut-{hash8('a' * 300)}"
    long = "a" * 300
    native = RunState(tags={there: "1", long: "2", f"multitrack.name.tag.{hash8(there)}": long})
    assert restore(None, native, MLFLOW_LIKE).tags == {there: "1", long: "2"}


def test_an_origin_that_somebody_has_edited_is_ignored() -> None:
    for text in ("", "{", "[]", '{"source":1}', '{"$":"nan"}'):
        assert without_own_marks(RunState(tags={"multitrack.origin": text})).origin is None


@some
@given(runs)
def test_a_foreign_run_is_as_it_is(run: list[Record]) -> None:
    native = without_own_marks(fold(run))
    assert compare(native, restore(None, native, FOLDER_LIKE)) == []

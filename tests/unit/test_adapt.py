"""Adaptation as a whole: what holds for every run and every service."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.adapt import Adapter, Losses
from multitrack.backend import EVERYTHING, RESERVED_ARTIFACTS, RESERVED_TAGS, Capabilities, Entry
from multitrack.records import (
    Artifact,
    Hyperparameters,
    Metrics,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Summary,
    encode,
)
from support.strategies import FOLDER_LIKE, MLFLOW_LIKE, ROWS_ONLY, capabilities, entries_of, runs, some


def _lines(entries: Any) -> list[tuple[str, int, bytes]]:
    return [(entry.writer, entry.seq, encode(entry.record, entry.seq)) for entry in entries]


@some
@given(runs, capabilities, st.lists(st.integers(0, 13), max_size=4), st.booleans())
def test_batches_and_crashes_change_nothing(run: list[Record], held: Capabilities, cuts: list[int], crash: bool) -> None:
    entries = entries_of(run)
    whole = Adapter(held).adapt(entries)

    adapter, pieces, losses = Adapter(held), [], Losses()
    places = sorted({0, len(entries), *(cut for cut in cuts if cut < len(entries))})
    for start, end in pairwise(places):
        if crash:
            adapter = Adapter(held, orjson.loads(orjson.dumps(adapter.state)))
        adapted = adapter.adapt(entries[start:end])
        pieces.extend(adapted.entries)
        losses.extend(adapted.losses)

    assert _lines(pieces) == _lines(whole.entries)
    assert losses == Losses(whole.losses)


@some
@given(runs, capabilities)
def test_a_batch_adapted_again_from_its_state_is_the_same(run: list[Record], held: Capabilities) -> None:
    entries = entries_of(run)
    adapter = Adapter(held)
    adapter.adapt(entries[:5])
    state = json.dumps(adapter.state)
    first, again = adapter.adapt(entries[5:]), Adapter(held, json.loads(state)).adapt(entries[5:])
    assert _lines(first.entries) == _lines(again.entries)
    assert first.losses == again.losses


@pytest.mark.parametrize("held", [MLFLOW_LIKE, FOLDER_LIKE])
def test_each_batch_by_a_new_adapter_gives_the_same(held: Capabilities) -> None:
    """The state carries what one batch must know of the one before: names, ordinals, and the last values of params."""
    steps: list[Record] = [
        Points(time=0, name="a#b", times=[0, 0], values=[0.5, 0.5]),
        Metrics(time=0, values={"a#b": 0.5, "A#b": 0.5}),
        Hyperparameters(time=0, values={"x": 1, "A": 1}),
        Hyperparameters(time=0, values={"x": 1, "a": 1}),
        Hyperparameters(time=0, values={"x": 2}),
    ]
    entries = entries_of(steps * 2)
    whole = Adapter(held).adapt(entries)
    state, pieces = None, []
    for entry in entries:
        adapter = Adapter(held, state)
        pieces.extend(adapter.adapt([entry]).entries)
        state = json.loads(json.dumps(adapter.state))
    assert _lines(pieces) == _lines(whole.entries)


def test_the_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 0"):
        Adapter(MLFLOW_LIKE, {"version": 0})


def _renamed_everywhere(record: Record) -> bool:
    """Whether the record has names that no service gets: multitrack's own, and empty ones."""
    names = [*getattr(record, "values", ()), *getattr(record, "tags", ()), *getattr(record, "removed_tags", ())]
    names = [str(name) for name in names if not isinstance(record, Points)] + [
        str(getattr(record, "name", "x")),
        str(getattr(record, "x", "x")),
    ]
    inner = str(record)
    return "" in names or "name=''" in inner or "''" in inner or RESERVED_TAGS in inner or RESERVED_ARTIFACTS in inner


@some
@given(runs)
def test_where_everything_is_held_the_same_objects_come_out(run: list[Record]) -> None:
    run = [record for record in run[1:] if not isinstance(record, RunStarted) and not _renamed_everywhere(record)]
    adapted = Adapter(EVERYTHING).adapt(entries := entries_of(run))
    assert [id(entry) for entry in adapted.entries] == [id(entry) for entry in entries]
    assert adapted.losses == ()


@some
@given(runs, capabilities)
def test_what_comes_out_is_what_the_service_holds(run: list[Record], held: Capabilities) -> None:
    for entry in Adapter(held).adapt(entries_of(run)).entries:
        record = entry.record
        assert record.kind in held.kinds or isinstance(record, RunStarted)
        if isinstance(record, Metrics):
            points = [(record.step, record.time, value) for value in record.values.values()]
        elif isinstance(record, Points):
            points = list(zip(record.steps or [None] * len(record.times), record.times, record.values, strict=True))
        else:
            points = []
        for step, time, value in points:
            assert held.missing_steps or step is not None
            assert held.steps == "any" or type(step) is int or step is None
            assert held.step_range is None or step is None or held.step_range[0] <= step <= held.step_range[1]
            assert time % held.time_resolution == 0
            assert held.earliest_time is None or time >= held.earliest_time
            name = {"ArtifactRef": "artifact", "Histogram": "histogram"}.get(type(value).__name__, type(value).__name__)
            assert name in held.point_types
        if isinstance(record, RunFinished):
            assert record.status in held.statuses
        if isinstance(record, Hyperparameters) and not held.nested_params:
            assert not any(isinstance(value, dict) for value in record.values.values())
        if isinstance(record, Hyperparameters) and not held.typed_params:
            assert all(isinstance(value, str) for value in record.values.values())


@some
@given(runs, capabilities)
def test_what_is_adapted_can_be_adapted_again_to_no_effect(run: list[Record], held: Capabilities) -> None:
    """A name that was made to fit fits; a value that was converted stays (multitrack's own tags aside, and times of equal points)."""
    once = [entry.record for entry in Adapter(held).adapt(entries_of(run)).entries if not isinstance(entry.record, RunUpdated | RunStarted)]
    twice = [entry.record for entry in Adapter(held).adapt(entries_of(once)).entries if not isinstance(entry.record, RunUpdated)]
    for record, other in zip(once, twice, strict=True):
        assert encode(record, 0) == encode(other, 0)


def _adapt(records: list[Record], held: Capabilities) -> tuple[list[Record], list[str]]:
    adapted = Adapter(held).adapt(entries_of(records))
    return [entry.record for entry in adapted.entries], Losses(adapted.losses).lines()


START = RunStarted(time=1_000_000, id="0" * 32, project="p")


def test_the_start_carries_the_run_s_identity_and_no_earlier_delivery_s() -> None:
    start = START.model_copy(update={"parent": "1" * 32, "tags": {"mine": "1", "multitrack.run_id": "old", "multitrack.complete": "x"}})
    records, losses = _adapt([start], MLFLOW_LIKE)
    assert [record.tags for record in records] == [{"mine": "1", "multitrack.run_id": "0" * 32, "multitrack.parent": "1" * 32}]
    assert losses == []


def test_the_user_s_reserved_names_are_renamed_everywhere() -> None:
    records, losses = _adapt([RunUpdated(time=0, tags={"multitrack.mine": "1"}), Artifact(time=0, name="multitrack/x")], EVERYTHING)
    update, told, artifact, told_too = records
    assert isinstance(update, RunUpdated)
    assert not any(name.startswith(RESERVED_TAGS) for name in update.tags)
    assert isinstance(told, RunUpdated)
    assert [*told.tags.values()] == ["multitrack.mine"]
    assert isinstance(artifact, Artifact)
    assert not artifact.name.startswith(RESERVED_ARTIFACTS)
    assert isinstance(told_too, RunUpdated)
    assert [*told_too.tags.values()] == ["multitrack/x"]
    assert len(losses) == 2


def test_kinds_without_a_place_are_counted_once() -> None:
    records, losses = _adapt([Summary(time=0, values={"x": 1})] * 3, ROWS_ONLY)
    assert records == []
    assert losses == ["summary: no place for this record there; it travels in the attached records (3 times)"]


def test_a_service_without_chunks_gets_rows_under_the_chunk_s_number() -> None:
    chunk = Points(time=0, name="x", steps=[1, 2], times=[1000, 2000], values=[1, 2])
    adapted = Adapter(ROWS_ONLY).adapt([Entry("w", 7, chunk)])
    assert [(entry.seq, entry.record) for entry in adapted.entries] == [
        (7, Metrics(time=1000, step=1, values={"x": 1})),
        (7, Metrics(time=2000, step=2, values={"x": 2})),
    ]


def test_statuses_without_a_place() -> None:
    records, losses = _adapt([RunUpdated(time=0, status="scheduled"), RunFinished(time=0, status="killed")], FOLDER_LIKE)
    assert [record.status for record in records] == ["running", "failed"]
    assert losses == ["status 'killed': stands as 'failed'", "status 'scheduled': stands as 'running'"]


def test_times_of_a_run_are_as_exact_as_the_service() -> None:
    records, _ = _adapt([START.model_copy(update={"time": 1_234_567}), RunFinished(time=2_345_678, status="finished")], MLFLOW_LIKE)
    assert [record.time for record in records] == [1_234_000, 2_345_000]


def test_references_and_details_of_artifacts() -> None:
    file = Artifact(time=0, name="m", sha256="0" * 64, size=1, type="model", step=3, media_type="x/y", metadata={"a": 1})
    records, losses = _adapt([file, Artifact(time=0, name="r", uri="s3://b/k")], MLFLOW_LIKE)
    assert records == [Artifact(time=0, name="m", sha256="0" * 64, size=1)]
    assert losses == [
        "artifact 'r': references without content have no place there",
        "artifacts: type, step, media type and metadata have no place there",
    ]


def test_tags_bare_and_long() -> None:
    records, losses = _adapt([RunUpdated(time=0, tags={"bare": None, "long": "x" * 9000})], MLFLOW_LIKE)
    assert records == [RunUpdated(time=0, tags={"bare": "", "long": "x" * 8000})]
    assert losses == ["tag 'bare': gets an empty value", "tag 'long': only the first 8,000 characters arrive"]


@some
@given(runs, capabilities)
def test_losses_survive_json(run: list[Record], held: Capabilities) -> None:
    losses = Losses(Adapter(held).adapt(entries_of(run)).losses)
    assert Losses.from_json(json.loads(json.dumps(losses.to_json()))) == losses

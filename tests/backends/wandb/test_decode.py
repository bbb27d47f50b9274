"""What people have changed at W&B since wins over what multitrack noted there; and what W&B holds of anybody else's runs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from multitrack.backend import TAG_RUN_ID, Entry
from multitrack.records import ArtifactRef, Histogram, Hyperparameters, Metrics, Points, RunFinished, RunStarted, RunUpdated, Summary
from multitrack_wandb import decode
from multitrack_wandb.config import params_of
from multitrack_wandb.encode import Encoder
from multitrack_wandb.history import History
from multitrack_wandb.location import Place
from multitrack_wandb.native import NativeFile, NativeRun
from multitrack_wandb.summary import shown, summary_of
from multitrack_wandb.values import from_json, to_json

START = 1_577_934_245_678_901
ID = "a" * 32


def native_of(*records: Any, **start: Any) -> NativeRun:
    """Return the run as W&B has it once the records are there; wandb-core's part is played here, 1.0 becomes 1."""
    first = RunStarted(time=START, id=ID, project="digits", **{"tags": {TAG_RUN_ID: ID}, **start})
    encoder = Encoder(first, Place(None, None))
    opening = encoder.opening().run
    encoded = encoder.encode([Entry("w", seq, record) for seq, record in enumerate([first, *records])], 1)
    update = next((record.run for record in encoded.records if record.HasField("run")), opening)
    config = json.loads(json.dumps(encoder.config.values), parse_float=lambda text: _as_go(float(text)))
    return NativeRun(
        id=opening.run_id,
        project=opening.project,
        name=update.display_name or "drawn-by-lot-7",
        notes=update.notes,
        group=update.run_group or None,
        job_type=update.job_type or None,
        tags=list(update.tags),
        config=config,
        state="running",
        started=START // 1_000_000 * 1_000_000,
    )


def _as_go(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def start_of(run: NativeRun) -> RunStarted:
    return decode.run_started(run)


# -- ours


def test_nothing_changed() -> None:
    run = native_of(name="svc", notes="notes", group="sweep", tags={TAG_RUN_ID: ID, "base": None, "team": "vision", "long": "x" * 100})
    start = start_of(run)
    assert (start.name, start.notes, start.group, start.time) == ("svc", "notes", "sweep", START)
    assert start.tags == {TAG_RUN_ID: ID, "base": None, "team": "vision", "long": "x" * 100}
    assert decode.neutral_id(run) == ID


def test_a_run_without_a_name_has_none_although_w_and_b_names_it() -> None:
    assert start_of(native_of()).name is None


def test_what_people_changed_wins() -> None:
    run = native_of(name="svc", notes="notes", tags={TAG_RUN_ID: ID, "base": None, "team": "vision"})
    changed = replace(run, name="better", notes="", tags=["team: vision", "best"])
    start = start_of(changed)
    assert (start.name, start.notes) == ("better", "")
    assert start.tags == {TAG_RUN_ID: ID, "team": "vision", "best": None}


def test_params_come_back_as_they_were_unless_somebody_changed_them() -> None:
    values = {"lr": 1.0, "model": {"depth": 3, "none": {}}, "list": [1.0, 2, {"a": 2.0}], "text": "é"}
    run = native_of(Hyperparameters(time=START, values=values))
    found = decode.hyperparameters(run)
    assert found is not None
    assert repr(found.values) == repr({**values, "model": {"depth": 3, "none": {}}})
    config = {**run.config, "lr": 2, "list": [1, 2]}
    assert params_of(config, ours=True)["lr"] == 2
    assert params_of(config, ours=True)["list"] == [1, 2]


def test_a_status_that_w_and_b_contradicts() -> None:
    run = native_of(RunUpdated(time=START, status="running"))
    assert decode.status_of(run) == "running"
    assert decode.status_of(replace(run, state="failed")) == "failed"
    (ending,) = decode.run_ending(replace(run, state="finished", ended=START + 5))
    assert isinstance(ending, RunFinished)
    assert (ending.status, ending.time) == ("finished", START + 5)


def test_a_project_that_w_and_b_cannot_call_so() -> None:
    first = RunStarted(time=START, id=ID, project="a/b", tags={TAG_RUN_ID: ID})
    encoder = Encoder(first, Place("team", None))
    run = encoder.opening().run
    assert run.project.startswith("a_b-")
    assert decode.project_of(NativeRun(id=ID, project=run.project, config=encoder.config.values)) == "a/b"


# -- anybody else's


def test_a_foreign_run() -> None:
    run = NativeRun(
        id="abc123",
        project="digits",
        entity="team",
        name="happy-sun-1",
        sweep="s1",
        tags=["a"],
        config={"lr": 1, "_wandb": {"x": 1}},
        state="crashed",
    )
    start = start_of(run)
    assert (start.name, start.group, start.tags) == ("happy-sun-1", "s1", {"a": None})
    assert len(start.id) == 32
    assert decode.hyperparameters(run).values == {"lr": 1}  # type: ignore[union-attr]
    assert decode.status_of(run) == "crashed"
    ours = NativeRun(id="x", project="p", config={"multitrack": {"run_id": "no id of ours"}})
    assert not decode.is_ours(ours)
    assert decode.hyperparameters(ours).values == {"multitrack": {"run_id": "no id of ours"}}  # type: ignore[union-attr]


def test_rows_of_a_foreign_run() -> None:
    history = History(ours=False)
    packed = {"_type": "histogram", "packedBins": {"min": 0, "size": 1, "count": 2}, "values": [1, 2]}
    rows = [
        {"_step": 0, "_timestamp": 1.5, "loss": 1, "a": {"b": 2}, "none": None, "bad": "NaN"},
        {"_step": 5, "_runtime": 2.0, "loss": 0.5, "h": packed},
    ]
    taken = [record for row in rows for record in history.add(row)]
    points = {record.name: record for record in [*taken, *history.rest()]}
    assert (points["loss"].steps, points["loss"].values, points["loss"].times) == ([0, 5], [1, 0.5], [1_500_000, 2_000_000])
    assert points["a.b"].values == [2]
    assert points["bad"].values[0] != points["bad"].values[0]
    assert points["h"].values == [Histogram(edges=[0.0, 1.0, 2.0], counts=[1, 2])]
    assert "none" not in points
    assert history.dropped == 1


def test_columns_are_given_as_soon_as_they_are_full() -> None:
    history = History(ours=False)
    full = [record for step in range(25_000) for record in history.add({"_step": step, "_timestamp": step, "x": 0.5})]
    assert [len(record.times) for record in full] == [10_000, 10_000]
    assert [len(record.times) for record in history.rest()] == [5000]


def test_summaries_of_a_foreign_run() -> None:
    summary = {
        "loss": 0.5,
        "acc": {"max": 0.9},
        "best": 0.97,
        "a": {"b": 2, "c": 3},
        "_step": 9,
        "_wandb": {"runtime": 3},
        "h": float("nan"),
    }
    last = {"loss": 0.5, "acc": 0.4, "a.b": 2, "h": float("nan")}
    assert summary_of(summary, last, ours=False) == {"best": 0.97, "a.c": 3}
    assert {name: value for name, value in shown(summary).items() if name != "h"} == {
        "loss": 0.5, "acc": 0.9, "best": 0.97, "a.b": 2, "a.c": 3,
    }  # fmt: skip


def test_files() -> None:
    run = NativeRun(id="x", project="p")
    files = [NativeFile("config.yaml", 3), NativeFile("output.log", 3), NativeFile("model.pt", 3), NativeFile("logs/console.log")]
    assert [one.name for one in decode.artifacts(run, files, decode.Described(()))] == ["model.pt"]


# -- values


@pytest.mark.parametrize(
    "value",
    [
        "text", "", "NaN", "-Infinity", "nul\0", "\ud800", True, False,
        Histogram(edges=[0.0, 1.0], counts=[3]), Histogram(edges=[0.0, 1.0], counts=[3.0]), Histogram(edges=[], counts=[]),
        ArtifactRef(name="media/images/x/1-0a1b2c3d4e5f6071.png", sha256="0" * 64, media_type="image/png"),
        ArtifactRef(name="a", sha256="0"),
    ],
    ids=repr,
)  # fmt: skip
def test_values_survive_wandb_core(value: Any) -> None:
    there = json.loads(to_json(value), parse_float=lambda text: _as_go(float(text)))
    found = from_json(there, floats=True)
    assert repr(found) == repr(value)


def test_ints_and_floats_are_told_apart_by_their_metric() -> None:
    start = RunStarted(time=START, id=ID, project="p", tags={TAG_RUN_ID: ID})
    encoder = Encoder(start, Place(None, None))
    rows = [
        Metrics(time=START, step=1, values={"loss": 1.0, "epoch": 1}),
        Metrics(time=START, step=2.0, values={"loss": 0.5, "epoch": 2}),
        Metrics(time=START, values={"loss": 1, "epoch": 2.0}),
        Points(time=START, name="loss", times=[START], values=[2.0], steps=[2**60]),
    ]
    encoded = encoder.encode([Entry("w", seq, row) for seq, row in enumerate(rows)], 1)
    lines = [
        {item.key: json.loads(item.value_json, parse_float=lambda text: _as_go(float(text))) for item in record.history.item}
        for record in encoded.records
        if record.HasField("history")
    ]
    assert [line.get("_multitrack_other") for line in lines] == [None, ["multitrack/step"], ["loss", "epoch"], None]
    history = History(ours=True, ints=encoder.config.ints)
    found = {record.name: record for line in lines for record in history.add(line)} | {record.name: record for record in history.rest()}
    assert repr(found["loss"].values) == "[1.0, 0.5, 1, 2.0]"
    assert repr(found["epoch"].values) == "[1, 2, 2.0]"
    assert repr(found["loss"].steps) == f"[1, 2.0, None, {2**60}]"


def test_an_explicit_summary_stays_whatever_is_logged_later() -> None:
    start = RunStarted(time=START, id=ID, project="p", tags={TAG_RUN_ID: ID})
    encoder = Encoder(start, Place(None, None))
    records = [Summary(time=START, values={"loss": 0.1}), Metrics(time=START, step=1, values={"loss": 0.5})]
    encoded = encoder.encode([Entry("w", seq, record) for seq, record in enumerate(records)], 1)
    told = {item.key: json.loads(item.value_json) for record in encoded.records for item in record.summary.update}
    assert told["loss"] == 0.1
    assert summary_of(told, {"loss": 0.5}, ours=True) == {"loss": 0.1}

"""`run.json`: what it says, when it is made again, and that it is JSON whatever the run holds."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitrack.journal import Journal, JournalWriter, RunFolder
from multitrack.records import Artifact, Hyperparameters, MetricDefinition, Metrics, Record, RunFinished, RunStarted, Summary
from multitrack.records.sameness import same
from multitrack.state import fold, last_values
from multitrack.summary import describe, iso_time, read_summary, summarise
from support.strategies import runs


def write(path: Path, records: list[Record], *, close: bool = True) -> tuple[RunFolder, JournalWriter]:
    folder = RunFolder(path / "p" / ("0" * 32))
    folder.create()
    writer = JournalWriter(folder)
    for record in records:
        writer.append(record)
    if close:
        writer.close()
    return folder, writer


STARTED = RunStarted(time=1_500_000, id="0" * 32, project="p", name="n", tags={"a": None})


LIFE = {"version", "sizes", "status", "ended", "ended_us"}
"""What the run's state does not tell."""


@settings(max_examples=100, deadline=None)
@given(runs, st.sampled_from([None, "min", "max", "mean", "first", "last", "none"]))
def test_it_says_what_the_whole_run_says(tmp_path_factory: pytest.TempPathFactory, records: list[Record], rule: Any) -> None:
    folder, _ = write(tmp_path_factory.mktemp("s"), [*records, MetricDefinition(time=5, name="*", summary=rule)])
    whole = describe(fold(Journal(folder).records()))
    outline = summarise(folder)
    assert list(outline) == ["version", *whole, "sizes"]
    assert all(same(outline[name], whole[name]) for name in set(whole) - LIFE)
    assert list(outline["metrics"]) == list(whole["metrics"])


@pytest.mark.parametrize("rule", ["min", "max", "first", "last", "mean", None])
@pytest.mark.parametrize(
    "values", [[3, 1.0, 1, True, 2], [float("nan"), 2, "x", 2.0, -1], ["a", "b"], [float("nan")], [2**70, 1, float("inf")]]
)
def test_the_value_that_stands_for_a_metric(tmp_path: Path, rule: Any, values: list[Any]) -> None:
    rows = [Metrics(time=place, values={"loss": value}) for place, value in enumerate(values)]
    folder, _ = write(tmp_path, [STARTED, *rows, MetricDefinition(time=9, name="loss", summary=rule)])
    whole = last_values(fold(Journal(folder).records()))
    said = summarise(folder)
    assert same(said["summary"], whole)
    assert said["metrics"] == {"loss": len(values)}


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"metrics","seq":1,"time":1,"values":{"loss":7},"later":1}',  # from a newer version: a point all the same
        b'{"kind":"metrics","seq":1,"time":1.5,"values":{"loss":7}}',
        b'{"kind":"metrics","seq":1,"time":1,"step":"1","values":{"loss":7}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"loss":null}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"loss":[7]}}',
        b'{"kind":"metrics","seq":1,"time":1}',
        b'{"kind":"metrics","seq":true,"time":1,"values":{"loss":7}}',
        b'{"kind":"metrics","time":1,"values":{"loss":7}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"loss":7}',
    ],
)
def test_a_damaged_row_counts_here_as_it_does_anywhere(tmp_path: Path, line: bytes) -> None:
    folder, writer = write(tmp_path, [STARTED, Metrics(time=1, values={"loss": 1})])
    with folder.records_of(writer.id).open("ab") as file:
        file.write(line + b"\n")
    whole = fold(Journal(folder).records())
    assert summarise(folder)["metrics"] == {name: len(series) for name, series in whole.metrics.items()}


def test_what_it_says(tmp_path: Path) -> None:
    folder, _ = write(
        tmp_path,
        [
            STARTED,
            Hyperparameters(time=2, values={"m": {"lr": 0.1}}),
            Metrics(time=2, step=1, values={"loss": 0.5}),
            Metrics(time=3, step=2, values={"loss": float("nan")}),
            Summary(time=4, values={"best": 1}),
            Artifact(time=4, name="f", sha256="0" * 64, size=3),
            RunFinished(time=2_000_000, status="failed", error="E"),
        ],
    )
    summarise(folder)
    said = json.loads(folder.summary.read_bytes())
    expected = {
        "id": "0" * 32, "project": "p", "name": "n", "status": "failed", "error": "E", "started": "1970-01-01T00:00:01.500000Z",
        "ended": "1970-01-01T00:00:02Z", "tags": {"a": None}, "params": {"m": {"lr": 0.1}}, "metrics": {"loss": 2},
        "summary": {"loss": {"$": "nan"}, "best": 1}, "artifacts": {"f": 3},
    }  # fmt: skip
    assert {name: said[name] for name in expected} == expected


@settings(max_examples=60, deadline=None)
@given(runs)
def test_it_is_json_whatever_the_run_holds_and_reads_back(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> None:
    folder, _ = write(tmp_path_factory.mktemp("s"), records)
    said = summarise(folder)
    json.loads(folder.summary.read_bytes())
    assert same(summarise(folder), said)


def test_it_is_made_again_when_the_records_have_changed_and_only_then(tmp_path: Path) -> None:
    folder, writer = write(tmp_path, [STARTED], close=False)
    assert summarise(folder)["status"] == "running"
    writer.close()  # as a kill would
    assert summarise(folder)["status"] == "crashed"
    before = folder.summary.stat().st_mtime_ns
    summarise(folder)
    assert folder.summary.stat().st_mtime_ns == before
    write_more = JournalWriter(folder)
    write_more.append(RunFinished(time=2, status="finished"))
    write_more.close()
    assert summarise(folder)["status"] == "finished"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 0}', b'{"version": 1}', b'{"version":1,"a":{"$":"x"}}'])
def test_a_damaged_one_is_made_again(tmp_path: Path, content: bytes) -> None:
    folder, _ = write(tmp_path, [STARTED])
    folder.summary.write_bytes(content)
    assert summarise(folder)["name"] == "n"
    assert json.loads(folder.summary.read_bytes())["name"] == "n"


def test_a_store_that_cannot_be_written_to_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = write(tmp_path, [STARTED])

    def refuse(*_: Any) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr("multitrack.summary.write_atomically", refuse)
    assert read_summary(folder)["name"] == "n"
    assert read_summary(folder)["sizes"]
    assert not folder.summary.exists()


def test_times_that_no_date_can_say() -> None:
    assert iso_time(None) is None
    assert iso_time(10**20) is None
    assert iso_time(-1) == "1969-12-31T23:59:59.999999Z"

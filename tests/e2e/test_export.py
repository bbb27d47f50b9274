"""`multitrack export`: what other programs read is what was recorded."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import multitrack as mt
from multitrack.cli.app import run as multitrack
from multitrack.records import from_wire

Output = pytest.CaptureFixture[str]
BIG = 10**5000
"""More digits than Python itself writes."""


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MULTITRACK_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("MULTITRACK_QUIET", "1")


def record(name: str = "one", **init: Any) -> mt.Run:
    return mt.init(name=name, capture=mt.Capture(code=False, environment=False, system=False, console=False), **init)


def record_oddities() -> mt.Run:
    with record(params={"lr": 0.1, "model": {"layers": [1, 2], "kind": 'a,b\n"c"'}, "text": "1", "none": None}, tags=["bare"]) as run:
        run.log({"loss": 0.1 + 0.2, "int": 2**63, "name, with comma": "text\nof two lines"}, step=0, time=1_700_000_000.000001)
        run.log({"loss": math.nan, "int": 2**70, "flag": True}, step=1.5)
        run.log({"loss": -math.inf, "int": BIG})
        run.log({"odd": "lone \ud800"}, step=-3)
    return run


def rows(path: str) -> list[dict[str, str]]:
    csv.field_size_limit(10**6)
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_points_keep_their_values_in_csv() -> None:
    run = record_oddities()
    assert multitrack(["export", "--points", "--to", "points.csv"]) == 0
    found = rows("points.csv")
    assert list(found[0]) == ["run", "metric", "step", "time", "value", "source"]
    assert {row["run"] for row in found} == {run.id}
    values: dict[str, list[str]] = {}
    for row in found:
        values.setdefault(row["metric"], []).append(row["value"])
    assert values["loss"] == ["0.30000000000000004", "nan", "-inf"]
    assert values["int"][:2] == [str(2**63), str(2**70)]
    assert int(values["int"][2], 0) == BIG
    assert values["name, with comma"] == ["text\nof two lines"]
    assert values["flag"] == ["true"]
    assert values["odd"] == ["lone \\ud800"]
    assert [row["step"] for row in found if row["metric"] == "loss"] == ["0", "1.5", ""]
    assert found[0]["time"] == "2023-11-14T22:13:20.000001Z"
    assert pd.read_csv("points.csv").query("metric == 'loss' and step == 0")["value"].astype(float).tolist() == [0.1 + 0.2]


def test_points_keep_their_values_and_types_in_json() -> None:
    record_oddities()
    assert multitrack(["export", "--points", "--to", "points.jsonl"]) == 0
    assert multitrack(["export", "--points", "--to", "points.json"]) == 0
    lines = [json.loads(line) for line in Path("points.jsonl").read_text().splitlines()]
    assert lines == json.loads(Path("points.json").read_text())
    values: dict[str, list[Any]] = {}
    for row in map(from_wire, lines):
        values.setdefault(row["metric"], []).append(row["value"])
    assert math.isnan(values["loss"].pop(1))
    assert values == {
        "loss": [0.1 + 0.2, -math.inf],
        "int": [2**63, 2**70, BIG],
        "name, with comma": ["text\nof two lines"],
        "flag": [True],
        "odd": ["lone \ud800"],
    }


def test_runs_are_a_table() -> None:
    first = record_oddities()
    with record("two", params={"lr": 1}, tags={"team": "vision"}) as second:
        second.log({"loss": 1})
    assert multitrack(["export", "--to", "runs.csv"]) == 0
    one, two = rows("runs.csv")
    assert list(one)[:6] == ["id", "name", "project", "status", "started", "ended"]
    assert (one["id"], two["id"], two["name"], two["status"]) == (first.id, second.id, "two", "finished")
    assert (one["params.model.layers"], one["params.model.kind"], one["params.none"]) == ("[1,2]", 'a,b\n"c"', "")
    assert (one["metrics.loss"], two["metrics.loss"], two["metrics.int"]) == ("-inf", "1", "")
    assert (one["tags.bare"], two["tags.bare"], two["tags.team"]) == ("true", "", "vision")

    assert multitrack(["export", "--to", "runs.json"]) == 0
    one, two = map(from_wire, json.loads(Path("runs.json").read_text()))
    assert one["params"] == {"lr": 0.1, "model": {"layers": [1, 2], "kind": 'a,b\n"c"'}, "text": "1", "none": None}
    assert (one["metrics"]["int"], two["metrics"]) == (BIG, {"loss": 1})


def test_what_is_exported_can_be_chosen(capsys: Output) -> None:
    ids = []
    for name in ("a", "b", "c"):
        with record(name, project=name) as run:
            run.log({"loss": 1.0})
        ids.append(run.id)
    store = f"local:{Path('store').absolute()}"
    for number, (arguments, wanted) in enumerate(
        [
            ([ids[2], ids[0], f"{store}#{ids[2]}"], [2, 0]),  # as they are named, each once
            (["local", "--filter", "name != b"], [0, 2]),
            (["-p", "b"], [1]),
            (["local:./store"], [0, 1, 2]),
        ]
    ):
        assert multitrack(["export", *arguments, "--to", f"{number}.csv"]) == 0
        assert [row["id"] for row in rows(f"{number}.csv")] == [ids[place] for place in wanted]
    capsys.readouterr()
    assert multitrack(["export", ids[0], "--points", "--to", "x.jsonl", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "x.jsonl", "runs": 1, "points": 1, "failures": {}}


def test_nothing_is_overwritten_unasked(capsys: Output) -> None:
    record().finish()
    Path("runs.csv").write_text("mine")
    assert multitrack(["export", "--to", "runs.csv"]) == 1
    assert "--force" in capsys.readouterr().err
    assert Path("runs.csv").read_text() == "mine"
    assert multitrack(["export", "--to", "runs.csv", "--force"]) == 0
    assert len(rows("runs.csv")) == 1
    assert not list(Path().glob(".runs*"))


def test_an_export_that_fails_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    record_oddities()
    Path("points.csv").write_text("before")

    def refuse(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multitrack.export._cell", refuse)
    assert multitrack(["export", "--points", "--to", "points.csv", "--force"]) == 1
    assert Path("points.csv").read_text() == "before"
    assert not list(Path().glob(".points*"))


def test_a_damaged_run_is_told_and_the_others_are_written(capsys: Output) -> None:
    with record("whole") as whole:
        whole.log({"loss": 1.0})
    with record("damaged") as damaged:
        damaged.log({"loss": 1.0})
        damaged.log({"loss": 2.0})
    (path,) = (damaged.dir / "records").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"values":{"loss":1.0}', b'"values":{"loss'))
    assert multitrack(["export", "--points", "--to", "points.csv"]) == 1
    assert f"{damaged.id} is not whole: damaged lines were left out (1)" in capsys.readouterr().out
    assert sorted((row["run"], row["value"]) for row in rows("points.csv")) == sorted([(whole.id, "1.0"), (damaged.id, "2.0")])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "runs.xlsx"], "has to end in .csv, .json or .jsonl"),
        (["--to", "runs.jsn"], "Did you mean 'json'?"),
        (["--to", "nowhere/runs.csv"], "there is no folder"),
        (["0" * 32, "--to", "runs.csv"], "no run"),
        (["mlflw", "--to", "runs.csv"], "Did you mean 'mlflow'?"),
        (["--to", "runs.csv", "--filter", "lr > 1"], "write params.lr"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(arguments: list[str], told: str, capsys: Output, tmp_path: Path) -> None:
    record().finish()
    assert multitrack(["export", *arguments]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.glob("runs*"))

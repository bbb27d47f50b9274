"""The whole way out of Neptune: an export of two projects -> a real MLflow server -> a W&B offline folder -> the local store.

Three services' limits and habits lie on that way, and every point, param, time, file and status of the export is there at its end.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from multitrack.records import Histogram
from multitrack.state import compare
from multitrack.view import RunView
from support.mlflow_server import MLflowServer
from support.neptune_exports import CREATED, Export, Row, file, point, scalar, sys_2x, sys_3x, us

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EXPORT, WANDB, END, DIRECT = "neptune:./exports", "wandb:./wandb-folder", "local:./end", "local:./direct"
T = CREATED + timedelta(seconds=1)
PNG = b"\x89PNG\r\n\x1a\n" + b"not much of a picture"
FILES = {"model.pt": bytes(range(256)) * 40, "notes/über uns.txt": "Größe".encode(), "set/a.txt": b"a", "set/sub/b.txt": b"b"}
"""Of the run VIS-2, by the names that they have at the end."""
SERIES: dict[str, list[tuple[Any, datetime, float]]] = {
    "train/loss": [(step, T + timedelta(milliseconds=37 * step), 1 / (step + 1)) for step in range(1500)],
    "val/acc": [(step / 2, T + timedelta(seconds=step), step / 7) for step in range(60)],
    "odd": [(step, T, value) for step, value in enumerate((5e-324, -0.0, math.inf, -math.inf, 1.7e308, 0.1))],
    "stepless": [(None, T + timedelta(seconds=step), float(step)) for step in range(3)],
}
TEXTS = [(step, T + timedelta(seconds=step), f"Größe {step}\n") for step in range(12)]
LINES = [f"epoch {step}" for step in range(40)]
PARAMS: list[Row] = [
    scalar("p/lr", 0.1), scalar("p/whole", 10.0), scalar("p/n", 2**53 + 1), scalar("p/flag", False), scalar("p/text", "10"),
    scalar("p/empty", ""), scalar("p/long", "x" * 9000), scalar("p/when", datetime(2025, 3, 4, 5, 6, 7, 89000, tzinfo=UTC)),
    scalar("p/set", ["y", "x"]), scalar("p/inf", math.inf), scalar("top", -1),
]  # fmt: skip
COUNTS = {"type": "COUNTING", "edges": [0.0, 1.0, 3.0], "values": [4.0, 2.0]}
STATUSES = {"VIS-2": "finished", "VIS-3": "failed", "root run": "finished", "fork_part_0": "finished"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    with MLflowServer(tmp_path_factory.mktemp("mlflow-server")) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("MULTITRACK_", "MLFLOW_", "WANDB_", "NEPTUNE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def build(root: Path) -> None:
    """Export a project of each generation, with every type of attribute."""
    vision = Export(root)
    params = [
        *PARAMS,
        scalar("monitoring/0a1b2c3d/hostname", "node1"),
        scalar("sys/tags", ["base", "t"]),
        scalar("sys/group_tags", ["sweep"]),
    ]
    series = [[point(name, *row) for row in rows] for name, rows in SERIES.items()]
    texts = [point("said", *row, "string_series") for row in TEXTS]
    out = [point("monitoring/0a1b2c3d/stdout", step, T, f"{line}\n", "string_series") for step, line in enumerate(LINES)]
    usage = [point("monitoring/0a1b2c3d/cpu", step, T + timedelta(seconds=step), 50.0 + step) for step in range(20)]
    about = {"name": "second", "description": "# Notes\n\nof a run"}
    vision.run("VIS-2", [sys_2x("VIS-2", **about) + params, *series], [texts, out, usage, files_of(vision)])
    vision.run("VIS-3", [sys_2x("VIS-3", failed=True), series[0]])

    scale = Export(root, "acme/scale")
    code = [scalar("source_code/commit/commit_id", "c" * 40), scalar("source_code/branch", "main"), scalar("source_code/dirty", True)]
    scale.content("root run/pred/step_1_500000.png", PNG)
    pictures = [file("pred", "root run/pred/step_1_500000.png", "file_series", 1.5, T)]
    loss = [point("loss", 0.5 * step, T, float(step)) for step in range(40)]
    scale.run("root run", [sys_3x("root run") + code, loss, pictures])
    forking = [scalar("sys/forking/parent", "root run"), scalar("sys/forking/step", 9.5)]
    own = [*(point("loss", 10 + step, T, -1.0) for step in range(5)), point("h", 1, T, COUNTS, "histogram_series")]
    scale.run("fork_part_0", [sys_3x("fork_part_0") + forking, own])


def files_of(export: Export) -> list[Row]:
    """Write a file of each kind, and return the rows that tell of them."""
    home = "acme/vision/VIS-2"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        for name in ("a.txt", "sub/b.txt"):
            members.writestr(name, FILES[f"set/{name}"])
    listed = [
        {"filePath": "1.csv", "fileHash": "11", "type": "S3", "size": 5, "metadata": [{"key": "location", "value": "s3://b/d/1.csv"}]}
    ]
    export.content(f"{home}/model.pt", FILES["model.pt"])
    export.content(f"{home}/notes/über uns.txt", FILES["notes/über uns.txt"])
    export.content(f"{home}/set/files.zip", archive.getvalue())
    export.content(f"{home}/data/files_list.json", json.dumps(listed).encode())
    return [
        file("model", f"{home}/model.pt"),
        file("notes/über uns", f"{home}/notes/über uns.txt"),
        file("set", f"{home}/set", "file_set"),
        file("data", f"{home}/data/files_list.json", "artifact"),
    ]


def cli(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "multitrack.cli", *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def verified(source: str, destination: str) -> list[dict[str, Any]]:
    """Return what `verify` finds, run by run."""
    found = json.loads(cli("verify", source, destination, "--json"))["runs"]
    assert len(found) == len(STATUSES)
    return list(found)


def runs_at(address: str) -> dict[str, RunView]:
    """Return a store's runs by the ids that they had at Neptune."""
    return {view.origin.run: view for view in mt.open(address).runs() if view.origin is not None}


def told(view: RunView, name: str) -> list[tuple[Any, int, Any]]:
    """Return a metric's points: step, microseconds, value."""
    series = view.state.metrics[name]
    return list(zip(series.steps, series.times, series.values, strict=True))


def said(rows: list[tuple[Any, datetime, Any]]) -> list[tuple[Any, int, Any]]:
    """Return the points as the export tells them; a step without a fraction is an int."""
    return [(step if step is None or step % 1 else int(step), us(time), value) for step, time, value in rows]


def test_everything_is_there_at_the_end(server: MLflowServer, tmp_path: Path) -> None:
    build(tmp_path / "exports")
    way = [EXPORT, f"mlflow:{server.url}", WANDB, END]
    for source, destination in itertools.pairwise(way):
        assert "4 migrated" in cli("migrate", source, destination)
        for run in verified(source, destination):  # what a service cannot hold natively is declared, and travels attached
            assert run["ok"], run
            assert run["attached"] == ("exact" if destination != END else "none"), run
    assert [run["verdict"] for run in verified(EXPORT, END)] == ["identical"] * 4

    cli("migrate", EXPORT, DIRECT)
    end, direct = runs_at(END), runs_at(DIRECT)
    assert end.keys() == direct.keys() == STATUSES.keys()
    for run, view in end.items():
        assert compare(direct[run].state, view.state) == []
        assert {name: view.content(name) for name in view.artifacts} == {name: direct[run].content(name) for name in direct[run].artifacts}
    check_vision(end["VIS-2"])
    check_others(end)


def check_vision(run: RunView) -> None:
    """Compare with what was written into the export, not with what was read from it."""
    assert (run.project, run.name, run.notes, run.state.user, run.state.host) == (
        "acme/vision", "second", "# Notes\n\nof a run", "ada", "node1",
    )  # fmt: skip
    assert (run.started, run.ended) == (CREATED, CREATED + timedelta(seconds=60))
    assert {name for name, value in run.tags.items() if value is None} == {"base", "t"}
    assert run.state.group == "sweep"
    assert run.params == {
        "p": {
            "lr": 0.1, "whole": 10.0, "n": 2**53 + 1, "flag": False, "text": "10", "empty": "", "long": "x" * 9000,
            "when": "2025-03-04T05:06:07.089000+00:00", "set": ["x", "y"], "inf": math.inf,
        },
        "top": -1,
    }  # fmt: skip
    assert [type(run.params["p"][name]) for name in ("whole", "n", "flag", "text")] == [float, int, bool, str]
    for name, rows in SERIES.items():
        assert list(map(repr, told(run, name))) == list(map(repr, said(rows))), name
    assert told(run, "said") == said(TEXTS)
    assert [value for _, _, value in told(run, "system/cpu")] == [50.0 + step for step in range(20)]
    assert [line.text for line in run.state.console] == LINES
    assert {name: run.content(name) for name in FILES} == FILES
    [data] = run.data
    assert (data.name, data.uri, data.size) == ("data", "s3://b/d/1.csv", 5)


def check_others(runs: dict[str, RunView]) -> None:
    assert {run: view.status for run, view in runs.items()} == STATUSES
    assert {view.project for view in runs.values()} == {"acme/vision", "acme/scale"}
    root, fork = runs["root run"], runs["fork_part_0"]
    assert told(runs["VIS-3"], "train/loss") == said(SERIES["train/loss"])
    assert root.code is not None
    assert (root.code.commit, root.code.branch, root.code.dirty) == ("c" * 40, "main", True)
    assert [root.content(name) for name in root.artifacts] == [PNG]
    assert list(root.state.metrics["pred"].steps) == [1.5]
    assert fork.state.parent == root.id
    assert list(fork.state.metrics["loss"].steps) == [*said_steps(20), *range(10, 15)]
    assert list(fork.state.metrics["h"].values) == [Histogram(edges=[0.0, 1.0, 3.0], counts=[4, 2])]


def said_steps(count: int) -> list[float]:
    """Return so many steps of a half."""
    return [half // 2 if half % 2 == 0 else half / 2 for half in range(count)]

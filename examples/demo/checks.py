"""What has to hold. Servers are asked through `witness`, never through what is being checked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import joblib
import witness
from servers import Server
from story import Story
from training import Digits, Result, accuracy

import multitrack as mt

DELIVERY_TIMEOUT = 60.0
"""Seconds that a server which is up has for what it is owed."""
FACTS = (
    *("id", "name", "status", "started", "ended", "params", "tags", "notes", "metrics", "definitions", "summary"),
    *("data", "code", "environments"),
)
"""What is compared between a run as it was recorded and as the last server has it."""


def check_run(story: Story, server: Server, result: Result) -> None:
    """Check that a server has a run whole."""
    _check_runs(story, server, [result], repr(result.setting.name))


def check_every_run(story: Story, server: Server, results: Sequence[Result]) -> None:
    """Check that a server has every run whole."""
    _check_runs(story, server, results, f"all {len(results)} runs")


def _check_runs(story: Story, server: Server, results: Sequence[Result], what: str) -> None:
    # Delivery goes on after a run's end where its patience has passed.
    deadline = time.monotonic() + DELIVERY_TIMEOUT
    while not (held := all(witness.has(server, result) for result in results)) and time.monotonic() < deadline:
        time.sleep(0.25)
    there = sum(witness.count_points(server, result.run_id) for result in results)
    wanted = sum(result.count for result in results)
    story.check(f"{server.name} has {what}: every point once, params, files", held, f"{there:,} of {wanted:,} points")


def check_survived(story: Story, result: Result, up: Server, down: Server) -> None:
    """Check that a run was recorded and mirrored to the one server while the other was down."""
    with mt.open("local") as store:
        view = store.run(result.run_id)
        series = {name: view.metrics(name) for name in view.metric_names if not name.startswith("system/")}
        recorded = {name: list(zip(one["step"], one["value"], strict=True)) for name, one in series.items()}
    story.check("training went on to its end", recorded == result.points, f"{result.count:,} points in the local journal")
    check_run(story, up, result)
    missing = result.count - witness.count_points(down, result.run_id)
    story.check(f"{down.name} lacks the rest", missing > 0, f"{missing:,} points")


def check_read_back(story: Story, results: Sequence[Result], digits: Digits, folder: Path) -> None:
    """Check, through the reading API, that `archive` has the runs as they were recorded, and that a model from there works."""
    best = max(results, key=lambda result: result.best)
    with mt.open("local") as here, mt.open("archive") as there:
        recorded = {view.id: view for view in here.runs()}
        found = {view.id: view for view in there.runs()}
        same = all(getattr(recorded[id_].state, fact) == getattr(view.state, fact) for id_, view in found.items() for fact in FACTS)
        same = same and found.keys() == recorded.keys()
        story.check("read back from archive, each run is as it was recorded", same, ", ".join(FACTS))
        file = found[best.run_id].download("model.joblib", folder / "model.joblib")
    as_good = accuracy(joblib.load(file), digits) == best.points["val/accuracy"][-1][1]
    file.unlink()
    story.check("the best model, downloaded from archive, is as good as it was", as_good, f"accuracy {best.best:.3f} at its best")

"""Migrations between MLflow databases that are killed, looked at, and run again."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import multitrack as mt

from .workers import Tally, do, fork, kill_after

RUNS, POINTS = 12, 150
KILLS_A_MIGRATION = 12
LONGEST = 1.2
"""Seconds until the kill."""


def kill(times: int, tally: Tally, folder: Path) -> None:
    """Kill migrations so many times. After each kill, what is called whole is compared; in the end, everything with an undisturbed one."""
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - imported once, by the process that forks

    do(lambda: _make_empty(folder / "empty.db"))
    do(lambda: _build(folder))
    shutil.copy(folder / "empty.db", folder / "quiet.db")
    do(lambda: _migrate(folder, "quiet"))
    number = 0
    while tally.kills < times:
        _play(folder, f"disturbed-{number}", min(KILLS_A_MIGRATION, times - tally.kills), tally)
        number += 1


def _play(folder: Path, name: str, kills: int, tally: Tally) -> None:
    shutil.copy(folder / "empty.db", folder / f"{name}.db")
    for _ in range(kills):
        # Its beginning takes longer than a run: what has arrived before has to be found again.
        if kill_after(fork(lambda: _migrate(folder, name)), tally.dice.uniform(0.05, LONGEST)):
            whole = len(_whole_ones(folder, name))
            tally.count(f"with {whole} of {RUNS} runs whole" if whole < RUNS else "when all had arrived")
            do(lambda: _check_whole_ones(folder, name))
        else:
            break
    do(lambda: _migrate(folder, name))
    do(lambda: _check(folder, name))


def _uri(folder: Path, name: str) -> str:
    return f"sqlite:///{folder / name}.db"


def _make_empty(file: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{file}").search_experiments()


def _build(folder: Path) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    shutil.copy(folder / "empty.db", folder / "here.db")
    client = MlflowClient(_uri(folder, "here"))
    experiment = client.create_experiment("many")
    for number in range(RUNS):
        run = client.create_run(experiment, start_time=1_600_000_000_000 + number, run_name=f"run {number}", tags={"n": str(number)})
        metrics = [Metric("loss", 1 / (step + 1), 1_600_000_000_000 + step, step) for step in range(POINTS)]
        client.log_batch(run.info.run_id, metrics=metrics, params=[Param("n", str(number))])
        client.log_text(run.info.run_id, f"model {number}", "model.txt")
        client.set_terminated(run.info.run_id, end_time=1_600_000_100_000 + number)


def _migrate(folder: Path, name: str) -> None:
    report = mt.migrate(f"mlflow:{_uri(folder, 'here')}", f"mlflow:{_uri(folder, name)}", staging=folder / f"staging-{name}")
    assert report.ok, str(report)


def _check_whole_ones(folder: Path, name: str) -> None:
    """No run is there twice, and whichever carries the completion marker is identical with the original."""
    ids = _rows(folder, name, "select value from tags where key = 'multitrack.run_id'")
    assert len(ids) == len(set(ids))
    whole = _whole_ones(folder, name)
    if whole:
        report = mt.verify(f"mlflow:{_uri(folder, 'here')}", f"mlflow:{_uri(folder, name)}", runs=whole)
        assert report.counts == {"identical": len(whole)}, str(report)


def _whole_ones(folder: Path, name: str) -> list[str]:
    found = _rows(
        folder,
        name,
        "select id.value from tags id join tags done using (run_uuid)"
        " where id.key = 'multitrack.run_id' and done.key = 'multitrack.complete'",
    )
    return [str(row[0]) for row in found]


def _check(folder: Path, name: str) -> None:
    report = mt.verify(f"mlflow:{_uri(folder, 'here')}", f"mlflow:{_uri(folder, name)}")
    assert report.counts == {"identical": RUNS}, str(report)
    for what in (
        "select count(*) from runs",
        "select name, status, start_time, end_time, lifecycle_stage from runs order by start_time",
        "select m.key, m.value, m.timestamp, m.step, r.name from metrics m join runs r using (run_uuid) order by r.name, m.key, m.step",
        "select p.key, p.value, r.name from params p join runs r using (run_uuid) order by r.name, p.key",
        "select t.key, t.value, r.name from tags t join runs r using (run_uuid) where t.key not like 'multitrack.%' order by r.name, t.key",
    ):
        assert _rows(folder, name, what) == _rows(folder, "quiet", what), what


def _rows(folder: Path, name: str, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / f"{name}.db") as connection:
        return connection.execute(query).fetchall()

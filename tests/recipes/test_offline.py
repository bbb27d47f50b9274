"""A laptop that is offline for a week."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from multitrack.records import Metrics
from support.recipes import Recipe, following

pytestmark = pytest.mark.slow
RUNS = 3


def test_runs_of_a_week_arrive_when_the_network_is_back(tmp_path: Path) -> None:
    with following("offline", tmp_path) as laptop:
        laptop.write("multitrack.toml", laptop.block("toml"))
        laptop.write("train.py", laptop.block("python"))
        laptop.rule("team", "down")
        began = time.time()
        for _ in range(RUNS):
            said = laptop.follow("python", "train.py", env={**laptop.env, "MULTITRACK_FINISH_TIMEOUT": "0.5"})
            assert "deliver it with: multitrack sync" in said
        ended = time.time()
        laptop.lose_power()

        status, sync = laptop.commands()
        assert "multitrack sync" in laptop.shell(status)
        assert "safe in the journal" in laptop.shell(f"{sync} --timeout 1", code=1)  # a hotel whose network is none
        laptop.rule("team", "down", on=False)
        assert f"{RUNS} of {RUNS} runs delivered" in laptop.shell(sync)
        assert "everything is delivered" in laptop.shell(status)
        check_that_all_arrived(laptop, began, ended)


def check_that_all_arrived(laptop: Recipe, began: float, ended: float) -> None:
    stored = laptop.service("team").runs()
    assert set(stored) == {run.id for run in laptop.store.runs()}
    for run in stored.values():
        assert run.marker is not None
        points = [entry.record for entry in run.entries() if isinstance(entry.record, Metrics)]
        assert [point.step for point in points] == list(range(10))
        assert all(began <= point.time / 1e6 <= ended for point in points)


def test_a_run_costs_no_more_than_its_timeout_while_offline(tmp_path: Path) -> None:
    with following("offline", tmp_path) as laptop:
        laptop.write("multitrack.toml", laptop.block("toml"), {"finish_timeout = 5": "finish_timeout = 1"})
        laptop.write("train.py", laptop.block("python"))
        laptop.rule("team", "hang")
        env = {name: value for name, value in laptop.env.items() if name != "MULTITRACK_FINISH_TIMEOUT"}
        began = time.monotonic()
        laptop.follow("python", "train.py", env=env)
        assert time.monotonic() - began < 30  # of which 1 is waiting: half of what it waits by default
        assert laptop.journal().verdict().status == "finished"

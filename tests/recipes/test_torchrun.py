"""Four ranks, as torchrun starts them. torch is not installed here: its variables are played, the processes are real."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from multitrack.journal import Journal
from multitrack.records import Metrics
from multitrack.state import fold
from support.couriers import wait_for
from support.recipes import following

pytestmark = pytest.mark.slow
RANKS = 4
LAUNCH = {"TORCHELASTIC_RUN_ID": "ef0f92a4-f3a2-4b28-8bcc-54ded90e8f37", "MASTER_ADDR": "localhost", "MASTER_PORT": "35713"}


def rank(number: int, restarts: int = 0) -> dict[str, str]:
    """Return what torchrun 2.13 tells a rank, among others: without --rdzv-id, it draws one."""
    size = str(RANKS)
    return {
        **LAUNCH,
        "TORCHELASTIC_RESTART_COUNT": str(restarts),
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": size,
        "LOCAL_WORLD_SIZE": size,
        "GROUP_RANK": "0",
    }


def test_four_ranks_are_one_run(tmp_path: Path) -> None:
    with following("torchrun", tmp_path) as recipe:
        recipe.write("multitrack.toml", "")
        recipe.write("train.py", recipe.block("python"))
        env = {**recipe.env, "MULTITRACK_BACKENDS": "team"}
        ranks = [recipe.launch("python", "train.py", env={**env, **rank(number)}) for number in range(RANKS)]
        for process in ranks:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
        recipe.shell("multitrack sync")

        state = recipe.state()
        assert state.status == "finished"
        assert set(state.metrics) == {"train/loss", *(f"throughput/rank_{number}" for number in range(RANKS))}
        assert all(series.steps == list(range(20)) for series in state.metrics.values())
        assert len(recipe.journal().writers()) == RANKS
        stored = recipe.stored("team")
        assert stored.marker is not None
        assert len([entry for entry in stored.entries() if isinstance(entry.record, Metrics)]) == 20 * (RANKS + 1)


def test_a_rank_that_dies_costs_the_others_nothing(tmp_path: Path) -> None:
    with following("torchrun", tmp_path) as recipe:
        recipe.write("multitrack.toml", "")
        wait = "if rank == 3 and step == 10:\n            __import__('time').sleep(60)\n        run.log({f"
        recipe.write("train.py", recipe.block("python"), {"run.log({f": wait})
        env = {**recipe.env, "MULTITRACK_BACKENDS": "team"}
        *others, dying = [recipe.launch("python", "train.py", env={**env, **rank(number)}) for number in range(RANKS)]
        wait_for(lambda: list(recipe.store.runs()) and len(recipe.state().metrics.get("throughput/rank_3", ())) == 10)
        os.kill(dying.pid, signal.SIGKILL)
        for process in others:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
        recipe.shell(f"{sys.executable} -m multitrack.cli sync")
        state = recipe.state()
        assert state.status == "finished"
        assert {name: len(series) for name, series in state.metrics.items()}["throughput/rank_3"] == 10
        assert recipe.stored("team").marker is not None


def test_a_restart_goes_on_with_the_run_if_it_may(tmp_path: Path) -> None:
    with following("torchrun", tmp_path) as recipe:
        recipe.write("multitrack.toml", "")
        for attempt, resume in enumerate(("never", "allow", "allow")):
            recipe.write("train.py", recipe.block("python"), {'params={"lr": 0.1}': f'params={{"lr": 0.1}}, resume="{resume}"'})
            env = {**recipe.env, "MULTITRACK_BACKENDS": "local"}
            ranks = [recipe.launch("python", "train.py", env={**env, **rank(number, attempt)}) for number in range(RANKS)]
            for process in ranks:
                _, err = process.communicate(timeout=60)
                assert process.returncode == 0, err
        points = sorted(len(fold(Journal(run).records()).metrics["train/loss"]) for run in recipe.store.runs())
        assert points == [20, 40]

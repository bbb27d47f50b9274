"""Trainings killed at random points. Many of them: `python tests/kill/many.py trainings 500`."""

from __future__ import annotations

import random

import pytest

from multitrack.journal import Journal
from support.couriers import Bench, wait_for
from support.kills.command import kill_many
from support.kills.trainings import check_journal

pytestmark = pytest.mark.slow


def test_what_a_killed_training_has_logged_is_here_and_at_every_target_once(dice: random.Random) -> None:
    assert "12 kills" in kill_many("trainings", 12, dice)


def test_a_script_that_is_killed(bench: Bench, dice: random.Random) -> None:
    """A script of its own from its first line on, not one forked from a process that was warm: captures and imports are hit as well."""
    for number in range(4):
        before = {run.id for run in bench.store.runs()}
        process = bench.start(
            """
run = mt.init("p", backends=[address("one")])
print(-1, flush=True)
for i in range(10**9):
    run.log({"i": i, "text": "x" * (i % 5000)}, step=i)
    os.write(1, b"%d\\n" % i)
"""
        )
        assert process.stdout is not None
        said = process.stdout.readline() + process.stdout.read(dice.randrange(100, 20_000))
        process.kill()
        said += process.communicate(timeout=60)[0]
        (run,) = (run for run in bench.store.runs() if run.id not in before)
        check_journal(run, int(said[: said.rindex("\n")].splitlines()[-1]))
        assert number == 0 or len(list(bench.store.runs())) == number + 1

    def crashed_everywhere() -> bool:
        stored = [bench.service("one").run(run.id) for run in bench.store.runs()]
        return all(run is not None and run.concluded is not None and run.concluded["status"] == "crashed" for run in stored)

    wait_for(crashed_everywhere, 60)
    for run in bench.store.runs():
        stored = bench.service("one").run(run.id)
        assert stored is not None
        assert len(stored.lines) == len(stored.keys) == sum(1 for _ in Journal(run).entries())

"""Couriers that are killed while a run grows: between batch and write, write and flush, flush and commit, and anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multitrack import courier
from multitrack.backend import EVERYTHING
from multitrack.courier import Courier
from multitrack.delivery import Ledger, dispatch, prepare
from multitrack.journal import JournalWriter, RunFolder
from multitrack.records import new_run_id
from multitrack.testing import flaky
from multitrack.testing.memory import MemoryService

from ..journals import expected_entries, finished, metric, new_run, started
from ..plugins import installed, write_plugin
from .workers import Tally, die, do, fork, kill_after

KILLS_A_RUN = 10
LONGEST = 0.12
"""Seconds after which a courier is killed at the latest: long enough for some of them to get to the end of what there is."""
CALLS = ("open", "write", "write", "write", "flush", "flush", "flush", "finish")
"""How often each is chosen."""
MOMENTS = ("before", "half-way through", "after")


def kill(times: int, tally: Tally, folder: Path) -> None:
    """Kill couriers so many times. Every run in turn, whole in the end, is checked at its service."""
    write_plugin(folder / "plugins", "flaky_plugin", "flaky", "multitrack.testing.flaky:FlakyBackend")
    # Batches of a few records and no pauses, so that there is much to die in.
    prepare.BATCH_BYTES, courier.POLL, dispatch.IDLE_WAIT = 400, 0.002, 0.002
    with installed(folder / "plugins"):
        while tally.kills < times:
            keeps = tally.dice.choice(("keys", "count"))
            _Round(folder, keeps, tally).play(min(KILLS_A_RUN, times - tally.kills))


class _Round:
    """One run with two writers, and the couriers that bring it to one service."""

    def __init__(self, folder: Path, keeps: str, tally: Tally) -> None:
        self._dice = tally.dice
        self._tally = tally
        self._run = new_run(folder / "store", new_run_id())
        self._target = f"{keeps}-{self._run.id[:8]}"
        self._service = folder / "services" / self._target
        public: dict[str, Any] = {
            "backend": "flaky",
            "location": str(self._service),
            "settings": {"keeps": keeps},
            "filters": {},
            "secrets": [],
        }
        Ledger(self._run, self._target).write_target({"name": self._target, **public})
        self._run.store.add_pending(self._target, self._run)
        self._run.store.courier_lock(self._target).parent.mkdir(exist_ok=True)
        self._written = 0

    def play(self, kills: int) -> None:
        writers = [JournalWriter(self._run), JournalWriter(self._run)]
        writers[0].append(started(self._run.id))
        for number in range(kills):
            if number == kills - 1:  # the last ones die around the end of the run
                self._end(writers)
            else:
                self._grow(writers)
            while not self._kill_one():
                if number == kills - 1:
                    break
                self._grow(writers)
        self._end(writers)
        do(self._deliver)
        progress = Ledger(self._run, self._target).progress()
        assert progress.done, progress
        check(self._run, self._target, self._service)

    def _grow(self, writers: list[JournalWriter]) -> None:
        for _ in range(self._dice.randrange(5, 40)):
            self._dice.choice(writers).append(metric(self._written))
            self._written += 1

    @staticmethod
    def _end(writers: list[JournalWriter]) -> None:
        if writers:
            writers[0].append(finished())
            for writer in writers:
                writer.close()
            writers.clear()

    def _kill_one(self) -> bool:
        """Start a courier and have it die; return False if it came to its end, or did nothing but wait, before that."""
        if self._dice.random() < 0.3:
            where = "at any moment"
            killed = kill_after(fork(self._deliver), self._dice.uniform(0.0, LONGEST))
        else:
            call = self._dice.choice(CALLS)
            moment = self._dice.choice(MOMENTS if call == "write" else (MOMENTS[0], MOMENTS[-1]))
            count = {"write": self._dice.randrange(1, 6), "flush": self._dice.randrange(1, 3)}.get(call, 1)
            began = time.monotonic()
            killed = kill_after(fork(lambda: self._deliver(lambda: _plan(call, moment, count))), 3 * LONGEST)
            where = f"{moment} {call}" if time.monotonic() - began < 3 * LONGEST else "at any moment"
        if killed:
            self._tally.count(where)
        return killed

    def _deliver(self, prepare: Callable[[], None] = lambda: None) -> None:
        prepare()
        Courier(self._run.store, self._target, linger=0.0).work()


def _plan(call: str, moment: str, count: int) -> None:
    """Have this process die at a call of its sinks."""
    calls = 0
    stumble = flaky.FlakySink._stumble

    def planned(sink: Any, name: Any, do_it: Any, do_half: Any = lambda: None) -> Any:
        nonlocal calls
        calls += name == call
        meant = name == call and calls == count
        if meant and moment != "after":
            if moment != "before":
                do_half()
            die()
        result = stumble(sink, name, do_it, do_half)
        if meant:
            die()
        return result

    flaky.FlakySink._stumble = planned  # type: ignore[method-assign]


def check(run: RunFolder, target: str, service: Path) -> None:
    """Every record is at the service once, in the order of the batches, and so in order within each writer; and the run is whole."""
    stored = MemoryService(service).run(run.id)
    assert stored is not None
    found = [(entry.writer, entry.seq, entry.record) for entry in stored.entries()]
    assert found == [(entry.writer, entry.seq, entry.record) for entry in expected_entries(run, target, EVERYTHING)]
    for writer in {writer for writer, _, _ in found}:
        seqs = [seq for name, seq, _ in found if name == writer]
        assert seqs == list(range(len(seqs)))
    assert stored.marker is not None
    assert stored.concluded is not None
    assert stored.concluded["status"] == "finished"


__all__ = ["check", "kill"]

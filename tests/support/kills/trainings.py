"""Trainings that are killed while they log and their couriers deliver."""

from __future__ import annotations

import os
import time
from pathlib import Path

import multitrack as mt
from multitrack import capture as _capture  # noqa: F401 - what a first `init` would import, imported before the first fork
from multitrack.backend import EVERYTHING
from multitrack.journal import Journal, RunFolder, Store
from multitrack.records import Metrics
from multitrack.summary import summarise
from multitrack.sync import sync
from multitrack.testing.memory import MemoryService

from ..journals import expected_entries
from ..plugins import installed, write_plugin
from .workers import Tally, do, fork, kill_after

LONGEST = 0.3
"""Seconds of training until the kill."""
TARGETS = {"keys": "keys", "count": "count"}


def kill(times: int, tally: Tally, folder: Path) -> None:
    """Kill so many trainings; then deliver what couriers have not, and check every run here and at both services."""
    write_plugin(folder / "plugins", "flaky_plugin", "flaky", "multitrack.testing.flaky:FlakyBackend")
    os.environ.update(PYTHONPATH=str(folder / "plugins"), MULTITRACK_COURIER_LINGER="1", MULTITRACK_DIR=str(folder / "store"))
    store = Store(folder / "store")
    with installed(folder / "plugins"):
        while tally.kills < times:
            _kill_one(tally, folder, store)
        do(lambda: _deliver(store))
        runs = list(store.runs())
        assert len(runs) == times
        for run in runs:
            for name in TARGETS:
                _check_service(run, name, folder / name)
        _await_couriers(store)


def _kill_one(tally: Tally, folder: Path, store: Store) -> None:
    before = {run.id for run in store.runs()}
    seconds = tally.dice.uniform(0.0, LONGEST)
    size = tally.dice.choice((0, 100, 5000))
    reading, writing = os.pipe()
    pid = fork(lambda: _train(folder, writing, size))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.readline()  # the run has begun
        assert said == b"-1\n", "the training did not begin"
        os.set_blocking(pipe.fileno(), True)
        assert kill_after(pid, seconds)
        said += pipe.read()
    returned = int(said[: said.rindex(b"\n")].split(b"\n")[-1])
    (run,) = (run for run in store.runs() if run.id not in before)
    check_journal(run, returned)
    tally.count("while it trained")


def _train(folder: Path, writing: int, size: int) -> None:
    targets = [{"backend": "flaky", "location": str(folder / name), "keeps": name, "name": name} for name in TARGETS]
    run = mt.init("p", backends=targets, capture=mt.Capture(code=False, environment=False, system=False, console=False), quiet=True)
    os.set_blocking(writing, False)
    os.write(writing, b"-1\n")
    for step in range(10**9):
        run.log({"i": step, "text": "x" * size}, step=step)
        try:
            os.write(writing, b"%d\n" % step)
        except BlockingIOError:  # the pipe is full: then this one was not told
            time.sleep(0.001)
        time.sleep(0.0005)


def check_journal(run: RunFolder, returned: int) -> None:
    """Every log call up to the one that has returned last is there, whole and in order, and the run reads as what it is."""
    steps = [record.step for record in Journal(run).records() if isinstance(record, Metrics)]
    assert steps == list(range(len(steps)))
    assert len(steps) > returned, f"{returned + 1} calls had returned, {len(steps)} are in the journal"
    assert Journal(run).verdict().status == "crashed"
    assert summarise(run)["status"] == "crashed"


def _deliver(store: Store) -> None:
    report = sync(store, timeout=60)
    assert report.ok, report.left


def _check_service(run: RunFolder, target: str, service: Path) -> None:
    stored = MemoryService(service).run(run.id)
    assert stored is not None
    found = [(entry.writer, entry.seq, entry.record) for entry in stored.entries()]
    assert found == [(entry.writer, entry.seq, entry.record) for entry in expected_entries(run, target, EVERYTHING)]
    assert len(found) == sum(1 for _ in Journal(run).entries())
    assert stored.concluded is not None
    assert stored.concluded["status"] == "crashed"
    assert stored.marker is not None


def _await_couriers(store: Store) -> None:
    """They leave by themselves; the folder must not go before."""
    from multitrack.journal import is_locked

    deadline = time.monotonic() + 30
    while any(is_locked(store.courier_lock(name)) for name in TARGETS) and time.monotonic() < deadline:
        time.sleep(0.05)

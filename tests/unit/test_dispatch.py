"""Many runs to one target: turns, waits, and who is left alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from multitrack.backend import EVERYTHING, Backend
from multitrack.delivery import Delivery, Dispatcher, Ledger, dispatch, prepare
from multitrack.delivery.dispatch import Backoff
from multitrack.errors import ConfigError
from multitrack.journal import RunFolder
from multitrack.testing.flaky import FlakyBackend, FlakySettings
from multitrack.testing.memory import memory_backend
from support.journals import metric, new_run, write_run, writing


def flaky(**plan: object) -> FlakyBackend:
    return FlakyBackend(f"dispatch-{time.monotonic_ns()}", FlakySettings.model_validate(plan))


class Office:
    """A dispatcher and what it has delivered."""

    def __init__(self, backend: Backend, parallel: int) -> None:
        self.delivered: list[str] = []
        self.dispatcher = Dispatcher(lambda run: Delivery(run, "t", backend), parallel, lambda run: self.delivered.append(run.id))

    def work(self, until: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, "waited in vain"
            self.dispatcher.poll()
            time.sleep(0.005)


@contextmanager
def office(backend: Backend, parallel: int = 2) -> Iterator[Office]:
    made = Office(backend, parallel)
    try:
        yield made
    finally:
        made.dispatcher.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(dispatch, "LONGEST_WAIT", 0.4)
    monkeypatch.setattr(dispatch, "IDLE_WAIT", 0.02)


def runs(folder: Path, count: int) -> list[RunFolder]:
    return [write_run(folder, [metric(1)], run_id=f"{number:032d}") for number in range(count)]


def test_all_runs_arrive(tmp_path: Path) -> None:
    with office(memory_backend(EVERYTHING)) as made:
        for run in runs(tmp_path, 5):
            made.dispatcher.add(run)
        made.work(lambda: len(made.delivered) == 5)
        assert made.dispatcher.active == 0


def test_a_long_run_does_not_keep_the_others_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "BATCH_BYTES", 1)
    monkeypatch.setattr(dispatch, "SLICE", 0.05)
    long = write_run(tmp_path, [metric(i) for i in range(3000)], run_id="f" * 32)
    with office(memory_backend(EVERYTHING), parallel=1) as made:
        made.dispatcher.add(long)
        made.dispatcher.poll()
        for run in runs(tmp_path, 3):
            made.dispatcher.add(run)
        made.work(lambda: len(made.delivered) >= 3)
        assert long.id not in made.delivered


def test_an_outage_holds_back_and_is_told(tmp_path: Path) -> None:
    backend = flaky(faults=[{"call": "write", "at": number, "effect": "transient"} for number in (1, 2)])
    (run,) = runs(tmp_path, 1)
    with office(backend) as made:
        made.dispatcher.add(run)
        made.work(lambda: made.dispatcher.backoff.failures == 2)
        progress = Ledger(run, "t").progress()
        assert (progress.state, progress.attempts) == ("retrying", 2)
        assert progress.error == "planned for write 2"
        assert made.dispatcher.states() == {run.id: "retrying"}
        made.work(lambda: made.delivered)
        assert Ledger(run, "t").progress().error is None


def test_a_service_is_left_alone_for_as_long_as_it_asks() -> None:
    backoff = Backoff()
    assert backoff.fail(retry_after=7.5) == 7.5
    assert backoff.until > time.monotonic() + 7


def test_waits_grow_and_end() -> None:
    backoff = Backoff()
    waits = [backoff.fail() for _ in range(100)]
    assert waits[0] <= 0.05
    assert 0.2 <= waits[-1] <= 0.4
    backoff.succeed()
    assert backoff.fail() <= 0.05


def test_a_refused_login_ends_the_target(tmp_path: Path) -> None:
    with office(flaky(faults=[{"call": "open", "at": 1, "effect": "auth"}]), parallel=1) as made:
        waiting = runs(tmp_path, 3)
        for run in waiting:
            made.dispatcher.add(run)
        made.work(lambda: made.dispatcher.refused)
        assert Ledger(waiting[0], "t").progress().state == "stopped"
        made.dispatcher.close()
        assert {Ledger(run, "t").progress().state for run in waiting} <= {"stopped", "delivered"}
        made.dispatcher.add(waiting[0])


def test_one_bad_run_is_left_alone_and_the_others_go_on(tmp_path: Path) -> None:
    with office(flaky(faults=[{"call": "open", "at": 1, "effect": "permanent"}]), parallel=1) as made:
        waiting = runs(tmp_path, 3)
        for run in waiting:
            made.dispatcher.add(run)
        made.work(lambda: len(made.delivered) == 2)
        assert made.dispatcher.failed == {waiting[0].id: "planned for open 1"}
        assert Ledger(waiting[0], "t").progress().state == "stopped"
        made.dispatcher.add(waiting[0])
        assert made.dispatcher.active == 0


def test_what_no_adapter_foresaw_is_tried_again_and_then_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "UNEXPECTED_FAILURES", 2)
    backend = flaky(faults=[{"call": "write", "at": number, "effect": "unexpected"} for number in (1, 3, 4)])
    one, two = runs(tmp_path, 2)
    with office(backend, parallel=1) as made:
        made.dispatcher.add(one)
        made.work(lambda: made.delivered)
        made.dispatcher.add(two)
        made.work(lambda: made.dispatcher.failed)
        assert made.dispatcher.failed == {two.id: "ZeroDivisionError: planned for write 4"}


def test_a_run_that_is_deleted_meanwhile_is_dropped(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with office(memory_backend(EVERYTHING)) as made:
        with writing(run):
            made.dispatcher.add(run)
            made.work(lambda: made.dispatcher.states() == {run.id: "caught up"})
            shutil.rmtree(run.path)
            made.work(lambda: made.dispatcher.active == 0)
        assert made.dispatcher.failed == {}
        assert not run.path.exists()


def test_a_run_in_other_hands_is_waited_for(tmp_path: Path) -> None:
    (run,) = runs(tmp_path, 1)
    backend = memory_backend(EVERYTHING)
    with office(backend) as made, Ledger(run, "t").lock as lock:
        lock.acquire()
        made.dispatcher.add(run)
        made.work(lambda: made.dispatcher.states() == {run.id: "busy"})
        lock.release()
        made.work(lambda: made.delivered)


def test_a_target_that_cannot_be_set_up_leaves_the_run_alone(tmp_path: Path) -> None:
    def make(run: RunFolder) -> Delivery:
        raise ConfigError("no such thing")

    (run,) = runs(tmp_path, 1)
    dispatcher = Dispatcher(make, 1, lambda run: None)
    dispatcher.add(run)
    assert dispatcher.failed == {run.id: "no such thing"}
    dispatcher.close()


def test_closing_does_not_wait_for_ever(tmp_path: Path) -> None:
    (run,) = runs(tmp_path, 1)
    made = Office(flaky(faults=[{"call": "write", "at": 1, "effect": "hang", "seconds": 1}]), 1)
    made.dispatcher.add(run)
    made.work(lambda: Ledger(run, "t").status().state == "delivering")
    assert not made.dispatcher.close(timeout=0.05)
    assert made.dispatcher.close()

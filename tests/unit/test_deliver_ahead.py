"""One batch ahead: prepared while another is sent, never more than one, and nothing goes on once delivery has stopped."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from multitrack.backend import EVERYTHING, Batch, Position, Rejection, Sink
from multitrack.delivery import Delivery, Ledger, prepare
from multitrack.delivery.ahead import Ahead
from multitrack.delivery.ledger import PlannedBatch
from multitrack.errors import PermanentError, RecordError, TransientError
from multitrack.journal import RunFolder
from multitrack.testing.flaky import Died
from multitrack.testing.memory import MemoryBackend, MemoryService, MemorySink
from support.journals import RUN_ID, expected_entries, metric, write_run

PATIENCE = 20.0
"""Seconds after which something that should have happened has not."""


class Watched(MemoryBackend):
    """A backend that calls `on_write` before a batch is taken, with its number."""

    def __init__(self, on_write: Callable[[Batch], None]) -> None:
        super().__init__(f"watched-{id(self)}")
        self.on_write = on_write

    def sink(self) -> Sink:
        return WatchedSink(self.service, self.on_write)


class WatchedSink(MemorySink):
    def __init__(self, service: MemoryService, on_write: Callable[[Batch], None]) -> None:
        super().__init__(service, "keys")
        self._on_write = on_write

    def write(self, batch: Batch) -> Sequence[Rejection]:
        self._on_write(batch)
        return super().write(batch)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "BATCH_BYTES", 300)


def planned(run: RunFolder) -> int:
    return len(list(Ledger(run, "t").batches()))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def assert_whole(run: RunFolder, backend: MemoryBackend) -> None:
    """Everything has arrived, once, and in the order that the batches fix."""
    stored = backend.service.run(RUN_ID)
    assert stored is not None
    assert stored.marker is not None
    assert [(entry.seq, entry.record) for entry in stored.entries()] == [
        (entry.seq, entry.record) for entry in expected_entries(run, "t", EVERYTHING)
    ]


def preparing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("multitrack-prepare")]


# -- in a delivery


def test_the_next_batch_is_planned_while_one_is_sent_and_no_other(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(60)])
    seen: list[tuple[int, int]] = []

    def on_write(batch: Batch) -> None:
        if batch.number < 10:
            wait_until(lambda: planned(run) > batch.number)  # it would not be planned before this returned
            time.sleep(0.02)
        seen.append((batch.number, planned(run)))

    backend = Watched(on_write)
    with Delivery(run, "t", backend) as delivery:
        assert delivery.advance()
    assert len(seen) > 10
    assert all(ahead - number <= 1 for number, ahead in seen)
    assert_whole(run, backend)
    assert preparing() == []


def test_what_is_written_to_a_run_that_goes_on_is_not_prepared_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "BATCH_BYTES", 100_000)
    run = write_run(tmp_path, [metric(i) for i in range(10)])
    seen: list[int] = []
    with Delivery(run, "t", Watched(lambda _: seen.append(len(preparing())))) as delivery:
        assert delivery.advance()
    assert seen == [0]


@pytest.mark.parametrize("error", [Died, TransientError, KeyboardInterrupt])
def test_nothing_is_planned_any_more_once_delivery_has_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(30)])
    plan, under_way = Ledger.plan, threading.Event()

    def slow_plan(ledger: Ledger, batch: PlannedBatch) -> None:
        if batch.number == 3:
            under_way.set()
            time.sleep(0.2)
        plan(ledger, batch)

    def die(batch: Batch) -> None:
        if batch.number == 2 and not died:
            died.append(batch.number)
            assert under_way.wait(PATIENCE)
            raise error("in the middle")

    died: list[int] = []
    monkeypatch.setattr(Ledger, "plan", slow_plan)
    backend = Watched(die)
    delivery = Delivery(run, "t", backend)
    with pytest.raises(error):
        delivery.advance()
    assert preparing() == []
    assert planned(run) == 3  # what was under way has ended: whoever takes the lock next finds a file that nobody writes to
    delivery.close()
    with Delivery(run, "t", backend) as successor:
        assert successor.advance()
    assert_whole(run, backend)


def test_a_refused_batch_waits_for_the_one_that_is_being_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(30)])
    plan, under_way = Ledger.plan, threading.Event()
    refusals = [2]

    def slow_plan(ledger: Ledger, batch: PlannedBatch) -> None:
        if batch.number == 3:
            under_way.set()
            time.sleep(0.2)
        plan(ledger, batch)

    def refuse(batch: Batch) -> None:
        if batch.number in refusals:
            refusals.clear()
            assert under_way.wait(PATIENCE)
            raise PermanentError("for now")

    monkeypatch.setattr(Ledger, "plan", slow_plan)
    backend = Watched(refuse)
    with Delivery(run, "t", backend) as delivery:
        assert delivery.advance()
    spans = [span for batch in Ledger(run, "t").batches() for span in batch.ranges.values()]
    assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]]  # nothing was planned twice
    assert_whole(run, backend)


def test_the_same_delivery_goes_on_after_an_interruption(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(30)])
    interruptions = [2, 5, 6]

    def interrupt(batch: Batch) -> None:
        if interruptions and batch.number == interruptions[0]:
            interruptions.pop(0)
            raise KeyboardInterrupt

    backend = Watched(interrupt)
    with Delivery(run, "t", backend) as delivery:
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                delivery.advance()
        assert delivery.advance()
    assert_whole(run, backend)


@pytest.mark.parametrize("error", [OSError("the disk is full"), RecordError("written by a newer multitrack")])
def test_an_error_of_the_preparation_comes_out_after_what_was_sent_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(30)])
    plan, failures, sent = Ledger.plan, [error], list[int]()

    def failing_plan(ledger: Ledger, batch: PlannedBatch) -> None:
        if batch.number == 4 and failures:
            raise failures.pop()
        plan(ledger, batch)

    monkeypatch.setattr(Ledger, "plan", failing_plan)
    backend = Watched(lambda batch: sent.append(batch.number))
    with Delivery(run, "t", backend) as delivery:
        with pytest.raises(type(error), match=str(error)):
            delivery.advance()
        assert sent == [1, 2, 3]
        assert preparing() == []
        assert delivery.advance()
    assert_whole(run, backend)


def test_a_turn_that_ends_leaves_nothing_prepared_behind(tmp_path: Path) -> None:
    """Hundreds of runs may wait for their turns: a batch of each would fill the memory."""
    run = write_run(tmp_path, [metric(i) for i in range(60)])
    backend = Watched(lambda _: time.sleep(0.01))
    with Delivery(run, "t", backend) as delivery:
        while not delivery.advance(budget=0.03):
            assert not delivery._ahead.pending
            assert delivery._sent == planned(run)
    assert_whole(run, backend)


# -- a refusal that comes late


class LateSink(MemorySink):
    """Takes everything, and says no when it is flushed."""

    held: list[Batch]

    def write(self, batch: Batch) -> Sequence[Rejection]:
        self.held = [*getattr(self, "held", []), batch]
        return ()

    def flush(self) -> Position:
        held, self.held = getattr(self, "held", []), []
        for batch in held:
            if any("bad" in getattr(entry.record, "values", {}) for entry in batch.entries):
                raise PermanentError("a bad metric")
            super().write(batch)
        return super().flush()


class Late(MemoryBackend):
    def sink(self) -> Sink:
        return LateSink(self.service, "keys")


def test_a_refusal_at_the_flush_is_searched_as_one_at_the_write(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(i, "bad" if i in (7, 30) else "good") for i in range(50)])
    backend = Late(f"late-{tmp_path}")
    with Delivery(run, "t", backend) as delivery:
        assert delivery.advance()
    assert [(rejection.seq, rejection.reason) for rejection in Ledger(run, "t").rejections()] == [(8, "a bad metric"), (31, "a bad metric")]
    stored = backend.service.run(RUN_ID)
    assert stored is not None
    assert [entry.seq for entry in stored.entries()] == [seq for seq in range(52) if seq not in (8, 31)]


# -- by itself


def numbers(fail_at: int | None = None) -> Callable[[], int | None]:
    def count() -> Iterator[int]:
        for number in range(5):
            if number == fail_at:
                raise ValueError(number)
            yield number

    counting = count()
    return lambda: next(counting, None)


def test_things_come_in_their_order_whether_begun_or_not() -> None:
    with Ahead(numbers()) as ahead:
        found = []
        while (number := ahead.take()) is not None:
            found.append(number)
            if number % 2:
                ahead.begin()
                ahead.begin()
        assert found == [0, 1, 2, 3, 4]


def test_an_error_is_raised_where_its_result_would_have_been_taken() -> None:
    with Ahead(numbers(fail_at=1)) as ahead:
        assert ahead.take() == 0
        ahead.begin()
        with pytest.raises(ValueError, match="1"):
            ahead.take()
        assert not ahead.pending


def test_leaving_waits_and_forgets() -> None:
    finished: list[int] = []

    def slow() -> int:
        time.sleep(0.1)
        finished.append(1)
        return 1

    with Ahead(slow) as ahead:
        ahead.begin()
    assert finished == [1]
    assert not ahead.pending
    assert preparing() == []


def test_at_the_end_of_the_interpreter_things_are_made_when_they_are_taken() -> None:
    code = """
import atexit
from multitrack.delivery.ahead import Ahead

def last():
    with Ahead(lambda: 7) as ahead:
        ahead.begin()
        print(ahead.take())

atexit.register(last)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("7\n", "")


def test_only_a_process_that_just_delivers_is_frozen() -> None:
    code = """
import gc
from multitrack.delivery.dedicated import dedicate, freeze_imports
freeze_imports()
print(gc.get_freeze_count())
dedicate()
freeze_imports()
print(gc.get_freeze_count() > 0)
kept = [[] for _ in range(1000)]
before = gc.get_freeze_count()
freeze_imports()
print(gc.get_freeze_count() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["0", "True", "0"]

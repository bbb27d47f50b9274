"""What is on the disk about one target of one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.backend import EVERYTHING, Rejection
from multitrack.delivery import Delivery, Ledger, Status
from multitrack.delivery.ledger import Committed, PlannedBatch
from multitrack.delivery.progress import LineCount
from multitrack.delivery.targets import Hidden
from multitrack.errors import RecordError
from multitrack.testing.memory import memory_backend
from support.journals import metric, new_run, write_run, writing

PUBLIC = {"name": "t", "backend": "memory", "location": "x", "settings": {}, "filters": {}, "secrets": []}


def test_batches_are_read_back_in_order(tmp_path: Path) -> None:
    ledger = Ledger(new_run(tmp_path), "t")
    batches = [PlannedBatch(1, {"a": (0, 10)}), PlannedBatch(2, {"b": (0, 5), "a": (10, 12)})]
    for batch in batches:
        ledger.plan(batch)
    assert list(ledger.batches()) == batches
    assert [list(batch.ranges) for batch in ledger.batches()] == [["a"], ["b", "a"]]


@pytest.mark.parametrize("torn", [b'{"a":[10', b"x" * 100_000])
def test_a_torn_batch_was_never_planned(tmp_path: Path, torn: bytes) -> None:
    ledger = Ledger(new_run(tmp_path), "t")
    ledger.plan(PlannedBatch(1, {"a": (0, 10)}))
    with ledger._file("batches.jsonl").open("ab") as file:
        file.write(torn)
    assert [batch.number for batch in ledger.batches()] == [1]
    ledger.plan(PlannedBatch(2, {"a": (10, 20)}))
    assert [dict(batch.ranges) for batch in ledger.batches()] == [{"a": (0, 10)}, {"a": (10, 20)}]


def test_what_was_committed_is_read_back(tmp_path: Path) -> None:
    ledger = Ledger(new_run(tmp_path), "t")
    losses = [{"kind": "name", "subject": "metric '\ud800'", "detail": "d", "count": 1}]
    committed = Committed(3, {"a": 5}, 7, 9, {"version": 1, "names": {"$": {}}}, losses, {"a": 5}, "http://x", 12)
    ledger.commit(committed)
    assert Ledger(ledger.run, "t").committed() == committed


@pytest.mark.parametrize("damage", [b"", b'{"batches": 3', b"[]"])
def test_a_damaged_position_means_nothing_was_acknowledged(tmp_path: Path, damage: bytes) -> None:
    ledger = Ledger(new_run(tmp_path), "t")
    ledger.commit(Committed(batches=3))
    ledger.set_status(Status("retrying", "x"))
    for what in ("position.json", "status.json"):
        ledger._file(what).write_bytes(damage)
    assert ledger.committed() == Committed()
    assert ledger.status() == Status()


def test_fields_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    ledger = Ledger(new_run(tmp_path), "t")
    ledger._file("position.json").write_text('{"batches": 2, "colour": "red"}')
    ledger._file("status.json").write_text('{"state": "retrying", "colour": "red"}')
    assert ledger.committed().batches == 2
    assert ledger.status().state == "retrying"


def test_every_target_of_a_run_is_found_by_its_own_name(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    for name in ("plain", "a name/with: signs"):
        Ledger(run, name).write_target({**PUBLIC, "name": name})
    assert sorted(ledger.target for ledger in Ledger.of(run)) == ["a name/with: signs", "plain"]


def test_a_damaged_target_says_what_to_do(tmp_path: Path) -> None:
    ledger = Ledger(new_run(tmp_path), "t")
    ledger.write_target(PUBLIC)
    ledger._file("target.json").write_bytes(b"")
    assert [found.target for found in Ledger.of(ledger.run)] == ["t"]
    with pytest.raises(RecordError, match=r"multitrack sync .* --to ADDRESS"):
        ledger.read_target()


def test_a_run_that_is_meant_for_a_target_again_is_no_longer_stopped(tmp_path: Path) -> None:
    ledger = Ledger(new_run(tmp_path), "t")
    ledger.set_status(Status("stopped", "refused"))
    ledger.write_target(PUBLIC)
    assert ledger.status() == Status()


def test_secrets_and_logins_are_not_written_down(tmp_path: Path) -> None:
    ledger = Ledger(new_run(tmp_path), "t")
    ledger.hide = Hidden(["opensesame"])
    ledger.set_status(Status("retrying", "https://me:pw@host refused opensesame"))
    ledger.reject([Rejection("w", 1, "opensesame")])
    assert ledger.status().error == "https://***@host refused ***"
    assert ledger.rejections() == [Rejection("w", 1, "***")]


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    assert Hidden(["abcd", "abcdefgh", "x"])("x abcdefgh abcd") == "x *** ***"


# -- progress


def test_progress_counts_records_delivered_and_to_go(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with writing(run) as writer, Delivery(run, "t", memory_backend(EVERYTHING)) as delivery:
        assert delivery.ledger.progress().behind == 1
        writer.append(metric(1))
        delivery.advance()
        for number in range(3):
            writer.append(metric(number))
        progress = delivery.ledger.progress()
        assert (progress.state, progress.delivered, progress.behind, progress.points) == ("delivering", 2, 3, 1)
        assert progress.rate is not None
        assert progress.rate > 0
        assert progress.eta is not None
        assert progress.eta > 0


@pytest.mark.parametrize("state", ["delivering", "retrying"])
def test_a_state_without_anybody_behind_it_is_waiting(tmp_path: Path, state: str) -> None:
    ledger = Ledger(write_run(tmp_path), "t")
    ledger.set_status(Status(state, "why"))  # type: ignore[arg-type]
    assert ledger.progress().state == "waiting"
    assert ledger.progress().error == "why"
    with ledger.lock:
        ledger.lock.acquire()
        assert Ledger(ledger.run, "t").progress().state == state


def test_what_was_stopped_stays_stopped(tmp_path: Path) -> None:
    ledger = Ledger(write_run(tmp_path), "t")
    ledger.set_status(Status("stopped", "refused"))
    assert ledger.progress().state == "stopped"


def test_lines_are_counted_without_reading_them_again(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"aa\n" * 10)
    count = LineCount(path)
    assert count.between(0, 30) == 10
    assert count.between(9, 30) == 7
    path.write_bytes(b"bb\n" * 12)
    assert count.between(9, 36) == 9
    assert count.between(0, 36) == 12
    assert count.between(36, 36) == 0


def test_forgetting_keeps_the_order(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(1)])
    with Delivery(run, "t", memory_backend(EVERYTHING)) as delivery:
        delivery.advance()
        before = list(delivery.ledger.batches())
        delivery.ledger.forget()
        assert delivery.ledger.committed() == Committed()
        assert list(delivery.ledger.batches()) == before

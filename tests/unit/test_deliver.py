"""One run to one target: once, in order, whatever dies in between."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from multitrack.backend import EVERYTHING, TAG_COMPLETE, Backend, Capabilities, NameRule
from multitrack.config.filters import Filters, Selection
from multitrack.delivery import Delivery, DeliveryBusyError, Ledger, deliver, prepare
from multitrack.errors import AuthError, PermanentError, RecordError, TransientError
from multitrack.journal import Journal, JournalWriter, RunFolder
from multitrack.records import Artifact, Metrics, Record, RunUpdated
from multitrack.testing.flaky import Died, Fault, FlakyBackend, FlakySettings
from multitrack.testing.memory import MemoryBackend, memory_backend
from support.journals import RUN_ID, expected_entries, finished, metric, new_run, started, write_run, writing

NARROW = Capabilities(
    metric_names=NameRule(ignores_case=True), point_types=frozenset({"float"}), missing_steps=False, steps="int", changing_params=False
)
"""What leaves traces in the adapter's state: names that clash, ordinals, first values."""


class Flaky(FlakyBackend):
    """The flaky backend, dying in a way that the test survives."""

    def __init__(self, *, narrow: bool = False, **plan: object) -> None:
        super().__init__(f"flaky-{id(self)}-{tempfile.mktemp(dir='')}", FlakySettings.model_validate(plan))
        self.die = lambda: None
        if narrow:
            self.capabilities = NARROW  # type: ignore[misc]


def held(backend: MemoryBackend, run_id: str = RUN_ID) -> list[tuple[str, int, Record]]:
    """Return what the service has of a run, in the order in which it came."""
    run = backend.service.run(run_id)
    assert run is not None
    return [(entry.writer, entry.seq, entry.record) for entry in run.entries()]


def wanted(folder: RunFolder, target: str, capabilities: Capabilities = EVERYTHING) -> list[tuple[str, int, Record]]:
    return [(entry.writer, entry.seq, entry.record) for entry in expected_entries(folder, target, capabilities)]


def deliver_all(folder: RunFolder, backend: Backend, attempts: int = 60, target: str = "t") -> None:
    """Deliver like couriers that follow one another: each goes on until it dies."""
    delivery = Delivery(folder, target, backend)
    for _ in range(attempts):
        try:
            if delivery.advance():
                delivery.close()
                return
        except Died:
            delivery.ledger.lock.release()  # as the kernel does
            delivery = Delivery(folder, target, backend)
        except TransientError:
            pass
    raise AssertionError("never delivered")


rows = st.builds(
    lambda number, name, step, value: Metrics(time=number, step=step, values={name: value}),
    st.integers(0, 5),
    st.sampled_from(["loss", "Loss", "acc", "LOSS"]),
    st.sampled_from([None, None, 1, 2.5]),
    st.sampled_from([0.5, 1, True]),
)
faults = st.builds(
    lambda call, at, effect: Fault(call=call, at=at, effect=effect),
    st.sampled_from(["open", "write", "flush", "finish"]),
    st.integers(1, 6),
    st.sampled_from(["die before", "die half-way", "die after", "transient", "permanent"]),
).filter(lambda fault: fault.effect != "permanent" or fault.call == "write")


@settings(max_examples=40, deadline=None)
@given(
    lives=st.lists(st.lists(rows, max_size=12), min_size=1, max_size=3),
    cuts=st.lists(st.integers(0, 12), max_size=3),
    faults=st.lists(faults, max_size=6, unique_by=lambda fault: (fault.call, fault.at)),
    keeps=st.sampled_from(["keys", "count"]),
    late=st.integers(0, 2),
    batch_bytes=st.integers(1, 600),
)
def test_whatever_dies_every_record_arrives_once_and_in_order(
    lives: list[list[Metrics]], cuts: list[int], faults: list[Fault], keeps: str, late: int, batch_bytes: int
) -> None:
    assume(sum(fault.effect == "permanent" for fault in faults) < 2)  # an entry that is refused by itself as well is not to arrive
    late = late if keeps == "count" else 0  # who keeps no count acknowledges at once
    backend = Flaky(narrow=True, faults=faults, keeps=keeps, late=late)
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(prepare, "BATCH_BYTES", batch_bytes),
        mock.patch.object(deliver, "_ACKNOWLEDGE_POLL", 0.0),
        mock.patch("os.fsync"),  # the processes die here, not the machine
    ):
        run = new_run(Path(folder))
        writers = [JournalWriter(run) for _ in lives]
        delivery = Delivery(run, "t", backend)
        try:
            writers[0].append(started())
            for number in range(12):
                for writer, life in zip(writers, lives, strict=True):
                    for record in life[number : number + 1]:
                        writer.append(record)
                if number in cuts:
                    try:
                        delivery.advance()
                    except Died:
                        delivery.ledger.lock.release()
                        delivery = Delivery(run, "t", backend)
                    except TransientError:
                        pass
            writers[0].append(finished())
        finally:
            for writer in writers:
                writer.close()
        delivery.close()
        deliver_all(run, backend)
        assert held(backend) == wanted(run, "t", NARROW)
        covered = Ledger(run, "t").committed()
        assert dict(covered.offsets) == dict(Journal(run).sizes())
        clean = memory_backend(NARROW)
        deliver_all(run, clean, target="clean")
        stored, other = backend.service.run(RUN_ID), clean.service.run(RUN_ID)
        assert stored is not None
        assert other is not None
        assert stored.marker is not None
        assert other.marker is not None
        marker, clean_marker = json.loads(stored.marker), json.loads(other.marker)
        if len(lives) > 1:  # the attached records are in the order of delivery, and two writers' may be delivered in any
            assert marker.pop("sha256")
            assert clean_marker.pop("sha256")
        assert marker == clean_marker
        assert Ledger(run, "t").committed().adapter == Ledger(run, "clean").committed().adapter or len(lives) > 1


def test_the_order_is_fixed_before_anything_is_sent(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(5)])
    backend = Flaky(faults=[{"call": "write", "at": 1, "effect": "die before"}])
    with pytest.raises(Died):
        Delivery(run, "t", backend).advance()
    assert [batch.number for batch in Ledger(run, "t").batches()] == [1]
    assert Ledger(run, "t").committed().batches == 0


def test_a_batch_that_was_planned_is_never_cut_differently(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    backend = Flaky(faults=[{"call": "write", "at": 1, "effect": "die before"}])
    with writing(run) as writer:
        writer.append(metric(1))
        first = Delivery(run, "t", backend)
        with pytest.raises(Died):
            first.advance()
        first.ledger.lock.release()
        before = list(Ledger(run, "t").batches())
        writer.append(metric(2))
        second = Delivery(run, "t", backend)
        second.advance()
        second.close()
    assert list(Ledger(run, "t").batches())[:1] == before
    assert [number for number, _, _ in backend.service.runs()[RUN_ID].lines] == [1, 1, 2]


def test_what_the_service_has_lost_is_sent_again(tmp_path: Path) -> None:
    backend = memory_backend(NARROW)
    run = write_run(tmp_path, [metric(i, "Loss") for i in range(5)])
    deliver_all(run, backend)
    backend.service.delete(RUN_ID)
    with Delivery(run, "t", backend, recheck=True) as delivery:
        assert delivery.advance()
    assert held(backend) == wanted(run, "t", NARROW)
    assert Ledger(run, "t").committed().records == 7


def test_only_what_is_acknowledged_is_committed(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    backend = Flaky(keeps="count", late=10**6)
    with writing(run) as writer:
        writer.append(metric(1))
        with Delivery(run, "t", backend) as delivery:
            assert not delivery.advance(budget=0.3)
            assert not delivery.caught_up
            assert delivery.ledger.committed().batches == 0


def test_the_adapter_stands_behind_what_is_acknowledged_not_behind_what_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "BATCH_BYTES", 1)
    monkeypatch.setattr(deliver, "BATCHES_PER_FLUSH", 1)
    monkeypatch.setattr(deliver, "_ACKNOWLEDGE_POLL", 0.0)
    run = write_run(tmp_path, [Metrics(time=i, values={"loss": 0.5}) for i in range(10)])  # they get ordinals
    backend = Flaky(narrow=True, keeps="count", late=3, faults=[{"call": "flush", "at": 8, "effect": "die before"}])
    first = Delivery(run, "t", backend)
    with pytest.raises(Died):
        first.advance()
    first.ledger.lock.release()
    assert 0 < Ledger(run, "t").committed().batches < len(list(Ledger(run, "t").batches()))
    deliver_all(run, backend)
    assert held(backend) == wanted(run, "t", NARROW)


def test_a_service_that_never_acknowledges_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "ACKNOWLEDGE_TIMEOUT", 0.1)
    run = write_run(tmp_path, [metric(1)])
    with Delivery(run, "t", Flaky(keeps="count", late=10**6)) as delivery, pytest.raises(TransientError, match="acknowledged nothing"):
        delivery.advance()


def test_sending_stops_while_too_much_is_unacknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "BATCH_BYTES", 1)
    run = write_run(tmp_path, [metric(i) for i in range(100)])
    with Delivery(run, "t", Flaky(keeps="count", late=10**6)) as delivery:
        delivery.advance(budget=0.3)
    assert len(list(Ledger(run, "t").batches())) == deliver.BATCHES_IN_FLIGHT + 1  # the first holds the header only, and is never sent


# -- what a service refuses


def test_the_records_at_fault_are_found_and_the_others_arrive(tmp_path: Path) -> None:
    records = [metric(i, "bad" if i in (3, 40) else "good") for i in range(50)]
    run = write_run(tmp_path, records)
    backend = Flaky(refused_metrics=["bad"])
    deliver_all(run, backend)
    rejections = Ledger(run, "t").rejections()
    assert [rejection.seq for rejection in rejections] == [4, 41]
    assert "not welcome" in rejections[0].reason
    assert held(backend) == [item for item in wanted(run, "t") if not (isinstance(item[2], Metrics) and "bad" in item[2].values)]


def test_a_refused_batch_of_one_record_is_that_record(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    backend = Flaky(refused_metrics=["bad"])
    with writing(run) as writer, Delivery(run, "t", backend) as delivery:
        delivery.advance()
        for number in range(3):
            writer.append(metric(number, "bad"))
            delivery.advance()
        writer.append(metric(9, "good"))
        delivery.advance()
    assert len(Ledger(run, "t").rejections()) == 3
    assert held(backend)[-1][2] == metric(9, "good")


def test_refusals_in_several_batches_are_all_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "BATCH_BYTES", 1)
    run = write_run(tmp_path, [metric(i, "bad" if i % 2 else "good") for i in range(20)])
    backend = Flaky(refused_metrics=["bad"], keeps="count")
    deliver_all(run, backend)
    assert len(Ledger(run, "t").rejections()) == 10
    assert len(held(backend)) == 12


def test_a_refusal_of_the_run_is_no_refusal_of_its_records(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(300)])
    with (
        Delivery(run, "t", Flaky(refused_runs=True)) as delivery,
        pytest.raises(PermanentError, match="every record of the run is refused"),
    ):
        delivery.advance()
    assert Ledger(run, "t").rejections() == []


def test_a_run_that_cannot_be_opened_again_is_not_searched(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(3)])
    backend = Flaky(refused_runs=True, faults=[{"call": "open", "at": 2, "effect": "permanent"}])
    with Delivery(run, "t", backend) as delivery, pytest.raises(PermanentError, match="planned for open 2"):
        delivery.advance()
    assert Ledger(run, "t").rejections() == []


def test_rejections_are_noted_once_however_often_they_are_tried(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(1, "bad"), metric(2)])
    for _ in range(2):
        deliver_all(run, Flaky(refused_metrics=["bad"]))
        Ledger(run, "t")._file("position.json").unlink()
    assert len(Ledger(run, "t").rejections()) == 1


def test_an_artifact_without_its_content_is_set_aside(tmp_path: Path) -> None:
    run = write_run(tmp_path, [Artifact(time=1, name="gone.bin", sha256="0" * 64, size=1), metric(1)])
    backend = memory_backend(EVERYTHING)
    deliver_all(run, backend)
    assert "gone.bin" in Ledger(run, "t").rejections()[0].reason
    assert len(held(backend)) == 3


def test_a_line_that_is_no_record_is_named_and_passed_over(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(1)])
    path = next(run.records.glob("*.jsonl"))
    path.write_bytes(path.read_bytes() + b'{"kind": "metrics", "se\n')
    backend = memory_backend(EVERYTHING)
    deliver_all(run, backend)
    assert "no record" in Ledger(run, "t").rejections()[0].reason
    assert len(held(backend)) == 3


@pytest.mark.parametrize("error", [TransientError, AuthError, PermanentError])
def test_errors_of_the_service_come_through(tmp_path: Path, error: type[Exception]) -> None:
    effect = {TransientError: "transient", AuthError: "auth", PermanentError: "permanent"}[error]
    run = write_run(tmp_path)
    with Delivery(run, "t", Flaky(faults=[{"call": "open", "at": 1, "effect": effect}])) as delivery:
        with pytest.raises(error):
            delivery.advance()
        assert delivery.advance()


# -- how runs end, and go on


def test_a_run_is_concluded_when_nobody_writes_any_more(tmp_path: Path) -> None:
    run, backend = new_run(tmp_path), memory_backend(EVERYTHING)
    with Delivery(run, "t", backend) as delivery:
        with writing(run) as writer:
            assert not delivery.advance()
            assert delivery.caught_up
            writer.append(finished())
            assert not delivery.advance()
        assert delivery.advance()
    stored = backend.service.runs()[RUN_ID]
    assert stored.concluded is not None
    assert stored.concluded["status"] == "finished"
    assert stored.concluded["tags"].keys() == {TAG_COMPLETE}
    assert Ledger(run, "t").progress().done


def test_a_run_whose_process_vanished_is_delivered_as_crashed(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(1)], finish=False)
    backend = memory_backend(EVERYTHING)
    deliver_all(run, backend)
    concluded = backend.service.runs()[RUN_ID].concluded
    assert concluded is not None
    assert concluded["status"] == "crashed"
    assert concluded["time"] == metric(1).time


def test_a_run_that_goes_on_is_opened_and_concluded_again(tmp_path: Path) -> None:
    run, backend = write_run(tmp_path, [metric(1)]), memory_backend(EVERYTHING)
    deliver_all(run, backend)
    first = backend.service.runs()[RUN_ID].marker
    with writing(run, begin=False) as writer:
        writer.append(RunUpdated(time=1, status="running"))
        with Delivery(run, "t", backend) as delivery:
            assert not delivery.advance()
        assert backend.service.runs()[RUN_ID].marker is None
        assert Ledger(run, "t").progress().state == "waiting"
        writer.append(metric(2))
        writer.append(finished())
    deliver_all(run, backend)
    stored = backend.service.runs()[RUN_ID]
    assert held(backend) == wanted(run, "t")
    assert len(stored.conclusions) == 2
    assert stored.marker not in (None, first)


def test_a_concluded_run_is_not_opened(tmp_path: Path) -> None:
    run, backend = write_run(tmp_path, [metric(1)]), Flaky()
    deliver_all(run, backend)
    with Delivery(run, "t", backend) as delivery:
        assert delivery.advance()
    assert backend.count("open") == 2


def test_a_rank_may_come_before_the_one_that_makes_the_run(tmp_path: Path) -> None:
    run, backend = new_run(tmp_path), memory_backend(EVERYTHING)
    with writing(run, begin=False) as early, Delivery(run, "t", backend) as delivery:
        early.append(metric(1))
        assert not delivery.advance()
        assert RUN_ID not in backend.service.runs()
        with writing(run):
            assert not delivery.advance()
            assert len(held(backend)) == 2


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with Delivery(new_run(tmp_path), "t", memory_backend(EVERYTHING)) as delivery, pytest.raises(RecordError, match="no run_started"):
        delivery.advance()


# -- around it


def test_two_never_deliver_the_same_run(tmp_path: Path) -> None:
    run, backend = new_run(tmp_path), memory_backend(EVERYTHING)
    with writing(run), Delivery(run, "t", backend) as one, Delivery(run, "t", backend) as two:
        one.advance()
        with pytest.raises(DeliveryBusyError):
            two.advance()
        one.close()
        two.advance()


def test_a_target_without_room_for_a_batch_still_gets_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that the filters hold back whole is never sent, so no service can acknowledge it."""
    monkeypatch.setattr(prepare, "BATCH_BYTES", 1)
    run = write_run(tmp_path, [metric(i, "debug") for i in range(4)])
    backend = memory_backend(EVERYTHING, keeps="count")
    for _ in range(2):
        with Delivery(run, "t", backend, Filters(exclude=Selection(metrics=("debug",))), recheck=True) as delivery:
            assert delivery.advance()
    assert len(held(backend)) == 2


def test_a_slice_of_time_ends_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "BATCH_BYTES", 1)
    run, backend = write_run(tmp_path, [metric(i) for i in range(30)]), memory_backend(EVERYTHING)
    turns = 0
    with Delivery(run, "t", backend) as delivery:
        while not delivery.advance(budget=0.0):
            assert not delivery.caught_up
            turns += 1
    assert turns > 5
    assert held(backend) == wanted(run, "t")


def test_the_state_of_another_version_of_the_adapter_is_made_anew(tmp_path: Path) -> None:
    run, backend = new_run(tmp_path), memory_backend(NARROW)
    with writing(run) as writer, Delivery(run, "t", backend) as delivery:
        writer.append(metric(1, "loss"))
        delivery.advance()
        delivery.close()
        ledger = Ledger(run, "t")
        position = json.loads(ledger._file("position.json").read_bytes())
        position["adapter"]["version"] = 99
        ledger._file("position.json").write_text(json.dumps(position))
        writer.append(metric(1, "LOSS"))
        delivery.advance()
    assert held(backend) == wanted(run, "t", NARROW)


def test_a_huge_backlog_is_sent_without_being_held(tmp_path: Path) -> None:
    import tracemalloc

    run = new_run(tmp_path)
    with writing(run) as writer:
        for _ in range(100):
            writer.append_line(b'{"kind":"metrics","seq":', b',"time":1,"values":{"note":"%s"}}\n' % (b"x" * 300_000))
    backend = Flaky(refused_metrics=["note"])  # holds on to nothing
    with Delivery(run, "t", backend) as delivery:
        tracemalloc.start()
        try:
            delivery.advance()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 25_000_000, f"{peak / 1e6:.0f} MB"

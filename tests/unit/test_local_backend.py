"""Another store as a target, and any store as a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.backend import RunFilter
from multitrack.delivery import Delivery, prepare
from multitrack.errors import ConfigError, PermanentError, TransientError
from multitrack.journal import Journal, RunFolder, Store, store_file
from multitrack.records import Artifact, RunFinished
from multitrack.state import compare, fold
from multitrack_local import LocalBackend
from support.journals import RUN_ID, metric, new_run, write_run, writing


def copy_of(store: Path) -> RunFolder:
    return Store(store).get(RUN_ID)


def deliver_to(store: Path, run: RunFolder, target: str = "t") -> None:
    with Delivery(run, target, LocalBackend(str(store))) as delivery:
        assert delivery.advance()


def entries(run: RunFolder) -> set[tuple[str, int, str]]:
    return {(entry.writer, entry.seq, entry.record.model_dump_json()) for entry in Journal(run).entries()}


def test_the_copy_has_every_record_under_its_name(tmp_path: Path) -> None:
    run = new_run(tmp_path / "a")
    with writing(run) as one, writing(run, begin=False) as two:
        one.append(metric(1))
        two.append(metric(2))
        one.append(RunFinished(time=9, status="failed", error="x"))
    deliver_to(tmp_path / "b", run)
    assert entries(copy_of(tmp_path / "b")) == entries(run)
    assert Journal(copy_of(tmp_path / "b")).verdict() == Journal(run).verdict()


def test_what_is_delivered_twice_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "BATCH_BYTES", 100)
    run = write_run(tmp_path / "a", [metric(i) for i in range(10)])
    deliver_to(tmp_path / "b", run)
    before = {path.name: path.read_bytes() for path in copy_of(tmp_path / "b").records.glob("*.jsonl")}
    deliver_to(tmp_path / "b", run, target="again")
    assert {path.name: path.read_bytes() for path in copy_of(tmp_path / "b").records.glob("*.jsonl")} == before


def test_a_torn_end_is_cut_off_and_written_again(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [metric(i) for i in range(10)])
    deliver_to(tmp_path / "b", run)
    path = next(copy_of(tmp_path / "b").records.glob("*.jsonl"))
    path.write_bytes(path.read_bytes()[:-20])
    deliver_to(tmp_path / "b", run, target="again")
    assert entries(copy_of(tmp_path / "b")) == entries(run)


def test_contents_come_along(tmp_path: Path) -> None:
    run = new_run(tmp_path / "a")
    (tmp_path / "model.pt").write_bytes(b"weights")
    with writing(run) as writer:
        sha256, size = store_file(tmp_path / "model.pt", run.artifacts)
        writer.append(Artifact(time=1, name="model.pt", sha256=sha256, size=size))
        writer.append(RunFinished(time=9, status="finished"))
    deliver_to(tmp_path / "b", run)
    assert copy_of(tmp_path / "b").content(sha256).read_bytes() == b"weights"
    source = LocalBackend(str(tmp_path / "b")).source()
    (ref,) = source.runs(RunFilter())
    source.fetch(ref, Artifact(time=1, name="model.pt", sha256=sha256), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"weights"
    with pytest.raises(PermanentError, match="missing"):
        source.fetch(ref, Artifact(time=1, name="gone", sha256="0" * 64), tmp_path / "back")


def test_a_run_that_is_delivered_is_alive_in_the_copy_as_long_as_it_is(tmp_path: Path) -> None:
    run = new_run(tmp_path / "a")
    with Delivery(run, "t", LocalBackend(str(tmp_path / "b"))) as delivery:
        with writing(run) as writer:
            assert not delivery.advance()
            assert Journal(copy_of(tmp_path / "b")).verdict().status == "running"
            writer.append(RunFinished(time=9, status="finished"))
        assert delivery.advance()
    assert Journal(copy_of(tmp_path / "b")).verdict().status == "finished"


def test_two_do_not_write_the_same_run(tmp_path: Path) -> None:
    run = new_run(tmp_path / "a")
    with (
        writing(run),
        Delivery(run, "t", LocalBackend(str(tmp_path / "b"))) as one,
        Delivery(run, "u", LocalBackend(str(tmp_path / "b"))) as two,
    ):
        one.advance()
        with pytest.raises(TransientError, match="another process writes"):
            two.advance()


def test_a_marker_is_gone_while_a_run_goes_on(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [metric(1)])
    deliver_to(tmp_path / "b", run)
    source = LocalBackend(str(tmp_path / "b")).source()
    assert "multitrack.complete" in next(iter(source.runs(RunFilter()))).tags
    with writing(run, begin=False) as writer, Delivery(run, "t", LocalBackend(str(tmp_path / "b"))) as delivery:
        writer.append(metric(2))
        delivery.advance()
        assert "multitrack.complete" not in next(iter(source.runs(RunFilter()))).tags
    deliver_to(tmp_path / "b", run)
    assert "multitrack.complete" in next(iter(source.runs(RunFilter()))).tags


def test_the_source_reads_what_the_journal_holds(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(5)])
    source = LocalBackend(str(tmp_path)).source()
    (ref,) = source.runs(RunFilter(projects=["p"]))
    assert list(source.projects()) == ["p"]
    assert (ref.id, ref.name, ref.status) == (RUN_ID, "a run", "finished")
    assert not compare(fold(source.read(ref)), fold(Journal(run).records()))
    assert source.journal(ref) == run.path
    assert not list(source.runs(RunFilter(ids=["0" * 32])))
    assert not list(source.runs(RunFilter(statuses=["failed"])))


def test_a_run_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    write_run(tmp_path, run_id="1" * 32)
    broken = write_run(tmp_path, run_id="2" * 32)
    next(broken.records.glob("*.jsonl")).write_bytes(b'{"kind":"journal","format":99}\n')
    source = LocalBackend(str(tmp_path)).source()
    refs = {ref.id: ref for ref in source.runs(RunFilter())}
    assert refs["1" * 32].status == "finished"
    with pytest.raises(PermanentError, match="newer multitrack"):
        list(source.read(refs["2" * 32]))


def test_locations(tmp_path: Path) -> None:
    assert LocalBackend.resolve("./x/../y", tmp_path) == str(tmp_path / "y")
    assert LocalBackend.resolve(None, tmp_path) == str(tmp_path / ".multitrack")
    with pytest.raises(ConfigError, match="no folder"):
        LocalBackend.resolve("http://host", tmp_path)
    with pytest.raises(PermanentError, match="there is no store"):
        LocalBackend(str(tmp_path / "none")).source()


def test_check_tells_what_is_there(tmp_path: Path) -> None:
    write_run(tmp_path)
    assert LocalBackend(str(tmp_path)).check() == f"1 runs in {tmp_path}"
    assert "the first run makes it" in LocalBackend(str(tmp_path / "a" / "b")).check()
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(PermanentError, match="cannot be written"):
        LocalBackend(str(tmp_path / "file" / "x")).check()

"""Reading: what is whole is read, what is damaged is passed over and named, and who is alive is seen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from multitrack.errors import RecordError
from multitrack.journal import FileLock, Journal, JournalWriter, RunFolder, WriterFile, is_locked
from multitrack.journal.write import HEARTBEAT
from multitrack.records import Metrics, Origin, Record, RunFinished, RunStarted, RunUpdated, encode

RUN = "0" * 32


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "p" / RUN)
    folder.create()
    return folder


def header(**fields: object) -> bytes:
    known = {"kind": "journal", "format": 1, "run": RUN, "writer": "w", "host": os.uname().nodename, "pid": 1, "time": 1}
    return orjson.dumps({**known, **fields}) + b"\n"


def metrics(i: int, text: str = "") -> Metrics:
    return Metrics(time=i, step=i, values={"a": text or i})


def write(folder: RunFolder, *records: Record, writer: str = "w", start: int = 1) -> Path:
    path = folder.records_of(writer)
    path.write_bytes(header(writer=writer, time=start) + b"".join(encode(record, seq) for seq, record in enumerate(records)))
    return path


def times(folder: RunFolder, damaged: list[str] | None = None) -> list[int]:
    return [entry.record.time for entry in Journal(folder).entries(damaged)]


STARTED = RunStarted(time=1, id=RUN, project="p")


def test_a_file_cut_at_any_byte(folder: RunFolder) -> None:
    path = write(folder, *(metrics(i) for i in range(3)))
    data = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        damaged: list[str] = []
        whole = max(sum(end <= cut for end in ends) - 1, 0)
        assert times(folder, damaged) == list(range(whole)), cut
        assert damaged == []
        assert WriterFile(folder, "w").last_time() == (whole - 1 if whole else None)
        assert Journal(folder).verdict().status == "crashed"


def test_what_follows_later_is_read_from_where_reading_stopped(folder: RunFolder) -> None:
    path = write(folder, *(metrics(i, "x" * 100) for i in range(50)))
    data = path.read_bytes()
    file, position, found = WriterFile(folder, "w"), 0, []
    for cut in range(0, len(data) + 40, 37):
        path.write_bytes(data[:cut])
        part = file.read(position)
        position = part.end
        found += part.lines
    assert b"\n".join(found) + b"\n" == data.split(b"\n", 1)[1]


def test_small_pieces_make_the_whole(folder: RunFolder) -> None:
    write(folder, *(metrics(i, "x" * (i * 13 % 300)) for i in range(100)))
    file, position, found = WriterFile(folder, "w"), 0, []
    while (part := file.read(position, max_bytes=100)).end > position:
        position = part.end
        found += part.lines
    assert tuple(found) == file.read().lines
    assert len(found) == 100


@pytest.mark.parametrize(
    "damage",
    [b"\0" * 50, b'{"kind":"metrics","se', b'{"kind":"metrics","seq":1}', b"[1]", b'{"kind":"metrics","seq":1,"time":"now","values":{}}'],
)
def test_a_damaged_line_is_passed_over_and_named(folder: RunFolder, damage: bytes) -> None:
    path = write(folder, metrics(0), metrics(1))
    path.write_bytes(path.read_bytes() + damage + b"\n" + encode(metrics(2), 2))
    damaged: list[str] = []
    assert times(folder, damaged) == [0, 1, 2]
    assert len(damaged) == 1
    assert damaged[0].startswith("w.jsonl: ")


def test_blank_lines_are_no_damage(folder: RunFolder) -> None:
    path = write(folder, metrics(0))
    path.write_bytes(path.read_bytes() + b"\n" + encode(metrics(1), 1))
    damaged: list[str] = []
    assert times(folder, damaged) == [0, 1]
    assert damaged == []


def test_a_journal_of_a_newer_format(folder: RunFolder) -> None:
    folder.records_of("w").write_bytes(header(format=2) + encode(metrics(0), 0))
    for read in (lambda: list(Journal(folder).entries()), Journal(folder).verdict, lambda: WriterFile(folder, "w").read()):
        with pytest.raises(RecordError, match=r"w\.jsonl: written by a newer multitrack \(journal format 2, .* pip install -U multitrack"):
            read()


@pytest.mark.parametrize("first", [b"garbage\n", b"\0\0\n", b'{"kind":"journal","format":"x"}\n', b"[]\n"])
def test_a_damaged_header_costs_no_record(folder: RunFolder, first: bytes) -> None:
    folder.records_of("w").write_bytes(first + encode(metrics(0), 0))
    damaged: list[str] = []
    assert times(folder, damaged) == [0]
    assert "the first line is no journal header" in damaged[0]


@pytest.mark.parametrize("data", [b"", b'{"kind":"jour'])
def test_a_file_without_a_header_is_not_there_yet(folder: RunFolder, data: bytes) -> None:
    folder.records_of("v").write_bytes(data)
    write(folder, STARTED, metrics(5))
    assert times(folder) == [1, 5]
    assert Journal(folder).started() == STARTED


def test_writers_in_the_order_in_which_they_began(folder: RunFolder) -> None:
    write(folder, metrics(2), writer="a", start=2)
    write(folder, STARTED, writer="b", start=1)
    assert [writer.id for writer in Journal(folder).writers()] == ["b", "a"]
    assert Journal(folder).started() == STARTED


def test_a_run_without_its_first_record(folder: RunFolder) -> None:
    write(folder, metrics(0))
    with pytest.raises(RecordError, match="no run_started record"):
        Journal(folder).started()


@pytest.mark.parametrize(
    ("records", "status", "ended"),
    [
        ([STARTED, metrics(7)], "crashed", 7),
        ([STARTED, RunFinished(time=9, status="failed")], "failed", 9),
        ([STARTED, RunFinished(time=9, status="finished"), RunUpdated(time=10, status="running")], "crashed", 10),
        (
            [STARTED, RunFinished(time=9, status="finished"), RunUpdated(time=10, status="running"), RunFinished(time=11, status="killed")],
            "killed",
            11,
        ),
        ([STARTED.model_copy(update={"origin": Origin(source="x", project="p", run="r")})], "running", None),
    ],
)
def test_verdicts_on_runs_without_a_living_writer(folder: RunFolder, records: list[Record], status: str, ended: int | None) -> None:
    write(folder, *records)
    verdict = Journal(folder).verdict()
    assert (verdict.status, verdict.ended) == (status, ended)


def test_a_living_writer_makes_a_running_run(folder: RunFolder) -> None:
    writer = JournalWriter(folder)
    writer.append(STARTED)
    assert Journal(folder).verdict().status == "running"
    writer.append(RunFinished(time=9, status="finished"))
    assert Journal(folder).verdict().status == "finished"
    writer.close()


@pytest.mark.parametrize(("age", "alive"), [(0, True), (2 * HEARTBEAT, True), (4 * HEARTBEAT, False)])
def test_a_writer_on_another_host_shows_that_it_lives_by_its_heartbeat(folder: RunFolder, age: float, alive: bool) -> None:
    folder.records_of("w").write_bytes(header(host="elsewhere"))
    folder.lock_of("w").touch()
    moment = time.time() - age
    os.utime(folder.lock_of("w"), (moment, moment))
    assert WriterFile(folder, "w").is_alive() is alive


# -- locks


def test_a_lock_goes_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"""
from pathlib import Path
from multitrack.journal import FileLock
lock = FileLock(Path({str(path)!r}))
print(lock.acquire(), flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert is_locked(path)
        assert not FileLock(path).acquire()
        holder.kill()
        holder.wait()
        assert not is_locked(path)
        with FileLock(path) as lock:
            assert lock.acquire()


def test_a_lock_is_not_inherited(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire()
    ready, say = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(say, b"x")
        time.sleep(30)
        os._exit(0)
    try:
        os.read(ready, 1)
        lock.release()
        assert not is_locked(lock.path)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(say)


def test_a_missing_lock_file_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "nothing")

"""A writer: whole lines, whatever the disk, a fork or a signal does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from multitrack.journal import Journal, JournalWriter, RunFolder, is_locked
from multitrack.records import Metrics, Record, encode
from support.strategies import records as any_record


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "p" / ("0" * 32))
    folder.create()
    return folder


def metrics(i: int) -> Metrics:
    return Metrics(time=i, step=i, values={"a": i})


@settings(max_examples=50)
@given(any_record)
def test_every_record_is_written_as_the_codec_writes_it(tmp_path_factory: pytest.TempPathFactory, record: Record) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("w") / "p" / ("0" * 32))
    folder.create()
    writer = JournalWriter(folder)
    for _ in range(3):
        writer.append(record)
    writer.close()
    lines = folder.records_of(writer.id).read_bytes().splitlines(keepends=True)
    assert lines[1:] == [encode(record, seq) for seq in range(3)]


def test_the_header(folder: RunFolder) -> None:
    writer = JournalWriter(folder)
    header = orjson.loads(folder.records_of(writer.id).read_bytes())
    assert header.items() >= {"kind": "journal", "format": 1, "run": folder.id, "writer": writer.id, "pid": os.getpid()}.items()
    writer.close()


def test_it_lives_until_it_is_closed(folder: RunFolder) -> None:
    writer = JournalWriter(folder)
    assert is_locked(folder.lock_of(writer.id))
    assert Journal(folder).is_alive()
    writer.close()
    writer.close()
    assert not Journal(folder).is_alive()


def test_nothing_is_left_of_a_writer_that_cannot_begin(folder: RunFolder) -> None:
    done = limited(folder, 0, "")
    assert "OSError" in done.stderr
    assert not list(folder.records.iterdir())


def limited(folder: RunFolder, size: int, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process whose files cannot grow beyond `size` bytes: a disk that is full."""
    program = f"""
import resource, signal, sys
from pathlib import Path
from multitrack.journal import JournalWriter, RunFolder
from multitrack.records import Metrics
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY))
writer = JournalWriter(RunFolder(Path({str(folder.path)!r})))
def write(i, text=""):
    writer.append(Metrics(time=i, step=i, values={{"a": text or i}}))
{code}
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("size", [1000, 1001, 1040, 1077])
def test_a_disk_that_fills_up_and_is_cleared(folder: RunFolder, size: int) -> None:
    done = limited(folder, size, f"""
for i in range(100):
    write(i)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 300}, resource.RLIM_INFINITY))
write(100, "x" * 1000)
write(101)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for i in range(102, 110):
    write(i)
print(writer.refused)
writer.close()
    """)  # fmt: skip
    damaged: list[str] = []
    steps = [entry.record.step for entry in Journal(folder).entries(damaged) if isinstance(entry.record, Metrics)]
    assert damaged == []
    assert steps == sorted(steps)
    assert steps[-9:] == list(range(101, 110))
    assert 100 not in steps
    assert len(steps) + int(done.stdout) == 110  # what is not there was counted
    assert done.stderr.count("\n") == 1
    assert "File too large; records are lost until the disk takes them again" in done.stderr


def test_a_line_that_cannot_be_taken_back_spoils_no_other(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(folder)
    writer.append(metrics(0))
    write, failing = os.write, [True]

    def half(fd: int, data: bytes) -> int:
        if failing and b"metrics" in data:
            return write(fd, data[:20])
        if failing and data.startswith(b'"seq"') is False and fd == writer._fd:
            failing.clear()
            raise OSError(28, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", half)
    monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    writer.append(metrics(1))
    monkeypatch.undo()
    writer.append(metrics(2))
    writer.append(metrics(3))
    writer.close()
    damaged: list[str] = []
    assert [entry.record.time for entry in Journal(folder).entries(damaged)] == [0, 2, 3]
    assert writer.refused == 1
    assert len(damaged) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_interrupted_write(folder: RunFolder, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    writer = JournalWriter(folder)
    write = os.write

    def interrupted(fd: int, data: bytes) -> int:
        monkeypatch.undo()
        if when == "after":
            write(fd, data)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.append(metrics(0))
    writer.append(metrics(1))
    writer.close()
    damaged: list[str] = []
    assert [entry.record.time for entry in Journal(folder).entries(damaged)] == ([0, 1] if when == "after" else [1])
    assert damaged == []


def test_an_interruption_that_records_comes_after_the_line_it_interrupted(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(folder)
    write = os.write

    def interrupted(fd: int, data: bytes) -> int:
        monkeypatch.undo()
        writer.append(metrics(1))  # as a signal handler does
        return write(fd, data)

    monkeypatch.setattr(os, "write", interrupted)
    writer.append(metrics(0))
    writer.append(metrics(2))
    writer.close()
    assert [(entry.seq, entry.record.time) for entry in Journal(folder).entries()] == [(0, 0), (1, 1), (2, 2)]


def fields(i: int) -> dict[str, Any]:
    return {"kind": "metrics", "seq": 0, "time": i, "step": i, "values": {"a": i}}


def test_fields_are_written_as_the_codec_writes_them(folder: RunFolder) -> None:
    writer = JournalWriter(folder)
    assert writer.append_fields(fields(7))
    assert not writer.append_fields({**fields(8), "values": {"a": 2**70}})
    assert not writer.append_fields({**fields(8), "values": {"\ud800": 1}})
    writer.append(metrics(9))
    assert writer.append_fields(fields(10))
    writer.close()
    lines = folder.records_of(writer.id).read_bytes().splitlines(keepends=True)
    assert lines[1:] == [encode(metrics(7), 0), encode(metrics(9), 1), encode(metrics(10), 2)]
    with pytest.raises(ValueError, match="has ended"):
        writer.append_fields(fields(11))


def test_fields_from_an_interruption_come_after_the_line_they_interrupted(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(folder)
    write = os.write

    def interrupted(fd: int, data: bytes) -> int:
        monkeypatch.undo()
        assert writer.append_fields(fields(1))  # as a signal handler does
        assert not writer.append_fields({**fields(8), "values": {"a": 2**70}})
        assert writer.append_fields(fields(2))
        return write(fd, data)

    monkeypatch.setattr(os, "write", interrupted)
    writer.append_fields(fields(0))
    writer.append_fields(fields(3))
    writer.close()
    lines = folder.records_of(writer.id).read_bytes().splitlines(keepends=True)
    assert lines[1:] == [encode(metrics(i), i) for i in range(4)]


def test_an_interruption_that_closes(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(folder)

    def interrupted(fd: int, data: bytes) -> int:
        monkeypatch.undo()
        writer.append(metrics(1))
        writer.close()
        raise SystemExit

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(SystemExit):
        writer.append(metrics(0))
    assert [entry.record.time for entry in Journal(folder).entries()] == [1]

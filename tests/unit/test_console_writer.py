"""Lines as records, and what is said where there are too many."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.capture.console.hook import Hook
from multitrack.capture.console.lines import Line
from multitrack.capture.console.writer import BATCH, LineWriter
from multitrack.capture.recorder import Recorder
from multitrack.journal import RunFolder
from multitrack.masking import Mask
from multitrack.records import LogLines, Record

written: list[Record] = []


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    written.clear()
    return Recorder(folder=RunFolder(tmp_path), write=written.append, mask=Mask(["hunter[0-9]"]))


def lines() -> list[tuple[str, str | None, list[str]]]:
    return [(record.stream, record.label, record.lines) for record in written if isinstance(record, LogLines)]


def test_streams_alternate_and_credentials_are_masked(recorder: Recorder) -> None:
    writer = LineWriter(recorder, "rank 3")
    writer.add("stdout", [Line(1, "a"), Line(2, "hunter2")])
    writer.add("stderr", [Line(3, "b")])
    writer.add("stdout", [Line(4, "c")])
    writer.close(5)
    assert lines() == [("stdout", "rank 3", ["a", "***"]), ("stderr", "rank 3", ["b"]), ("stdout", "rank 3", ["c"])]
    assert [record.time for record in written] == [1, 3, 4]


def test_a_batch_has_a_size(recorder: Recorder) -> None:
    writer = LineWriter(recorder, None)
    writer.add("stdout", [Line(number, str(number)) for number in range(2 * BATCH + 1)])
    writer.close(0)
    assert [len(batch) for _, _, batch in lines()] == [BATCH, BATCH, 1]


def test_what_is_beyond_the_limit_is_counted(recorder: Recorder) -> None:
    writer = LineWriter(recorder, None, limit=10)
    writer.add("stdout", [Line(0, "123456"), Line(1, "7890"), Line(2, "x"), Line(3, "y")])
    writer.close(9)
    assert lines() == [("stdout", None, ["123456", "7890", "[not recorded: 2 more lines; the first 10 characters of a run are]"])]


class Ears:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard = ""
        self.dropped = 0

    def take(self, stream: str, time: int, text: str) -> None:
        self.heard += text

    def drop(self, stream: str, time: int, size: int) -> None:
        self.dropped += size

    def flush(self) -> None:
        pass

    def in_child(self) -> None:
        pass

    def state(self) -> dict[str, object]:
        return {}


def test_a_flood_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("multitrack.capture.console.hook.MOST_WAITING", 10)
    monkeypatch.setattr("multitrack.capture.console.hook.FLUSH_INTERVAL", 60.0)
    ears = Ears()
    source = Hook.listen(ears)
    print("123456")
    print("abcdefgh")
    source.leave(ears, 1.0)
    print("behind")
    assert capsys.readouterr().out == "123456\nabcdefgh\nbehind\n"
    assert ears.dropped == 8
    assert ears.heard == "123456\n\n"

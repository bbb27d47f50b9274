"""Printed text folded into lines, and two streams in one place told apart."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console as RichConsole
from rich.progress import Progress
from tqdm import tqdm

from multitrack.capture.console.lines import BAR_INTERVAL, CONTINUED, LONGEST, QUIET, Lines
from multitrack.capture.console.places import Split
from multitrack.capture.console.streams import Separation


def fold(*pieces: str) -> list[str]:
    """Return the lines of a text that comes in these pieces."""
    lines = Lines()
    found = [line for time, piece in enumerate(pieces) for line in lines.feed(piece, time)]
    return [line.text for line in [*found, *lines.close(len(pieces))]]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\n\nb", ["a", "", "b"]),
        ("a  \n\t b\n", ["a  ", "\t b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("10%\r20%\r100%\ndone\n", ["100%", "done"]),
        ("long text\rab\n", ["abng text"]),
        ("bar 50%\r       \rdone\n", ["done"]),
        ("bar 50%\r\x1b[Kdone\n", ["done"]),
        ("bar 50%\x1b[2K\rdone\n", ["done"]),
        ("\x1b[1;31mred\x1b[0m and \x1b[38;5;200mpink\x1b[m\n", ["red and pink"]),
        ("\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x07\n", ["link"]),
        ("\x1b]0;title\x07text\n", ["text"]),
        ("abc\b\bX\n", ["aXc"]),
        ("ding\x07\x00\n", ["ding"]),
        ("one\ntwo\n\x1b[2Athree\n\nfour\n", ["three", "two", "four"]),
        ("\x1b[?1049hvim\nvim\x1b[?1049lback\n", ["back"]),
        ("menu\x1b[2J\x1b[Hmenu again\n", ["menu", "menu again"]),
        ("\u00e9poque \U0001f600 \udcff\n", ["\u00e9poque \U0001f600 \udcff"]),
        ("lone \x1b", ["lone "]),
        ("", []),
    ],
)
def test_lines(text: str, lines: list[str]) -> None:
    assert fold(text) == lines
    assert fold(*text) == lines


@given(st.text(st.sampled_from("ab \n\r\b\x1b[2KAJm;31\t\u00e9"), max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_pieces_make_no_difference(text: str, cuts: list[int]) -> None:
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    assert fold(*(text[a:b] for a, b in pairwise(ends))) == fold(text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20), max_size=30))
def test_plain_lines_are_left_alone(lines: list[str]) -> None:
    assert fold("".join(f"{line}\n" for line in lines)) == lines


def test_a_line_without_an_end_is_cut_and_nothing_is_lost() -> None:
    pieces = fold(*["x" * 10_000] * 20)
    assert [piece.endswith(CONTINUED) for piece in pieces] == [True, True, True, False]
    assert "".join(piece.removesuffix(CONTINUED) for piece in pieces) == "x" * 200_000
    assert all(len(piece) <= LONGEST + len(CONTINUED) for piece in pieces)


def test_a_line_has_the_time_of_its_last_change() -> None:
    lines = Lines(rows=0)
    assert lines.feed("a", 5) == []
    assert lines.feed("b\n", 7) == [(7, "ab")]


def test_lines_are_passed_on_when_nothing_happens_to_them() -> None:
    lines = Lines()
    assert lines.feed("done\nunder way", 0) == []
    assert lines.tick(QUIET - 1) == []
    assert lines.tick(QUIET) == [(0, "done")]
    assert lines.tick(10 * QUIET) == []
    assert lines.close(11 * QUIET) == [(0, "under way")]


def test_a_bar_that_goes_on_leaves_its_state_now_and_then() -> None:
    lines = Lines()
    told = []
    for second in range(1, 100):
        told += lines.feed(f"\rbar {second}", second * 1_000_000)
        told += lines.tick(second * 1_000_000)
    told += lines.close(0)
    assert len(told) == 1 + 98 * 1_000_000 // BAR_INTERVAL
    assert told[-1].text == "bar 99"


def two_bars(file: io.StringIO) -> None:
    with (
        tqdm(total=50, desc="outer", file=file, mininterval=0) as outer,
        tqdm(total=50, desc="inner", file=file, position=1, mininterval=0) as inner,
    ):
        for _ in range(50):
            inner.update()
            outer.update()
        tqdm.write("in between", file=file)


def rich_bars(file: io.StringIO) -> None:
    with Progress(console=RichConsole(file=file, force_terminal=True, width=80)) as progress:
        tasks = [progress.add_task(name, total=50) for name in ("outer", "inner")]
        for _ in range(50):
            for task in tasks:
                progress.advance(task)
            progress.refresh()
        progress.console.print("in between")


@pytest.mark.parametrize("draw", [two_bars, rich_bars])
def test_bars_of_real_libraries_end_as_their_last_state(draw: Callable[[Any], None]) -> None:
    file = io.StringIO()
    draw(file)
    lines = [line for line in fold(file.getvalue()) if line]
    assert [line.split()[0].rstrip(":") for line in lines].count("outer") == 1
    assert [line.split()[0].rstrip(":") for line in lines].count("inner") == 1
    assert sum("100%" in line for line in lines) == 2
    assert "in between" in lines
    assert len(lines) == 3


@pytest.mark.parametrize("text", ["a\nb\nbar 1\rbar 2", "a\nb\n", "", "one\ntwo\x1b[1Athree", "half \x1b[3"])
def test_what_is_pending_makes_the_same_lines(text: str) -> None:
    one, other = Lines(), Lines()
    one.feed(text, 0)
    other.feed(one.pending(), 0)
    assert [line.text for line in other.close(0)] == [line.text for line in one.close(0)]


# -- two streams in one place


def split(separation: Separation, *pieces: bytes) -> list[tuple[str, bytes]]:
    return [part for piece in pieces for part in separation.split(piece)]


def test_what_went_to_standard_error_is_found_again() -> None:
    separation = Separation()
    separation.note(b"error\n")
    separation.note(b"again\n")
    assert split(separation, b"out\nerror\nout\n", b"aga", b"in\nout\n") == [
        ("stdout", b"out\n"),
        ("stderr", b"error\n"),
        ("stdout", b"out\n"),
        ("stderr", b"aga"),
        ("stderr", b"in\n"),
        ("stdout", b"out\n"),
    ]


def test_a_write_that_went_elsewhere_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    separation = Separation()
    separation.note(b"elsewhere\n")
    assert split(separation, b"out\n") == [("stdout", b"out\n")]
    monkeypatch.setattr("multitrack.capture.console.streams._PATIENCE", -1.0)
    separation.note(b"here\n")
    assert split(separation, b"out\n") == [("stdout", b"out\n")]
    monkeypatch.undo()
    separation.note(b"here\n")
    assert split(separation, b"here\n") == [("stderr", b"here\n")]


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=8)), max_size=20), st.integers(1, 7))
def test_no_byte_is_lost_in_separation(writes: list[tuple[str, bytes]], size: int) -> None:
    separation = Separation()
    for stream, data in writes:
        if stream == "stderr":
            separation.note(data)
    printed = b"".join(data for _, data in writes)
    pieces = [printed[start : start + size] for start in range(0, len(printed), size)]
    assert b"".join(data for _, data in split(separation, *pieces)) == printed


def test_characters_cut_in_two_and_bytes_that_are_no_text() -> None:
    place = Split(["stdout"])
    assert [place.text(piece)[0][1] for piece in (b"\xc3", b"\xa9", b"\xff\n")] == ["", "\u00e9", "\udcff\n"]

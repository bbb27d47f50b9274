"""Pure parts: console lines, requirements, time shifts, nested params."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from multitrack_neptune.attributes import Attributes
from multitrack_neptune.console import join, records, whole
from multitrack_neptune.requirements import environment
from multitrack_neptune.times import find_shift, iso, mender


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        (["a\n"], [(0, "a")]),
        (["a", "b", "\n"], [(0, "ab")]),
        (["a\nb", "c\n", "d"], [(0, "a"), (0, "bc"), (2, "d")]),
        (["\n", "\n"], [(0, ""), (1, "")]),
        (["a\n\nb"], [(0, "a"), (0, ""), (0, "b")]),
        (["", "a\n"], [(1, "a")]),
        (["50%\r", "100%\n"], [(0, "50%\r100%")]),
    ],
)
def test_lines_are_put_together(pieces: list[str], lines: list[tuple[int, str]]) -> None:
    assert list(join(enumerate(pieces))) == lines


def test_whole_lines() -> None:
    assert list(whole(enumerate(["a", "", "b\n", "c\nd"]))) == [(0, "a"), (1, ""), (2, "b"), (3, "c"), (3, "d")]


def test_lines_come_in_records_of_a_bounded_size() -> None:
    found = list(records(((time, "x") for time in range(2500)), "stderr", "rank"))
    assert [len(record.lines) for record in found] == [1000, 1000, 500]
    assert (found[1].time, found[1].stream, found[1].label) == (1000, "stderr", "rank")


def test_requirements() -> None:
    text = """
# a comment
numpy==2.1.0
torch==2.4.0+cu121 ; python_version >= "3.8"
uvicorn[standard]==0.30
-e git+https://me:secret@github.com/acme/tool.git@0123456789abcdef0123456789abcdef01234567#egg=tool&subdirectory=py
lib @ git+https://github.com/acme/lib.git@main
wheel @ https://host/wheel-1.0-py3-none-any.whl#sha256=abcd
here @ file:///home/ada/here
pandas>=2
"""
    found = environment(text, None, 0)
    assert found is not None
    pinned = {name: version for name, version in found.packages.items() if version}
    assert pinned == {"numpy": "2.1.0", "torch": "2.4.0+cu121", "uvicorn": "0.30"}
    tool, lib = found.sources["tool"], found.sources["lib"]
    assert (tool.kind, tool.vcs, tool.url, tool.subdirectory) == ("vcs", "git", "https://github.com/acme/tool.git", "py")
    assert tool.commit == "0123456789abcdef0123456789abcdef01234567"
    assert (lib.url, lib.commit, lib.requested) == ("https://github.com/acme/lib.git", None, "main")
    assert (found.sources["wheel"].kind, found.sources["wheel"].digest) == ("archive", "sha256=abcd")
    assert (found.sources["here"].kind, found.sources["here"].url) == ("local", "/home/ada/here")
    assert [omission.name for omission in found.omitted] == ["pandas>=2"]
    assert "secret" not in found.model_dump_json()
    assert environment(None, None, 0) is None
    assert environment("name: conda\nchannels:\n  - x\n", None, 0) is None


def test_an_hour_that_comes_twice_is_the_first() -> None:
    twice = datetime(2025, 10, 26, 2, 30, tzinfo=UTC)  # Warsaw, at 00:30 and at 01:30 UTC
    (mended,) = mender("Europe/Warsaw")([round(twice.timestamp() * 1e6)])
    assert iso(mended) == "2025-10-26T00:30:00+00:00"


@pytest.mark.parametrize("seconds", [0.0, 0.25, -1e9 - 0.000001])
def test_iso_reads_back(seconds: float) -> None:
    time = round(seconds * 1_000_000)
    assert (datetime.fromisoformat(iso(time)) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1) == time


@pytest.mark.parametrize(
    ("first", "expected"),
    [(0, None), (59, None), (-4, None), (-3600 + 2, -4), (-3600 - 6, None), (7200, 8), (7200 + 61, None), (-12600, -14), (900, None)],
)
def test_a_shift_is_a_whole_number_of_quarter_hours(first: int, expected: int | None) -> None:
    assert find_shift(10**15, 10**15 + first * 1_000_000) == expected


def test_a_value_whose_path_is_a_folder_gives_way() -> None:
    values = {("a", "int"): 1, ("a/b", "int"): 2, ("a/b/c", "string"): "x", ("a/b/c", "float"): 0.5, ("a//d", "bool"): True}
    params = Attributes("p", "r", values=values).hyperparameters()
    assert params is not None
    assert params.values == {"a": {"b": {"c": "x", "c:float": 0.5}, "b:int": 2, "": {"d": True}}, "a:int": 1}

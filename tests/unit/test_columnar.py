"""Side files: what is read through them is what the lines say, whatever has happened to either."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.columnar import read_run
from multitrack.journal import FileLock, Journal, RunFolder
from multitrack.records import Histogram, Hyperparameters, Metrics, Points, Record, RunStarted, encode
from multitrack.records.sameness import keys_of
from multitrack.state import RunState, StoredSeries, compare, fold, last_values
from multitrack.view import Series
from support import strategies as our

pa = pytest.importorskip("pyarrow")
RUN = "0" * 32


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is large, and every side file has several parts."""
    for name, value in {
        "multitrack.columnar.WORTH": 1,
        "multitrack.columnar.files.WORTH_OF_WRITER": 1,
        "multitrack.columnar.files._FLUSH": 5,
        "multitrack.columnar.files._GAP": 100,
        "multitrack.columnar.lines.READ": 400,
        "multitrack.columnar.segment._GROUP": 8,
        "multitrack.columnar.segment._FULL": 4,
    }.items():
        monkeypatch.setattr(name, value)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return new_folder(tmp_path)


def new_folder(path: Path) -> RunFolder:
    folder = RunFolder(path / "p" / RUN)
    folder.create()
    return folder


def append(folder: RunFolder, lines: list[Record | bytes], writer: str = "w") -> None:
    """Write records, or bytes that are none, as a writer would."""
    path = folder.records_of(writer)
    if not path.exists():
        path.write_bytes(b'{"kind":"journal","format":1,"run":"%b","writer":"%b","time":1}\n' % (RUN.encode(), writer.encode()))
    with path.open("ab") as file:
        for seq, line in enumerate(lines):
            file.write(line + b"\n" if isinstance(line, bytes) else encode(line, seq))


def side_files(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in (folder.path / "columns").glob("*.parquet"))


def columns_of(state: RunState) -> list[Any]:
    return [
        (name, series.source, len(series), *(keys_of(series.column(part)) for part in ("steps", "times", "values")))
        for name, series in state.metrics.items()
    ]


def check(folder: RunFolder) -> RunState:
    """The run, read through side files and found to be what its records say."""
    expected = fold(Journal(folder).records())
    state = read_run(folder)
    assert columns_of(state) == columns_of(expected)
    for name, series in state.metrics.items():
        steps, times, values = zip(*series.points(), strict=True) if len(series) else ((), (), ())
        assert [keys_of(list(part)) for part in (steps, times, values)] == [
            keys_of(part) for part in (expected.metrics[name].steps, expected.metrics[name].times, expected.metrics[name].values)
        ]
    assert compare(expected, state) == []
    return state


def rows(first: int, last: int) -> list[Record | bytes]:
    return [Metrics(time=i, step=i, values={"a": i / 7, "b": i}) for i in range(first, last)]


STARTED = RunStarted(time=1, id=RUN, project="p")
damage = st.sampled_from([b"", b"{", b'{"kind":"metrics","seq":1,"time":5,"step":1,"val', b'{"kind":"metrics"}', b"\xff", b"[]"])


@given(st.lists(st.tuples(st.sampled_from(["w", "v"]), st.lists(our.records | our.metrics | our.points | damage, max_size=12)), max_size=3))
@our.some
def test_any_run_reads_as_its_lines_say(appended: list[tuple[str, list[Record | bytes]]]) -> None:
    with tempfile.TemporaryDirectory() as path:
        folder = new_folder(Path(path))
        append(folder, [STARTED])
        for writer, lines in appended:
            append(folder, lines, writer)
            state = check(folder)
            assert all(isinstance(series, StoredSeries) for series in state.metrics.values())
            check(folder)  # made the first time, and used the second


def test_what_has_come_since_gets_a_side_file_of_its_own(folder: RunFolder) -> None:
    append(folder, [STARTED, *rows(0, 40)])
    check(folder)
    first = side_files(folder)
    append(folder, [Hyperparameters(time=1, values={"lr": 1}), *rows(40, 80)])
    assert check(folder).params == {"lr": 1}
    assert len(first) == 1
    assert len(side_files(folder)) == 2
    assert set(first) < set(side_files(folder))


def test_what_is_not_worth_it_stays_with_its_lines(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    append(folder, [STARTED, *rows(0, 400)])
    check(folder)
    append(folder, rows(400, 401))  # less than a sixteenth
    assert len(check(folder).metrics["a"]) == 401
    assert len(side_files(folder)) == 1
    monkeypatch.setattr("multitrack.columnar.WORTH", 1 << 20)
    shutil.rmtree(folder.path / "columns")
    check(folder)
    assert not (folder.path / "columns").exists()


def test_a_torn_line_is_read_once_it_is_whole(folder: RunFolder) -> None:
    append(folder, [STARTED, *rows(0, 9)])
    line = encode(Metrics(time=9, step=9, values={"a": 9.5}), 9)
    with folder.records_of("w").open("ab") as file:
        file.write(line[:20])
    assert len(check(folder).metrics["a"]) == 9
    with folder.records_of("w").open("ab") as file:
        file.write(line[20:])
    assert check(folder).metrics["a"].values[-1] == 9.5


def test_a_journal_that_was_replaced_or_cut_is_noticed(folder: RunFolder) -> None:
    append(folder, [STARTED, *rows(0, 40)])
    check(folder)
    path = folder.records_of("w")
    whole = path.read_bytes()
    for other in (whole.replace(b'"step":20', b'"step":21'), whole[: whole.index(b'"step":20')], whole + whole, b""):
        path.write_bytes(other)
        check(folder)
        path.unlink()  # and the same by another file
        path.write_bytes(other)
        check(folder)


def test_a_writer_that_went_takes_its_side_file_along(folder: RunFolder) -> None:
    append(folder, [STARTED, *rows(0, 40)])
    check(folder)
    (gone,) = side_files(folder)
    folder.records_of("w").unlink()
    append(folder, [STARTED, *rows(0, 20)], "v")
    assert len(check(folder).metrics["a"]) == 20
    assert len(side_files(folder)) == 1
    assert gone not in side_files(folder)


def test_a_copy_of_a_store_uses_the_side_files_that_came_along(folder: RunFolder, tmp_path: Path) -> None:
    append(folder, [STARTED, *rows(0, 40)])
    check(folder)
    copied = RunFolder(tmp_path / "q" / RUN)
    shutil.copytree(folder.path, copied.path)
    before = {path.name: path.stat().st_mtime_ns for path in (copied.path / "columns").glob("*.parquet")}
    append(copied, rows(40, 41))
    check(copied)
    assert {path.name: path.stat().st_mtime_ns for path in (copied.path / "columns").glob("*.parquet")} == before


def test_a_damaged_side_file_counts_nothing(folder: RunFolder) -> None:
    append(folder, [STARTED, *rows(0, 20), Metrics(time=1, values={"h": Histogram(edges=[0.0, 1.0], counts=[2]), "t": "x"})])
    check(folder)
    (name,) = side_files(folder)
    path = folder.path / "columns" / name
    whole = path.read_bytes()
    for place in [*range(0, len(whole), max(1, len(whole) // 150)), len(whole) - 1]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        check(folder)
        assert check(folder).id == RUN
    for true, false in (
        (b",[[0,0,", b",[[1,0,"),
        (b'"user",20', b'"user",21'),
        (b'"covers":[0,', b'"covers":[9,'),
    ):  # what it says of itself
        assert true in whole
        path.write_bytes(whole.replace(true, false))
        check(folder)
        assert path.read_bytes() == whole
    for cut in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        check(folder)
    assert side_files(folder) == [name], "what was damaged was made anew"


def test_a_side_file_of_another_version_or_run_counts_nothing(folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(folder, [STARTED, *rows(0, 20)])
    with monkeypatch.context() as patch:
        patch.setattr("multitrack.columnar.segment.VERSION", 99)
        read_run(folder)
    newer = side_files(folder)
    check(folder)
    (name,) = side_files(folder)
    assert [name] != newer

    other = RunFolder(tmp_path / "p" / ("1" * 32))
    shutil.copytree(folder.path, other.path)
    append(other, rows(0, 1))
    check(other)
    assert name not in side_files(other)


def test_a_side_file_that_goes_away_while_it_is_in_use(folder: RunFolder) -> None:
    append(folder, [STARTED, *rows(0, 40)])
    state = read_run(folder)
    points = state.metrics["a"].points()
    shutil.rmtree(folder.path / "columns")
    assert list(points) == [(i, i, i / 7) for i in range(40)]
    assert state.metrics["b"].values == list(range(40))


def test_points_go_on_where_damage_was_met(folder: RunFolder) -> None:
    append(folder, [STARTED, *rows(0, 40)])
    state = read_run(folder)
    (name,) = side_files(folder)
    path = folder.path / "columns" / name
    points = state.metrics["a"].points()
    found = [next(points)]
    with path.open("r+b") as file:  # the file that is being read
        file.seek(path.stat().st_size // 3)
        file.write(b"\0" * (path.stat().st_size // 3))
    assert found + list(points) == [(i, i, i / 7) for i in range(40)]


@pytest.mark.parametrize("why", ["no folder can be made", "somebody else is at it", "no pyarrow"])
def test_without_a_side_file_the_lines_are_read(folder: RunFolder, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    append(folder, [STARTED, *rows(0, 40)])
    columns = folder.path / "columns"
    if why == "no folder can be made":
        columns.write_bytes(b"")
        check(folder)
    elif why == "somebody else is at it":
        columns.mkdir()
        with FileLock(columns / ".lock") as lock:
            assert lock.acquire()
            check(folder)
        assert side_files(folder) == []
    else:
        monkeypatch.setattr("multitrack.columnar.find_spec", lambda _name: None)
        check(folder)
        assert not columns.exists()


def test_a_metric_is_read_without_the_others_and_without_the_lines(folder: RunFolder) -> None:
    append(folder, [STARTED, *rows(0, 40)])
    read_run(folder)
    state = read_run(folder)
    (name,) = side_files(folder)
    os.truncate(folder.records_of("w"), 0)
    assert list(state.metrics) == ["a", "b"]
    assert len(state.metrics["a"]) == 40
    assert state.metrics["a"].column("values") == [i / 7 for i in range(40)]
    assert last_values(state) == {"a": 39 / 7, "b": 39}
    assert side_files(folder) == [name]


def test_what_was_read_by_name_is_kept_and_goes_on(folder: RunFolder) -> None:
    append(folder, [STARTED, *rows(0, 3)])
    series = read_run(folder).metrics["a"]
    assert series == fold(Journal(folder).records()).metrics["a"]
    assert series.values is series.values
    fold([Metrics(time=3, step=3, values={"a": 1.5})], state := RunState(metrics={"a": series}))
    assert len(state.metrics["a"]) == 4
    assert list(series.points())[-1] == (3, 3, 1.5)
    with pytest.raises(AttributeError):
        series.nonsense  # noqa: B018


numbers = st.floats(allow_nan=True) | st.integers(-5, 5) | st.integers(2**62, 2**65)
columns_of_steps = st.sampled_from([st.integers(-9, 9), st.floats(-9, 9), st.none(), st.none() | numbers])
columns_of_values = st.sampled_from([st.integers(-9, 9), st.floats(allow_nan=True), st.booleans(), st.text("ab"), st.booleans() | numbers])


@given(columns_of_steps, columns_of_values, st.data())
@our.some
def test_a_frame_is_the_same_as_by_way_of_lists(steps: Any, values: Any, data: st.DataObject) -> None:
    pd = pytest.importorskip("pandas")
    points = data.draw(st.lists(st.tuples(steps, values), min_size=1, max_size=20))
    column = partial(Points, time=0, name="a", times=[1_700_000_000_000_000 + i for i in range(len(points))])
    with tempfile.TemporaryDirectory() as path:
        folder = new_folder(Path(path))
        append(folder, [STARTED, column(steps=[step for step, _ in points], values=[value for _, value in points])])
        stored = Series("a", read_run(folder).metrics["a"]).to_pandas()
        expected = Series("a", fold(Journal(folder).records()).metrics["a"]).to_pandas()
    pd.testing.assert_frame_equal(stored, expected)

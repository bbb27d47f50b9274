"""`run.log_data`: what it writes, what it refuses, and that nothing else ever reaches the training."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from multitrack.data import read_files, record
from multitrack.journal import Journal, RunFolder
from multitrack.records import DataFile, DataVersion, Omission
from multitrack.run import Run
from multitrack.state import RunState, fold


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "project" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(record, "_told", set())
    folder = RunFolder(tmp_path / "store" / "p" / ("0" * 32))
    folder.create()
    run = Run(folder, "p", None)
    yield run
    run.finish()


def state(run: Run) -> RunState:
    return fold(Journal(RunFolder(run.dir)).records())


def logged(run: Run) -> DataVersion:
    [found] = state(run).data.values()
    return found


def test_a_file(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.csv").write_text("x\n1\n")
    run.log_data("digits", "train.csv", role="train", rows=1, schema={"x": "int"})
    found = logged(run)
    assert (found.digest, found.algorithm, found.size) == (hashlib.sha256(b"x\n1\n").hexdigest(), "sha256", 4)
    assert (found.path, found.uri, found.rows, found.data_schema) == ("train.csv", Path("train.csv").absolute().as_uri(), 1, {"x": "int"})
    assert capsys.readouterr().err == ""


def test_a_changed_file_is_another_version(run: Run) -> None:
    for content in ("one", "other", "one"):
        Path("train.csv").write_text(content)
        run.log_data("digits", "train.csv", role="train")
    assert len(state(run).data) == 2


def test_a_place_in_the_project_from_a_folder_below_and_one_outside(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data").mkdir()
    Path("data/x").write_text("x")
    (tmp_path / "outside").write_text("x")
    monkeypatch.chdir("data")
    run.log_data("in", "x")
    run.log_data("out", "../../outside")
    assert [one.path for one in state(run).data.values()] == ["data/x", None]


def test_many_files_are_listed_in_a_file_of_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MOST_FILES", 3)
    Path("data").mkdir()
    for number in range(4):
        Path(f"data/{number}").write_text(str(number))
    run.log_data("../my data", "data")
    found = logged(run)
    assert found.files == []
    assert found.file_list is not None
    artifact = state(run).artifacts[found.file_list.name]
    assert found.file_list.name == f"data/my_data-{(found.digest or '')[:8]}.files.jsonl"
    listed = read_files(RunFolder(run.dir).content(artifact.sha256 or "").read_bytes())
    assert listed == [DataFile(path=str(n), size=1, digest=hashlib.sha256(str(n).encode()).hexdigest()) for n in range(4)]


def test_what_is_given_counts_for_more(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("train.csv").write_text("x")
    run.log_data("digits", "train.csv", digest="mine", algorithm="crc", uri="s3://b/k", rows=3)
    found = logged(run)
    assert (found.digest, found.algorithm, found.uri, found.rows, found.size) == ("mine", "crc", "s3://b/k", 3, 1)


def test_words_alone(run: Run) -> None:
    run.log_data("web", uri="https://example.com/x", digest="abc", algorithm="etag")
    assert (logged(run).uri, logged(run).digest) == ("https://example.com/x", "abc")


def test_a_given_uri_loses_its_credentials(run: Run) -> None:
    run.log_data("web", uri="https://ann:hunter2secret@example.com/x?sig=abcdefgh", digest="abc")
    assert logged(run).uri == "https://example.com/x"


def test_a_table(run: Run) -> None:
    run.log_data("table", pd.DataFrame({"x": [1, 2]}), role="train")
    found = logged(run)
    assert (found.rows, found.algorithm, [column.name for column in found.columns]) == (2, "sha256-table", ["x"])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("d", "none.csv"), FileNotFoundError),
        (("d", "none/*.csv"), FileNotFoundError),
        (("d", 3), TypeError),
        ((3, "train.csv"), TypeError),
        (("d", object()), TypeError),
    ],
)
def test_wrong_arguments_raise_and_nothing_is_written(run: Run, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    Path("train.csv").write_text("x")
    with pytest.raises(error):
        run.log_data(*arguments)
    assert not list(Journal(RunFolder(run.dir)).records())


def test_a_wrong_row_count_is_said_before_anything_is_read(run: Run) -> None:
    Path("train.csv").write_text("x")
    with pytest.raises(TypeError, match="rows"):
        run.log_data("d", "train.csv", rows="many")  # type: ignore[arg-type]
    assert not list(Journal(RunFolder(run.dir)).records())


def test_what_fails_later_is_recorded_and_said_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        run.log_data("d", "nosuch://bucket/key", role="train")
    found = logged(run)
    assert (found.digest, found.uri, found.role) == (None, "nosuch://bucket/key", "train")
    assert [one.name for one in found.omitted] == ["digest"]
    assert "nosuch" in state(run).failures["data d"]
    assert capsys.readouterr().err.count("data set 'd' is not recorded in full") == 1


def test_a_library_that_breaks_is_no_end_of_training(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(pd.DataFrame):
        @property
        def iloc(self) -> Any:
            raise RuntimeError("broken")

    run.log_data("d", Broken({"x": [1]}))
    assert logged(run).omitted == [Omission(name="digest", reason="RuntimeError: broken")]


def test_a_run_that_records_nothing_reads_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    run = Run(None, "p", None, id="0" * 32)
    run.log_data("d", tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        run.log_data("d", tmp_path / "none")
    run.finish()


def test_a_full_disk_loses_the_list_and_not_the_record(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from multitrack.capture.recorder import Recorder

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "MOST_FILES", 0)
    monkeypatch.setattr(Recorder, "keep", refuse)
    Path("data").mkdir()
    Path("data/x").write_text("x")
    run.log_data("d", "data")
    assert logged(run).digest is not None
    assert [(one.name, one.reason) for one in logged(run).omitted] == [("files", "No space left on device")]

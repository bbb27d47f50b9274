"""Whether data is as it was recorded, wherever it lies now."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from multitrack.data import find_data, verify_data
from multitrack.data.describe import find
from multitrack.data.found import Found, Inquiry
from multitrack.data.record import combine
from multitrack.records import DataFile, DataVersion


def recorded(data: Any, root: Path, **options: Any) -> DataVersion:
    return combine(DataVersion(time=0, name="d", role="train"), find(data)(Inquiry(root=root, **options)))


def lines(record: DataVersion, *roots: Path, **options: Any) -> list[str]:
    return [str(one) for one in verify_data(record, roots, **options)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("data/a.csv", "data/sub/b.csv", "data/c.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_the_same(project: Path) -> None:
    for data in (project / "data", project / "data" / "a.csv", str(project / "data" / "*.csv"), [project / "data" / "a.csv"]):
        assert lines(recorded(data, project)) == []


def test_what_changed_in_a_folder(project: Path) -> None:
    record = recorded(project / "data", project)
    (project / "data" / "a.csv").write_text("edited")
    (project / "data" / "c.txt").unlink()
    (project / "data" / "new").write_text("x")
    found = {(one.what, one.name, one.change) for one in verify_data(record)}
    assert found == {("file", "a.csv", "changed"), ("file", "c.txt", "removed"), ("file", "new", "added")}


def test_a_file(project: Path) -> None:
    record = recorded(project / "data" / "a.csv", project)
    (project / "data" / "a.csv").write_text("edited")
    was, now = (hashlib.sha256(text).hexdigest()[:12] for text in (b"data/a.csv", b"edited"))
    assert lines(record) == [f"d (train) is changed: {was} before, {now} now"]


def test_beside_a_selection_anything_may_lie(project: Path) -> None:
    pattern = recorded(str(project / "data" / "*.csv"), project)
    several = recorded([project / "data" / "a.csv", project / "data" / "c.txt"], project)
    (project / "data" / "new.txt").write_text("x")
    assert lines(pattern) == lines(several) == []
    (project / "data" / "new.csv").write_text("x")
    assert lines(pattern) == ["d (train): file 'new.csv' is added"]
    assert lines(several) == []
    (project / "data" / "c.txt").unlink()
    assert lines(several) == ["d (train): file 'c.txt' is removed"]


@pytest.mark.parametrize("place", ["data", "data/a.csv", "data/*.csv"])
def test_it_is_looked_for_where_it_was_then_below_the_roots(project: Path, tmp_path: Path, place: str) -> None:
    record = recorded(str(project / place), project)
    assert (find_data(record) or Path()).is_relative_to(project)
    moved = tmp_path / "elsewhere"
    shutil.move(project, moved)
    assert find_data(record) is None
    assert lines(record)[0].startswith("d (train) is missing: looked for at ")
    assert lines(record, moved) == []
    assert lines(record, tmp_path / "nowhere", moved) == []


def test_it_is_looked_for_by_its_name(project: Path, tmp_path: Path) -> None:
    record = recorded(project / "data", project)
    shutil.move(project / "data", tmp_path / "data")
    assert lines(record, tmp_path) == []
    assert lines(record, tmp_path / "data") == []


def test_what_is_the_same_counts_for_more_than_what_is_first(project: Path, tmp_path: Path) -> None:
    record = recorded(project / "data", project)
    shutil.copytree(project, tmp_path / "copy")
    (project / "data" / "a.csv").write_text("edited")
    assert lines(record, tmp_path / "copy") == []


def test_an_empty_folder_in_its_place(project: Path) -> None:
    record = recorded(project / "data", project)
    shutil.rmtree(project / "data")
    (project / "data").mkdir()
    assert "is missing" in lines(record)[0]


def test_files_that_the_run_lists_elsewhere(project: Path) -> None:
    record = recorded(project / "data", project)
    files, bare = record.files, record.model_copy(update={"files": []})
    assert lines(bare) == []
    (project / "data" / "a.csv").write_text("edited")
    assert [one.name for one in verify_data(bare, files=files)] == ["a.csv"]
    assert [one.what for one in verify_data(bare)] == ["data"]


def test_names_and_sizes(project: Path) -> None:
    record = recorded(project / "data", project, read=False)
    (project / "data" / "a.csv").write_text("DATA/A.CSV")
    assert lines(record) == []
    (project / "data" / "a.csv").write_text("longer than it was")
    assert lines(record) == ["d (train): file 'a.csv' is changed: 10 bytes before, 18 bytes now"]


def test_what_dvc_recorded(project: Path) -> None:
    content = (project / "data" / "a.csv").read_bytes()
    (project / "data" / "a.csv.dvc").write_text(f"outs:\n- md5: {hashlib.md5(content).hexdigest()}\n  hash: md5\n  path: a.csv\n")
    (project / "data" / "a.csv").unlink()
    record = recorded(project / "data" / "a.csv", project)
    assert "is missing" in lines(record)[0]
    (project / "data" / "a.csv").write_bytes(content)
    assert lines(record) == []
    (project / "data" / "a.csv").write_bytes(b"edited")
    assert "is changed" in lines(record)[0]


def test_a_pointer_is_not_the_file(project: Path) -> None:
    record = recorded(project / "data" / "a.csv", project)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{record.digest}\nsize {record.size}\n"
    (project / "data" / "a.csv").write_text(pointer)
    assert lines(record) == ["d (train): file '.' is missing: only its Git LFS pointer is here: `git lfs pull` fetches the file"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (combine(DataVersion(time=0, name="d"), find(pd.DataFrame({"x": [1]}))(Inquiry())), "it was in memory"),
        (DataVersion(time=0, name="d", uri="s3://b/k", digest="a", algorithm="etag"), "it lies at s3://b/k"),
        (DataVersion(time=0, name="d", uri="s3://b/k"), "no digest was recorded"),
        (DataVersion(time=0, name="d", uri="/x", digest="a", algorithm="crc"), "of the kind crc"),
        (DataVersion(time=0, name="d", uri="/x", path="../../etc", digest="a", algorithm="sha256"), "leads out of the project"),
    ],
)
def test_what_cannot_be_checked(record: DataVersion, reason: str) -> None:
    [found] = verify_data(record, [Path.cwd()])
    assert found.change == "unknown"
    assert reason in str(found)


def test_a_record_of_an_older_version_has_no_files() -> None:
    assert combine(DataVersion(time=0, name="d"), Found()).files == []
    assert DataFile(path="a", size=1).digest is None

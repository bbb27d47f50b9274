"""Data that DVC or Git LFS tracks, here or not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from multitrack.data.describe import find
from multitrack.data.dvc import folder_digest
from multitrack.data.found import Entry, Found, Inquiry

CONTENT = b"x,y\n1,2\n"
MD5 = hashlib.md5(CONTENT).hexdigest()


def describe(data: object, root: Path) -> Found:
    return find(data)(Inquiry(root=root))


@pytest.fixture
def tracked(tmp_path: Path) -> Path:
    """A file as `dvc add data/x.csv` leaves it behind, in DVC 3."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "x.csv").write_bytes(CONTENT)
    (folder / "x.csv.dvc").write_text(f"outs:\n- md5: {MD5}\n  size: {len(CONTENT)}\n  hash: md5\n  path: x.csv\n")
    return folder / "x.csv"


@pytest.mark.parametrize("suffix", ["", ".dvc"])
def test_data_that_is_here(tracked: Path, suffix: str) -> None:
    found = describe(f"{tracked}{suffix}", tracked.parent.parent)
    assert (found.digest, found.algorithm, found.version) == (hashlib.sha256(CONTENT).hexdigest(), "sha256", f"md5:{MD5}")
    assert (found.path, found.omitted) == ("data/x.csv", [])


@pytest.mark.parametrize("suffix", ["", ".dvc"])
def test_data_that_is_not_here(tracked: Path, suffix: str) -> None:
    tracked.unlink()
    found = describe(f"{tracked}{suffix}", tracked.parent.parent)
    assert (found.digest, found.algorithm, found.version, found.size) == (MD5, "md5", f"md5:{MD5}", len(CONTENT))
    assert (found.path, found.uri) == ("data/x.csv", tracked.as_uri())
    assert [(one.name, one.reason) for one in found.omitted] == [("content", "the data is not here: `dvc pull` fetches it")]


def test_data_that_was_changed_since(tracked: Path) -> None:
    tracked.write_bytes(b"x,y\n1,3\n")
    found = describe(tracked, tracked.parent)
    assert found.version is None
    assert found.digest == hashlib.sha256(b"x,y\n1,3\n").hexdigest()
    assert [(one.name, one.reason) for one in found.omitted] == [("version", f"DVC has md5:{MD5}, and the data was changed since")]


def test_a_folder_has_the_digest_that_dvc_gives_it(tmp_path: Path) -> None:
    listed = [{"md5": MD5, "relpath": "a.csv"}, {"md5": MD5, "relpath": "sub/b.csv"}]
    digest = hashlib.md5(json.dumps(listed).encode()).hexdigest() + ".dir"
    for name in ("sub/b.csv", "a.csv"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(CONTENT)
    (tmp_path / "d.dvc").write_text(f"outs:\n- md5: {digest}\n  nfiles: 2\n  hash: md5\n  path: d\n")
    assert describe(tmp_path / "d", tmp_path).version == f"md5:{digest}"
    assert folder_digest([Entry("sub/b.csv", 8, MD5), Entry("a.csv", 8, MD5)]) == digest


def test_a_folder_that_dvc_itself_recorded(tmp_path: Path) -> None:
    """What `dvc add d` of DVC 3.67.1 wrote for these files."""
    for name, content in {"a.csv": "x,y\n1,2\n", "sub/é b.csv": "z", "Z": "q"}.items():
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text(content)
    digest = "420c08b4953932e4a6a33acd43f0aebe.dir"
    (tmp_path / "d.dvc").write_text(f"outs:\n- md5: {digest}\n  size: 10\n  nfiles: 3\n  hash: md5\n  path: d\n")
    found = describe(tmp_path / "d", tmp_path)
    assert (found.version, found.omitted) == (f"md5:{digest}", [])


LOCK = """
schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py --in raw.csv
      --out out/train.csv
    deps:
    - path: raw.csv
      hash: md5
      md5: 11111111111111111111111111111111
      size: 3
    outs:
    - path: out/train.csv
      hash: md5
      md5: 22222222222222222222222222222222
      size: 5
"""


def test_the_output_of_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / ".dvc").mkdir()
    found = describe(tmp_path / "out" / "train.csv", tmp_path)
    assert (found.digest, found.algorithm, found.size, found.path) == ("2" * 32, "md5", 5, "out/train.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError):
        find("raw.csv")  # what a stage reads is not what DVC keeps


def test_what_older_versions_recorded_is_told_apart(tracked: Path) -> None:
    tracked.with_name("x.csv.dvc").write_text(f"outs:\n- md5: {'3' * 32}\n  path: x.csv\n")
    assert describe(tracked, tracked.parent).version == "md5:" + "3" * 32
    tracked.unlink()
    assert describe(tracked, tracked.parent).algorithm == "md5-dos2unix"


def test_a_broken_file_of_dvcs_does_no_harm(tracked: Path) -> None:
    tracked.with_name("x.csv.dvc").write_text("outs: [")
    found = describe(tracked, tracked.parent)
    assert found.digest == hashlib.sha256(CONTENT).hexdigest()
    assert [one.name for one in found.omitted] == ["version"]


# -- Git LFS

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(CONTENT).hexdigest()}\nsize {len(CONTENT)}\n".encode()


def test_a_pointer_has_the_digest_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(POINTER)
    found = describe(tmp_path / "x.csv", tmp_path)
    assert (found.digest, found.algorithm, found.size) == (hashlib.sha256(CONTENT).hexdigest(), "sha256", len(CONTENT))
    assert [one.reason for one in found.omitted] == ["only its Git LFS pointer is here: `git lfs pull` fetches the file"]
    assert found.failure is None


def test_a_folder_has_one_digest_before_and_after_they_are_fetched(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.csv").write_bytes(POINTER)
    (tmp_path / "d" / "y.csv").write_bytes(b"y")
    before = describe(tmp_path / "d", tmp_path)
    (tmp_path / "d" / "x.csv").write_bytes(CONTENT)
    after = describe(tmp_path / "d", tmp_path)
    assert before.digest == after.digest
    assert [one.name for one in before.omitted] == ["x.csv"]
    assert after.omitted == []


@pytest.mark.parametrize(
    "content", [POINTER[:60], POINTER + b"x" * 1024, b"oid sha256:00\nsize 1\n", POINTER.replace(b"size 8", b"size x")]
)
def test_what_only_looks_like_a_pointer(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert describe(tmp_path / "x", tmp_path).digest == hashlib.sha256(content).hexdigest()

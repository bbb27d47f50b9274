"""The contents of artifacts."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from multitrack.journal import store_file
from multitrack.journal.blobs import hash_file, list_files


@pytest.mark.parametrize("content", [b"", b"x", b"x" * (1 << 20), b"y" * ((1 << 20) + 1)], ids=["0", "1", "1 MiB", "more"])
def test_contents_lie_under_their_hash(tmp_path: Path, content: bytes) -> None:
    source, folder = tmp_path / "source", tmp_path / "blobs"
    folder.mkdir()
    source.write_bytes(content)
    sha256, size = store_file(source, folder)
    assert (sha256, size) == (hashlib.sha256(content).hexdigest(), len(content)) == hash_file(source)
    assert (folder / sha256).read_bytes() == content
    assert not (folder / sha256).stat().st_mode & 0o222
    assert source.exists()


def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    folder.mkdir()
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
        store_file(tmp_path / name, folder, move=name == "b")
    assert len(list(folder.iterdir())) == 1
    assert not (tmp_path / "b").exists()


def test_nothing_is_left_of_a_copy_that_fails(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        store_file(Path("/proc/self/mem"), tmp_path)
    with pytest.raises(FileNotFoundError):
        store_file(tmp_path / "nothing", tmp_path)
    assert not list(tmp_path.iterdir())


def test_many_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    folder.mkdir()
    for i in range(8):
        (tmp_path / str(i)).write_bytes(b"same" if i % 2 else str(i).encode())
    threads = [threading.Thread(target=store_file, args=(tmp_path / str(i), folder)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(hash_file(path)[0] == path.name for path in folder.iterdir())
    assert len(list(folder.iterdir())) == 5


def test_folders_are_listed_with_names_relative_to_them(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("b/c/2", "b/1", "a"):
        (tmp_path / name).write_text(name)
    assert [name for _, name in list_files(tmp_path)] == ["a", "b/1", "b/c/2"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no file"):
        list_files(tmp_path / "empty")

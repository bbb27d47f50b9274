"""The cache of hashes: it saves reading, and never says what is not so."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from multitrack.data import hashing
from multitrack.data.cache import HashCache, Stamp, cache_folder
from multitrack.data.describe import find
from multitrack.data.found import Inquiry

CONTENT = b"x" * 5000


@pytest.fixture
def inquiry(cache_home: Path, tmp_path: Path) -> Inquiry:
    """Keeps the hashes of files that changed just now as well."""
    return Inquiry(root=tmp_path, cache=HashCache(cache_home / "hashes.sqlite", settled=-5))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are really read."""
    names: list[str] = []
    read = hashing._Reader._read

    def note(self, file, stamp):
        names.append(Path(file.file).name)
        return read(self, file, stamp)

    monkeypatch.setattr(hashing._Reader, "_read", note)
    return names


def test_a_file_is_read_once(tmp_path: Path, inquiry: Inquiry, reads: list[str]) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    one, other = find(tmp_path / "x")(inquiry), find(tmp_path / "x")(inquiry)
    assert one == other
    assert reads == ["x"]


def test_a_changed_file_is_read_again_even_with_its_old_time_and_size(tmp_path: Path, inquiry: Inquiry, reads: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    one = find(path)(inquiry)
    status = path.stat()
    while path.stat().st_ctime_ns == status.st_ctime_ns:  # the clock of the file system is coarse
        path.write_bytes(b"y" * 5000)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    other = find(path)(inquiry)
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert one.digest != other.digest
    assert reads == ["x", "x"]


def test_another_file_of_the_same_name_is_read(tmp_path: Path, inquiry: Inquiry, reads: list[str]) -> None:
    (tmp_path / "x").write_bytes(CONTENT)
    find(tmp_path / "x")(inquiry)
    (tmp_path / "new").write_bytes(b"y" * 5000)
    (tmp_path / "new").replace(tmp_path / "x")
    find(tmp_path / "x")(inquiry)
    assert reads == ["x", "x"]


def test_a_file_that_changed_just_now_is_not_kept(tmp_path: Path, inquiry: Inquiry, reads: list[str], cache_home: Path) -> None:
    racy = replace(inquiry, cache=HashCache(cache_home / "racy.sqlite"))
    (tmp_path / "x").write_bytes(CONTENT)
    os.utime(tmp_path / "x", (1, 1))  # an old time says nothing
    find(tmp_path / "x")(racy)
    find(tmp_path / "x")(racy)
    assert reads == ["x", "x"]


def test_each_algorithm_has_its_own(tmp_path: Path, inquiry: Inquiry) -> None:
    stamp = Stamp("/x", 5000, 0, 0, 1)
    inquiry.cache.keep({stamp: "one"}, "sha256")
    inquiry.cache.keep({stamp: "other"}, "md5")
    assert (inquiry.cache.find([stamp], "sha256"), inquiry.cache.find([stamp], "md5")) == ({stamp: "one"}, {stamp: "other"})
    assert inquiry.cache.find([stamp._replace(inode=2)], "sha256") == {}


def test_many_at_once(inquiry: Inquiry) -> None:
    stamps = {Stamp(f"/{number}", 5000, 0, 0, 2**63 + number): str(number) for number in range(1234)}
    inquiry.cache.keep(stamps, "sha256")
    assert inquiry.cache.find(list(stamps), "sha256") == stamps


def test_what_was_of_no_use_for_long_goes(inquiry: Inquiry, cache_home: Path) -> None:
    old, new = Stamp("/old", 5000, 0, 0, 1), Stamp("/new", 5000, 0, 0, 2)
    inquiry.cache.keep({old: "a"}, "sha256")
    with sqlite3.connect(cache_home / "hashes.sqlite") as base:
        base.execute("UPDATE hashes SET used = used - 400")
    base.close()
    inquiry.cache.keep({new: "b"}, "sha256")
    assert inquiry.cache.find([old, new], "sha256") == {new: "b"}


@pytest.mark.parametrize("content", [b"this is no database" * 100, b""])
def test_a_broken_cache_does_no_harm(tmp_path: Path, inquiry: Inquiry, cache_home: Path, content: bytes, reads: list[str]) -> None:
    (cache_home / "hashes.sqlite").write_bytes(content)
    (tmp_path / "x").write_bytes(CONTENT)
    for _ in range(3):
        assert find(tmp_path / "x")(inquiry).failure is None
    assert len(reads) < 3  # it was replaced


def test_no_place_for_a_cache_does_no_harm(tmp_path: Path, inquiry: Inquiry) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    nowhere = replace(inquiry, cache=HashCache(tmp_path / "file" / "hashes.sqlite"))
    assert find(tmp_path / "file")(nowhere).failure is None


def test_processes_share_it(tmp_path: Path, cache_home: Path) -> None:
    program = (
        "import sys; from multitrack.data.cache import HashCache, Stamp; who = int(sys.argv[1])\n"
        "for n in range(20): HashCache(settled=-5).keep({Stamp(f'/{who}/{n}', 1, 0, 0, n): 'd'}, 'sha256')"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(who)], stderr=subprocess.PIPE) for who in range(3)]
    assert [process.communicate(timeout=60)[1] for process in running] == [b"", b"", b""]
    stamps = [Stamp(f"/{who}/{n}", 1, 0, 0, n) for who in range(3) for n in range(20)]
    assert len(HashCache().find(stamps, "sha256")) == 60
    assert cache_folder() == cache_home / "multitrack"
    assert cache_folder().stat().st_mode & 0o077 == 0

"""Files, folders and patterns: what their digest depends on, and what it does not."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from multitrack.data import hashing
from multitrack.data.describe import find
from multitrack.data.files import LEFT_OUT
from multitrack.data.found import Found, Inquiry
from multitrack.data.progress import ReadingProgress

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


FILES = {"a.csv": b"1,2\n", "sub/b.csv": b"3,4\n" * 1000, "sub/é.bin": bytes(range(256)) * 9}


def by_hand(files: dict[str, bytes]) -> str:
    """The rule as the documentation tells it."""
    lines = [
        f"{hashlib.sha256(content).hexdigest()} {len(content)} {name}\0".encode()
        for name, content in sorted(files.items(), key=lambda item: item[0].encode())
    ]
    return hashlib.sha256(b"".join(lines)).hexdigest()


def test_a_file_has_the_digest_that_everybody_knows(tmp_path: Path, inquiry: Inquiry) -> None:
    content = random.Random(1).randbytes(3_000_001)
    (tmp_path / "x.bin").write_bytes(content)
    found = find(tmp_path / "x.bin")(inquiry)
    assert (found.digest, found.algorithm) == (hashlib.sha256(content).hexdigest(), "sha256")
    assert (found.size, found.files, found.path, found.source_type) == (3_000_001, (), "x.bin", "local")
    assert found.uri == (tmp_path / "x.bin").as_uri()
    assert find((tmp_path / "x.bin").as_uri())(inquiry) == found


def test_a_folder_has_the_digest_that_the_rule_says(tmp_path: Path, inquiry: Inquiry) -> None:
    found = find(str(write(tmp_path / "d", FILES)))(inquiry)
    assert (found.digest, found.algorithm) == (by_hand(FILES), "sha256-tree")
    assert [(file.path, file.size) for file in found.files] == [("a.csv", 4), ("sub/b.csv", 4000), ("sub/é.bin", 2304)]
    assert found.size == 6308


def test_neither_order_nor_times_nor_place_nor_empty_folders_count(tmp_path: Path, inquiry: Inquiry) -> None:
    one = find(write(tmp_path / "one", FILES))(inquiry)
    other = write(tmp_path / "far" / "other", dict(reversed(FILES.items())))
    os.utime(other / "a.csv", (1, 1))
    (other / "a.csv").chmod(0o600)
    (other / "empty").mkdir()
    assert find(other)(inquiry).digest == one.digest


@pytest.mark.parametrize(
    "changed",
    [
        {**FILES, "a.csv": b"1,3\n"},
        {name: content for name, content in FILES.items() if name != "a.csv"},
        {**FILES, "more": b""},
        {"b.csv" if name == "a.csv" else name: content for name, content in FILES.items()},
    ],
    ids=["content", "removed", "added", "renamed"],
)
def test_content_and_names_count(tmp_path: Path, inquiry: Inquiry, changed: dict[str, bytes]) -> None:
    assert find(write(tmp_path / "d", changed))(inquiry).digest == by_hand(changed) != by_hand(FILES)


def test_a_pattern_is_its_matches(tmp_path: Path, inquiry: Inquiry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, FILES))
    assert [file.path for file in find("**/*.csv")(inquiry).files] == ["a.csv", "sub/b.csv"]
    found = find("sub/*.csv")(inquiry)
    assert ([file.path for file in found.files], found.path, found.selected) == (["b.csv"], "sub", ("*.csv",))
    (tmp_path / "odd[1].csv").write_bytes(b"x")
    assert find("odd[1].csv")(inquiry).algorithm == "sha256"  # what exists is no pattern


def test_a_list_is_one_data_set(tmp_path: Path, inquiry: Inquiry) -> None:
    write(tmp_path, FILES)
    found = find([tmp_path / "sub" / "b.csv", str(tmp_path / "a.csv")])(inquiry)
    assert [file.path for file in found.files] == ["a.csv", "sub/b.csv"]
    assert found.digest == by_hand({name: FILES[name] for name in ("a.csv", "sub/b.csv")})
    assert found.selected == ("sub/b.csv", "a.csv")


@pytest.mark.parametrize("place", ["none.csv", "none/*.csv", "", "empty", ["a.csv", "none"], []])
def test_what_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: object) -> None:
    monkeypatch.chdir(write(tmp_path, FILES))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError):
        find(place)


def test_links_are_followed_and_those_that_lead_nowhere_are_named(tmp_path: Path, inquiry: Inquiry) -> None:
    folder = write(tmp_path / "d", FILES)
    (folder / "link.csv").symlink_to("a.csv")
    (folder / "sub" / "loop").symlink_to("..")
    (folder / "broken").symlink_to("nowhere")
    found = find(folder)(inquiry)
    assert found.digest == by_hand({**FILES, "link.csv": FILES["a.csv"]})
    assert {one.name: one.reason for one in found.omitted} == {
        "broken": "a link that leads nowhere: nowhere",
        "sub/loop": "a link that leads back to a folder that it lies in",
    }


def test_what_is_no_data_is_left_out_and_named(tmp_path: Path, inquiry: Inquiry) -> None:
    folder = write(tmp_path / "d", {**FILES, ".git/config": b"x", "sub/.DS_Store": b"x"})
    found = find(folder)(inquiry)
    assert found.digest == by_hand(FILES)
    assert {one.name for one in found.omitted} == {".git", "sub/.DS_Store"}
    assert {".git", ".DS_Store"} < LEFT_OUT


@pytest.mark.skipif(AS_ROOT, reason="nothing is forbidden to root")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, inquiry: Inquiry) -> None:
    folder = write(tmp_path / "d", FILES)
    (folder / "a.csv").chmod(0)
    found = find(folder)(inquiry)
    assert [(one.name, one.reason) for one in found.omitted] == [("a.csv", "Permission denied")]
    assert found.failure == "1 of 3 files, the first is a.csv: Permission denied"


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path: Path, inquiry: Inquiry, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "d", FILES)
    look = os.scandir

    def refuse(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find(folder)(inquiry)
    assert found.failure == "the folder sub: Permission denied"
    assert [one.name for one in found.omitted] == ["sub"]
    assert found.digest == by_hand({"a.csv": FILES["a.csv"]})


def test_a_file_that_goes_before_it_is_read_is_named(tmp_path: Path, inquiry: Inquiry) -> None:
    folder = write(tmp_path / "d", FILES)
    describe = find(folder)
    (folder / "a.csv").unlink()
    found = describe(inquiry)
    assert found.failure == "1 of 3 files, the first is a.csv: No such file or directory"
    gone = b"- 0 a.csv\0"
    rest = b"".join(
        f"{hashlib.sha256(FILES[name]).hexdigest()} {len(FILES[name])} {name}\0".encode() for name in ("sub/b.csv", "sub/é.bin")
    )
    assert found.digest == hashlib.sha256(gone + rest).hexdigest()


def test_without_reading_names_and_sizes_are_left(tmp_path: Path, inquiry: Inquiry) -> None:
    folder = write(tmp_path / "d", FILES)
    one = find(folder)(replace(inquiry, read=False))
    (folder / "a.csv").write_bytes(b"9,9\n")
    same_size = find(folder)(replace(inquiry, read=False))
    (folder / "a.csv").write_bytes(b"longer\n")
    other = find(folder)(replace(inquiry, read=False))
    assert one.algorithm == "names-and-sizes"
    assert one.digest == same_size.digest != other.digest


def test_a_name_that_is_no_utf_8(tmp_path: Path, inquiry: Inquiry) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"\xff.csv")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert find(folder)(inquiry).files[0].path == os.fsdecode(b"\xff.csv")


# -- while somebody writes


class Writing:
    """Changes a file while it is read: after each of the first `times` pieces of it."""

    def __init__(self, path: Path, times: int) -> None:
        self.path, self.left = path, times

    def expect(self, size: int) -> None: ...

    def advance(self, size: int) -> None:
        if self.left:
            self.left -= 1
            with self.path.open("ab") as file:
                file.write(b"more")

    def stop(self) -> None: ...

    def close(self) -> None: ...


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, inquiry: Inquiry) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0" * 5000)
    found = find(path)(replace(inquiry, progress=Writing(path, 1)))  # type: ignore[arg-type]
    assert found.failure is None
    assert found.digest == hashlib.sha256(b"0" * 5000 + b"more").hexdigest()


def test_a_file_that_goes_on_changing_is_told(tmp_path: Path, inquiry: Inquiry) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0" * 5000)
    found = find(path)(replace(inquiry, progress=Writing(path, 10**6)))  # type: ignore[arg-type]
    assert "changed while it was read" in (found.failure or "")
    assert found.digest is not None
    assert [one.name for one in found.omitted] == ["."]


# -- size


def test_a_large_sparse_file_takes_little_memory(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(1 << 28)
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from multitrack.data.describe import find; from multitrack.data.found import Inquiry\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = find(sys.argv[1])(Inquiry(root=Path('/')))\n"
        "unit = 1 if sys.platform == 'darwin' else 1024\n"
        "print(found.digest, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(sparse)], capture_output=True, text=True, check=True)
    digest, grown = done.stdout.split()
    assert digest == hashlib.sha256(bytes(1 << 28)).hexdigest()
    assert int(grown) < 30_000_000


def test_several_threads_read(tmp_path: Path, inquiry: Inquiry, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "d", {f"{number}": bytes([number]) * (3 << 20) for number in range(8)})
    meeting = threading.Barrier(2, timeout=20)
    begun = count()
    read = hashing._Reader._read

    def read_together(self, file, stamp):
        if next(begun) < 2:
            meeting.wait()  # the first two are read at the same time, or not at all
        return read(self, file, stamp)

    monkeypatch.setattr(hashing, "cores", lambda: 2)
    monkeypatch.setattr(hashing._Reader, "_read", read_together)
    found: Found = find(folder)(inquiry)
    assert found.failure is None
    assert next(begun) == 8


def test_ctrl_c_does_not_wait_for_a_large_file(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 38)
    program = (
        "import sys; from pathlib import Path; from multitrack.data import progress; advance = progress.ReadingProgress.advance\n"
        "def tell(self, size): print('reading', flush=True) if not self._read else None; advance(self, size)\n"
        "progress.ReadingProgress.advance = tell\n"
        "from multitrack.data.describe import find; from multitrack.data.found import Inquiry\n"
        "find(sys.argv[1])(Inquiry(root=Path('/')))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "sparse")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "reading\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert "KeyboardInterrupt" in errors
    assert process.returncode == -signal.SIGINT


def test_progress_is_shown_where_there_is_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    moments = count()
    monkeypatch.setattr("multitrack.messages.on_terminal", lambda: True)
    monkeypatch.setattr("time.monotonic", lambda: float(next(moments)))
    progress = ReadingProgress("data set 'd'")
    progress.expect(3_000_000_000)
    progress.advance(1_500_000_000)
    progress.close()
    shown = capsys.readouterr().err
    assert "multitrack: reading data set 'd': 1.5 of 3.0 GB" in shown
    assert shown.endswith("\r")


def test_elsewhere_a_line_is_written_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    moments = count(step=40)
    monkeypatch.setattr("time.monotonic", lambda: float(next(moments)))
    progress = ReadingProgress("x")
    progress.expect(4_000)
    for _ in range(4):
        progress.advance(1_000)
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert 0 < len(lines) < 4
    assert all(line.startswith("multitrack: reading x: ") for line in lines)

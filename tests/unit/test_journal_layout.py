"""Where everything lies."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.errors import ConfigError, RunNotFoundError
from multitrack.journal import RunFolder, Store, write_atomically
from multitrack.journal.layout import folder_name
from multitrack.records import new_run_id


@pytest.mark.parametrize("name", ["digits", "my project", "v1.2", "a-b_c", "7", "_x"])
def test_plain_names_are_folders_as_they_are(name: str) -> None:
    assert folder_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../x", "/etc", ".hidden", "a.", "a ", "é", "a\0", "\ud800", "x" * 300, "a:b", "-x"]
)
def test_other_names_become_plain_ones(name: str) -> None:
    plain = folder_name(name)
    assert folder_name(plain) == plain
    assert len(plain) < 100
    assert not set(plain) & set("./\\:\0")


@given(st.lists(st.text(st.characters()), unique=True, max_size=8))
def test_names_never_share_a_folder(names: list[str]) -> None:
    assert len({folder_name(name) for name in names}) == len(names)


def test_a_store_keeps_itself_out_of_version_control(tmp_path: Path) -> None:
    store = Store(tmp_path / "a" / "b")
    store.create()
    store.create()
    assert (store.root / ".gitignore").read_text() == "*\n"


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written to: .*; name another folder with dir=\.\.\. or MULTITRACK_DIR"):
        Store(tmp_path / "file" / "store").create()


def test_runs_are_found_by_their_id(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = store.folder("a/b", "0" * 32)
    assert store.find(run.id) is None
    run.create()
    (tmp_path / "a").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "a" / ("1" * 32)).mkdir()  # no run: nothing of one is in it
    assert store.get(run.id).path == run.path
    assert [found.path for found in store.runs()] == [run.path]
    assert run.store.root == tmp_path
    for other in ("1" * 32, "*", "../" + "0" * 29, ""):
        assert store.find(other) is None
        with pytest.raises(RunNotFoundError):
            store.get(other)
    assert list(Store(tmp_path / "nothing").runs()) == []


def test_pending(tmp_path: Path) -> None:
    store = Store(tmp_path)
    runs = [store.folder("p", str(i) * 32) for i in range(3)]
    for run in runs:
        run.create()
        store.add_pending("mlflow", run)
        store.add_pending("mlflow", run)
    store.remove_pending("mlflow", runs[0])
    store.remove_pending("mlflow", runs[0])
    runs[1].records.rmdir()
    assert [run.id for run in store.pending("mlflow")] == [runs[2].id]
    assert store.pending("other") == []


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    with pytest.raises(TypeError):
        write_atomically(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"two"
    assert [item.name for item in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.slow
def test_ten_thousand_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ids = [new_run_id() for _ in range(10_000)]
    for run_id in ids:
        RunFolder(tmp_path / "p" / run_id / "records").path.mkdir(parents=True)
    started = time.perf_counter()
    for run_id in ids[::100]:
        assert store.find(run_id) is not None
    assert (time.perf_counter() - started) / 100 < 0.005  # seconds; about 0.00005 measured
    assert sum(1 for _ in store.runs()) == 10_000

"""`multitrack delete`, `multitrack gc` and the quota: what may go goes whole, and nothing else does."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from multitrack.cli.app import run as multitrack
from multitrack.config.variables import parse_size
from multitrack.housekeeping import examine
from multitrack.journal import FileLock, Store
from multitrack.quota import in_words, read_size, size_of
from support.couriers import MULTITRACK, Bench, wait_for

Output = pytest.CaptureFixture[str]
QUICK = mt.Capture(code=False, environment=False, system=False, console=False)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The local store of this process; runs are delivered by `multitrack sync`, to another folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MULTITRACK_DIR", str(tmp_path / "here"))
    monkeypatch.setenv("MULTITRACK_MODE", "deferred")
    monkeypatch.setenv("MULTITRACK_QUIET", "1")
    yield Store(tmp_path / "here")
    for thread in threading.enumerate():
        if thread.name == "multitrack-quota":
            thread.join(10)


def record(name: str, *targets: Any, size: int = 0) -> mt.Run:
    with mt.init(name=name, backends=list(targets) or "local", capture=QUICK) as run:
        run.log({"loss": 1.0})
        if size:
            Path("blob").write_bytes(os.urandom(size))
            run.log_artifact("blob")
    return run


def pending(store: Store) -> list[str]:
    return [path.name for path in store.root.glob(".pending/*/*")]


def ids(store: Store) -> set[str]:
    return {run.id for run in store.runs()}


# -- delete


def test_a_run_is_removed_with_all_its_files(store: Store, capsys: Output) -> None:
    gone, stays = record("gone", size=100_000), record("stays")
    assert multitrack(["delete", gone.id]) == 1
    assert "--yes" in capsys.readouterr().err
    assert multitrack(["delete", gone.id, "--yes"]) == 0
    assert capsys.readouterr().out.startswith("1 run removed, 1")
    assert ids(store) == {stays.id}
    assert not gone.dir.exists()
    assert not (store.root / ".trash").exists()
    with mt.open("local") as there:
        assert [view.id for view in there.runs()] == [stays.id]


def test_a_run_that_goes_on_is_never_removed(store: Store, capsys: Output) -> None:
    with mt.init(capture=QUICK) as run:
        assert multitrack(["delete", run.id, "--yes", "--force"]) == 1
        assert f"run {run.id} goes on" in capsys.readouterr().err
        assert multitrack(["gc", "--delivered"]) == 0
        run.log({"loss": 1.0})
    ended = record("ended")
    with FileLock(ended.dir / ".claim") as claim:  # somebody is just going on with it
        assert claim.acquire()
        assert multitrack(["delete", ended.id, "--yes"]) == 1
        assert "gone on with" in capsys.readouterr().err
    assert ids(store) == {run.id, ended.id}


def test_a_run_that_is_not_delivered_needs_force(store: Store, capsys: Output) -> None:
    run, fine = record("behind", "local:./there"), record("fine")
    assert multitrack(["delete", fine.id, run.id, "--yes"]) == 1
    err = capsys.readouterr().err
    assert "lacks" in err
    assert f"multitrack sync {run.id}" in err
    assert len(err.splitlines()) == 1
    assert ids(store) == {run.id, fine.id}  # all or nothing
    assert pending(store) == [run.id]
    assert multitrack(["delete", fine.id, run.id, "--yes", "--force"]) == 0
    assert pending(store) == []
    assert ids(store) == set()


def test_a_run_that_cannot_be_read_needs_force(store: Store, capsys: Output) -> None:
    run = record("newer")
    (path,) = (run.dir / "records").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2'))
    assert multitrack(["delete", run.id, "--yes", "--force"]) == 1  # its lock was touched a moment ago, from another host perhaps
    assert "goes on" in capsys.readouterr().err
    os.utime(path.with_suffix(".lock"), (time.time() - 3600,) * 2)
    assert multitrack(["delete", run.id, "--yes"]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert multitrack(["gc", "--delivered"]) == 0
    assert ids(store) == {run.id}
    assert multitrack(["delete", run.id, "--yes", "--force"]) == 0
    assert ids(store) == set()


def test_two_may_tidy_up_at_a_time(store: Store) -> None:
    for number in range(20):
        record(str(number), "local:./a")
    assert multitrack(["sync"]) == 0
    together = [subprocess.Popen([*MULTITRACK, "gc", "--delivered", "--json"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in together]
    removed = [one["run"] for report in told for one in report["removed"]]
    assert (len(removed), len(set(removed)), ids(store)) == (20, 20, set())
    assert [process.returncode for process in together] == [0, 0]


@pytest.mark.parametrize(
    ("wrong", "told"), [("mlflow:http://h#x", "is at a service"), ("nope", "32 lowercase letters"), ("near", "Did you mean")]
)
def test_a_run_that_is_not_there_is_told(wrong: str, told: str, capsys: Output, store: Store) -> None:
    run = record("one")
    text = run.id[:-1] + ("a" if run.id[-1] != "a" else "b") if wrong == "near" else wrong
    assert multitrack(["delete", run.id, text, "--yes"]) == 1
    assert told in capsys.readouterr().err
    assert ids(store) == {run.id}


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_it_asks(answer: str, code: int, store: Store) -> None:
    run = record("precious")
    controller, terminal = pty.openpty()
    with subprocess.Popen([*MULTITRACK, "delete", run.id], stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        os.write(controller, f"{answer}\n".encode())
        shown = b""
        while b"for good" not in shown or process.poll() is None:
            try:
                shown += os.read(controller, 10_000)
            except OSError:  # the other end is closed
                break
        assert process.wait(30) == code
    os.close(controller)
    assert b"precious" in shown
    assert b"1 of them cannot be had again" in shown
    assert bool(ids(store)) == (code == 1)


# -- gc


def test_only_what_every_target_has_whole_is_pruned(store: Store, capsys: Output) -> None:
    whole, both = record("whole", "local:./a"), record("both", "local:./a", "local:./b")
    assert multitrack(["sync"]) == 0
    behind = record("behind", "local:./a")
    half = record("half", "local:./a", "local:./b")
    assert multitrack(["sync", half.id, "--target", target_of("./b")]) == 0
    alone = record("alone")
    part = record("part", {"backend": "local", "location": "./c", "exclude": {"metrics": ["loss"]}})
    assert multitrack(["sync", part.id]) == 0
    capsys.readouterr()

    assert multitrack(["gc", "--delivered", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["run"] for one in told["removed"]} == {whole.id, both.id}
    reasons = {one["run"]: one["reason"] for one in told["kept"]}
    assert "lacks" in reasons[behind.id]
    assert "lacks" in reasons[half.id]
    assert reasons[alone.id] == "nowhere else"
    assert "takes a part only" in reasons[part.id]
    assert len(ids(store)) == 6

    assert multitrack(["gc"]) == 0
    assert multitrack(["gc", "--delivered", "--older-than", "1h"]) == 0
    assert len(ids(store)) == 6
    assert multitrack(["gc", "--delivered"]) == 0
    assert "2 runs removed" in capsys.readouterr().out
    assert ids(store) == {behind.id, half.id, alone.id, part.id}
    with mt.open("local:./a") as there:  # where they went, they are
        assert there.run(both.id).summary == {"loss": 1.0}
    assert multitrack(["sync"]) == 0
    assert multitrack(["gc", "--delivered", "--older-than", "0m"]) == 0
    assert ids(store) == {alone.id, part.id}
    assert multitrack(["migrate", "local:./a", "local", "--run", whole.id]) == 0
    assert multitrack(["verify", "local:./a", "local", "--run", whole.id]) == 0
    assert multitrack(["gc", "--delivered"]) == 0
    assert whole.id in ids(store)


def target_of(location: str) -> str:
    from multitrack.config.targets import place_name

    return place_name("local", str(Path(location).absolute()))


def test_a_run_that_goes_on_again_is_not_whole_any_more(store: Store) -> None:
    run = record("first", "local:./a")
    assert multitrack(["sync"]) == 0
    assert examine(store.get(run.id)).delivered
    with mt.init(id=run.id, resume="must", capture=QUICK, backends="local:./a") as again:
        assert not examine(store.get(run.id)).delivered
        again.log({"loss": 0.5})
    assert not examine(store.get(run.id)).delivered
    assert multitrack(["gc", "--delivered"]) == 0
    assert ids(store) == {run.id}


def test_what_dead_processes_left_is_swept(store: Store, capsys: Output) -> None:
    run = record("one", size=10)
    old, young = run.dir / "artifacts" / ".incoming-0", run.dir / ".run.json.young"
    trash = store.root / ".trash" / "x"
    (trash / "records").mkdir(parents=True)
    (trash / "records" / "a.jsonl").write_bytes(b"x" * 50_000)
    for path in (old, young):
        path.write_bytes(b"x" * 5000)
    os.utime(old, (time.time() - 90_000,) * 2)
    assert multitrack(["gc", "--dry-run"]) == 0
    assert "2 leftovers would be removed" in capsys.readouterr().out
    assert old.exists()
    assert multitrack(["gc"]) == 0
    assert capsys.readouterr().out.startswith("2 leftovers removed, ")
    assert (old.exists(), trash.exists(), young.exists()) == (False, False, True)
    assert multitrack(["gc"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    with mt.open("local") as there:
        assert there.run(run.id).download("blob", "copy").stat().st_size == 10


def test_side_files_go_when_that_is_asked_for_and_come_again(store: Store, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("multitrack.columnar.WORTH", 1)
    monkeypatch.setattr("multitrack.columnar.files.WORTH_OF_WRITER", 1)
    run = record("one", size=10)

    def read() -> list[float]:
        with mt.open("local") as there:
            return there.run(run.id).metrics("loss")["value"]

    values = read()
    (side,) = (run.dir / "columns").glob("*.parquet")
    dead = side.with_name(".dead.parquet")
    dead.write_bytes(b"x")
    os.utime(dead, (time.time() - 90_000,) * 2)
    assert multitrack(["gc"]) == 0
    assert (dead.exists(), side.exists()) == (False, True)
    capsys.readouterr()
    assert multitrack(["gc", "--columns", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("1 side file would be removed, ")
    assert side.exists()
    assert multitrack(["gc", "--columns"]) == 0
    assert capsys.readouterr().out.startswith("1 side file removed, ")
    assert not side.exists()
    assert read() == values
    assert side.exists()
    assert multitrack(["delete", run.id, "--yes"]) == 0
    assert not run.dir.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--older-than", "3d"], "add --delivered"),
        (["--delivered", "--older-than", "soon"], "write 12h, 30d or 8w"),
        (["--dir", "nowhere"], "no store"),
    ],
)
def test_a_wrong_gc_is_one_line(arguments: list[str], told: str, capsys: Output) -> None:
    record("one")
    assert multitrack(["gc", *arguments]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1


@pytest.mark.slow
def test_what_a_service_refused_a_part_of_stays(bench: Bench) -> None:
    target = "{'backend': 'flaky', 'location': address('one')[6:], 'refused_metrics': ['bad']}"
    bench.run(f"run = mt.init(mode='deferred', backends=[{target}])\nrun.log({{'bad': 1}})\nrun.log({{'good': 1}})\nrun.finish()")
    bench.multitrack("sync")
    told = json.loads(bench.multitrack("gc", "--delivered", "--json").stdout)
    assert told["removed"] == []
    assert "refused 1 of its records" in told["kept"][0]["reason"]


@pytest.mark.slow
def test_a_courier_is_not_disturbed_by_a_run_that_is_removed(bench: Bench) -> None:
    bench.rule("one", "down")
    script = "mt.init(name={!r}, backends=[address('one')], quiet=True).finish(timeout=0.5)"
    bench.run(script.format("gone"), {"MULTITRACK_COURIER_LINGER": "3"})
    gone = bench.only_run()
    wait_for(bench.couriers)
    assert bench.multitrack("delete", gone.id, "--yes").returncode == 1
    done = bench.multitrack("delete", gone.id, "--yes", "--force")
    assert done.returncode == 0, done.stderr
    bench.run(script.format("stays"))
    bench.rule("one", "down", on=False)
    wait_for(lambda: not pending(bench.store), 60)
    assert list(bench.service("one").runs()) == [bench.only_run().id]
    assert "Traceback" not in bench.log_of("flaky")


# -- the quota


def warned(capsys: Output) -> list[str]:
    for thread in threading.enumerate():
        if thread.name == "multitrack-quota":
            thread.join(10)
    return [line for line in capsys.readouterr().err.splitlines() if "quota" in line]


def test_a_store_beyond_its_quota_says_so_and_goes_on(store: Store, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTITRACK_QUOTA", "100 kB")
    record("small")
    assert warned(capsys) == []
    record("large", size=200_000)
    assert warned(capsys) == []  # the size is looked at now and then only
    assert multitrack(["doctor"]) == 0
    assert "WARN  size" in capsys.readouterr().out
    record("later")
    (line,) = warned(capsys)
    assert "more than its quota of 100.0 kB" in line
    assert "multitrack gc --delivered" in line
    (store.root / ".size.json").unlink()
    record("unknown")
    assert len(warned(capsys)) == 1
    monkeypatch.delenv("MULTITRACK_QUOTA")
    record("unlimited")
    assert warned(capsys) == []


def test_nobody_waits_for_a_store_to_be_measured(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(folder: Path, *, pause: float = 0.0) -> int:
        begun.set()
        assert go_on.wait(30)
        return size_of(folder)

    monkeypatch.setattr("multitrack.quota.size_of", slow)
    monkeypatch.setenv("MULTITRACK_QUOTA", "1MB")
    record("one")
    assert begun.wait(10)
    assert read_size(store) is None
    go_on.set()
    assert wait_for(lambda: read_size(store))


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("10 gb", 10**10), ("1.5KiB", 1536), ("0", 0), (7, 7), ("2T", 2 * 10**12), ("12b", 12)]
)
def test_sizes(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "-1", "10iB", True, None, 1.5, "1e3"])
def test_what_is_no_size(text: Any) -> None:
    with pytest.raises(ValueError, match="500MB or 10GB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (2.5e13, "25.0 TB"), (9e16, "90,000.0 TB")]
)
def test_sizes_in_words(size: float, words: str) -> None:
    assert in_words(size) == words

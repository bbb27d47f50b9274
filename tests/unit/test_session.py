"""`init` and what stands around a run, in one process: delivery included, without couriers."""

from __future__ import annotations

import os
import re
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

import multitrack as mt
from multitrack.config import load_settings
from multitrack.journal import FileLock, Journal, JournalWriter, Store
from multitrack.records import RunStarted
from multitrack.state import fold
from multitrack.wording import duration

QUICK = mt.Capture(code=False, environment=False, system=False, console=False)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def init(**arguments: object) -> mt.Run:
    return mt.init(**{"project": "p", "dir": "store", "capture": QUICK, "quiet": True, **arguments})  # type: ignore[arg-type]


def state_of(run: mt.Run):
    return fold(Journal(Store(run.dir.parent.parent).get(run.id)).records())


def test_everything_that_init_is_given_is_recorded() -> None:
    parent = "1" * 32
    with init(name="n", params={"lr": 0.1}, tags={"a": "b"}, group="g", job_type="j", notes="# n", parent=parent, id="2" * 32) as run:
        pass
    state = state_of(run)
    assert (state.id, state.project, state.name, state.group, state.job_type, state.notes, state.parent) == (
        "2" * 32,
        "p",
        "n",
        "g",
        "j",
        "# n",
        parent,
    )
    assert (state.params, state.tags) == ({"lr": 0.1}, {"a": "b"})
    assert state.user
    assert state.host
    assert re.fullmatch("[0-9a-f]{32}", init(mode="disabled").id)


def test_the_run_that_is_repeated_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTITRACK_REPRODUCES", "mlflow:http://127.0.0.1:5000#" + "3" * 32)
    with init() as run:
        pass
    assert state_of(run).reproduces == "mlflow:http://127.0.0.1:5000#" + "3" * 32


def test_a_run_that_goes_on_keeps_what_it_has() -> None:
    with init(name="n", params={"lr": 0.1}, tags=["a"]) as run:
        run.log({"loss": 1}, step=1)
    with init(id=run.id, resume="allow", params={"lr": 0.2}, tags=["b"], notes="again") as again:
        again.log({"loss": 2}, step=2)
    state = state_of(run)
    assert (again.id, again.name, again.dir) == (run.id, "n", run.dir)
    assert (state.name, state.notes, state.tags, state.params) == ("n", "again", {"a": None, "b": None}, {"lr": 0.2})
    assert state.metrics["loss"].values == [1, 2]
    assert state.status == "finished"


def test_the_current_run() -> None:
    with init() as outer:
        with init(parent=outer) as inner:
            assert mt.current() is inner
        assert mt.current() is outer
        seen = []
        thread = threading.Thread(target=lambda: seen.append(mt.current()))
        thread.start()
        thread.join()
        assert seen == [outer]
    assert mt.current() is outer
    with pytest.raises(ValueError, match="has ended"):
        mt.log({"a": 1})


def test_inline_delivers_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with init(mode="inline", backends="local:./mirror", quiet=False) as run:
        run.log({"a": 1})
    assert [found.id for found in Store(Path("mirror")).runs()] == [run.id]
    said = capsys.readouterr().err
    assert "delivered to local:" in said
    assert "has it whole" in said
    assert "has it whole" in str(run)
    assert Store(Path("store").absolute()).pending(next(iter(load_settings(Path.cwd(), {}, backends="local:./mirror").targets)).name) == []


@pytest.mark.parametrize("on_error", ["warn", "raise"])
def test_a_target_that_refuses(on_error: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mirror").write_text("a file where the store should be")
    run = init(mode="inline", backends="local:./mirror", on_error=on_error)
    run.log({"a": 1})
    with pytest.raises(mt.BackendError, match="mirror") if on_error == "raise" else nullcontext():
        run.finish()
    assert f"multitrack sync {run.id}" in capsys.readouterr().err
    assert state_of(run).status == "finished"


def test_a_run_that_another_process_is_just_making_is_waited_for() -> None:
    store = Store(Path("store").absolute())
    store.create()
    folder = store.folder("p", "3" * 32)
    folder.create()
    made: list[mt.Run] = []
    thread = threading.Thread(target=lambda: made.append(init(id=folder.id, resume="allow")))
    with FileLock(folder.path / ".claim") as claim:
        assert claim.acquire()
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        writer = JournalWriter(folder)
        writer.append(RunStarted(time=1, id=folder.id, project="p"))
    thread.join()
    assert made[0].joined
    made[0].finish()
    writer.close()
    assert Journal(folder).verdict().status == "crashed"  # the one that made it has not ended it


def test_capture_is_recorded() -> None:
    with init(capture=None) as run:
        pass
    state = state_of(run)
    assert state.code is not None
    assert state.code.command
    assert next(iter(state.environments.values())).packages


def test_a_user_or_a_host_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise OSError("no name")

    monkeypatch.setattr("getpass.getuser", fail)
    monkeypatch.setattr("socket.gethostname", fail)
    with init() as run:
        run.log({"a": 1})
    state = state_of(run)
    assert (state.user, state.host, len(state.metrics["a"])) == (None, None, 1)


def test_nothing_is_left_of_a_run_that_the_disk_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("multitrack.journal.write._write_whole", full)
    with pytest.raises(mt.ConfigError, match=r"cannot be written to: No space left on device; name another store with dir="):
        init()
    monkeypatch.undo()
    assert list(Store(Path("store")).runs()) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.97, "1 min 00 s"), (245, "4 min 05 s"), (11_520, "3 h 12 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text

"""Looking at runs: the commands `runs` and `show`, and the reading API."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import multitrack as mt


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MULTITRACK_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("MULTITRACK_QUIET", "1")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "multitrack.cli", *arguments], capture_output=True, text=True, check=False)


def record(name: str, *, project: str = "digits", accuracy: float = 0.5, fail: bool = False) -> mt.Run:
    params = {"model": {"depth": 3, "kind": "tree"}, "lr": accuracy / 10}
    run = mt.init(project=project, name=name, params=params, tags={"team": "vision", "base": None}, notes="two\nlines")
    for step in range(3):
        run.log({"val/acc": accuracy * (step + 1) / 3, "loss": 1 / (step + 1)}, step=step)
    run.define_metric("loss", summary="min")
    run.summary["verdict"] = "good"
    run.log_data("digits", digest="abc", role="train", rows=1797)
    (file := Path("notes.txt")).write_text("some notes")
    run.log_artifact(file, "notes/all.txt", kind="notes")
    run.finish("failed" if fail else "finished", error="ValueError: no" if fail else None)
    return run


def test_runs_lists_what_is_there_and_filters() -> None:
    first, second, other = record("first"), record("second", accuracy=0.9, fail=True), record("third", project="other")

    everything = command("runs")
    assert everything.returncode == 0
    assert [run.id in everything.stdout for run in (first, second, other)] == [True] * 3
    assert "val/acc" in everything.stdout
    assert "0.9" in everything.stdout

    def ids(*arguments: str) -> list[str]:
        done = command("runs", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return [run["id"] for run in json.loads(done.stdout)]

    assert ids("-p", "digits") == [first.id, second.id]
    assert ids("--status", "failed") == [second.id]
    assert ids("--tag", "team=vision", "-n", "1") == [other.id]
    assert ids("--tag", "team=audio") == []
    assert ids("--since", (datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []


def test_show_tells_everything_of_a_run() -> None:
    run = record("first", fail=True)

    told = command("show", run.id).stdout

    for text in ("failed", "ValueError: no", "model.depth", "'tree'", "val/acc", "notes/all.txt", "1,797 rows", "team=vision", "verdict"):
        assert text in told
    whole = json.loads(command("show", run.id, "--json").stdout)
    assert whole["params"]["model"] == {"depth": 3, "kind": "tree"}
    assert whole["summary"]["loss"] == pytest.approx(1 / 3)
    assert whole["metrics"] == {"val/acc": 3, "loss": 3}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "0" * 32), "no run"),
        (("show", "nonsense"), "names no run"),
        (("runs", "mlflw:x"), "Did you mean 'mlflow'"),
        (("runs", "--status", "finsihed"), "Did you mean 'finished'"),
        (("runs", "--since", "yesterday"), "is no time"),
        (("runs", "local:./nowhere"), "no store"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_an_exit_code(arguments: tuple[str, ...], told: str) -> None:
    record("first")

    done = command(*arguments)

    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_damaged_run_does_not_hide_the_others() -> None:
    whole, damaged = record("whole"), record("damaged")
    for path in (damaged.dir / "records").glob("*.jsonl"):
        path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2', 1))

    listed = command("runs")
    assert listed.returncode == 0
    assert whole.id in listed.stdout
    assert "unreadable" in listed.stdout
    shown = command("show", damaged.id)
    assert shown.returncode == 1
    assert "upgrade" in shown.stderr


def test_the_reading_api() -> None:
    run = record("first", accuracy=0.75)

    with mt.open("local") as store:
        assert store.projects() == ["digits"]
        [view] = store.runs(project="digits", params={"model.depth": 3})
        assert list(store.runs(params={"model.depth": 4})) == []
        same = store.run(run.id)

        assert (view.id, view.name, view.status, same.id) == (run.id, "first", "finished", run.id)
        assert view.params == {"model": {"depth": 3, "kind": "tree"}, "lr": 0.075}
        assert view.tags == {"team": "vision", "base": None}
        loss = view.metrics("loss")
        assert (len(loss), loss["step"], loss["value"]) == (3, [0, 1, 2], [1.0, 0.5, 1 / 3])
        assert all(isinstance(time, datetime) and time.tzinfo is not None for time in loss["time"])
        assert list(loss.to_pandas().columns) == ["step", "time", "value"]
        assert view.summary == {"val/acc": 0.75, "loss": 1 / 3, "verdict": "good"}
        assert view.download("notes/all.txt", "copy.txt").read_text() == "some notes"
        assert view.started is not None
        assert view.ended is not None
        assert view.started < view.ended
        with pytest.raises(KeyError, match="Did you mean 'loss'"):
            view.metrics("los")
        with pytest.raises(mt.RunNotFoundError, match="multitrack runs"):
            store.run("0" * 32)

"""What wrong arguments get: one clear line that says what to do, and no run that is half made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import multitrack as mt
from multitrack.journal import Journal, Store
from multitrack.records import Hyperparameters, Metrics
from multitrack.run import Run

QUIET = mt.Capture(code=False, environment=False, system=False, console=False)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("MULTITRACK_QUIET", "1")
    monkeypatch.chdir(tmp_path)
    return Store(tmp_path / "store")


@pytest.fixture
def run(store: Store):
    with mt.init("p", dir=store.root, capture=QUIET) as run:
        yield run


# -- init


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"id": "run-1"}, "expected a run id, 32 lowercase letters and digits, not 'run-1'"),
        ({"id": "A" * 32}, "expected a run id"),
        ({"resume": "yes"}, "resume: expected one of 'never', 'allow', 'must', not 'yes'"),
        ({"on_error": "ignore"}, "on_error: expected one of 'warn', 'raise'"),
        ({"mode": "offline"}, "mode"),
        ({"parent": "nobody"}, "parent: expected a run or its id"),
        ({"backends": "mlfow"}, "Did you mean 'mlflow'?"),
        ({"backends": ["mlfow:http://127.0.0.1:1"]}, "Did you mean 'mlflow'?"),
        ({"capture": False}, "capture is a multitrack.Capture"),
        ({"params": [1, 2]}, "params must be a mapping, or an object with attributes, not list"),
        ({"tags": "base"}, "write ['base']"),
        ({"tags": 3}, "tags must be a list or a mapping, not 3"),
        ({"tags": {"n": 3}}, "tag 'n': its value is a text or None, not 3; write '3'"),
        ({"notes": 3}, "notes: input should be a valid string, not 3"),
        ({"name": b"x"}, "name: input should be a valid string"),
        ({"project": ""}, "expected a name"),
    ],
)
def test_wrong_arguments_of_init(store: Store, arguments: dict[str, object], words: str) -> None:
    with pytest.raises((mt.ConfigError, TypeError, ValueError)) as caught:
        mt.init(**{"project": "p", "dir": store.root, "capture": QUIET, **arguments})  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not store.root.exists()


def test_an_id_that_exists(store: Store, run: Run) -> None:
    with pytest.raises(mt.RunExistsError, match=r"go on with it by resume='allow', or choose another id"):
        mt.init("p", dir=store.root, id=run.id, capture=QUIET)
    assert run.ended is None


def test_a_run_that_must_exist(store: Store) -> None:
    with pytest.raises(mt.RunNotFoundError, match="there is no run"):
        mt.init("p", dir=store.root, id="0" * 32, resume="must", capture=QUIET)
    assert not store.root.exists()


def test_a_run_that_must_exist_and_does(store: Store, run: Run) -> None:
    run.finish("failed")
    with mt.init(dir=store.root, id=run.id, resume="must", capture=QUIET) as again:
        assert (again.project, again.dir) == ("p", run.dir)
    assert Journal(store.get(run.id)).verdict().status == "finished"


@pytest.mark.parametrize("place", ["/proc/nowhere", "file/store"])
def test_a_folder_that_cannot_be_written_to(store: Store, place: str) -> None:
    Path("file").write_text("")
    with pytest.raises(mt.ConfigError, match=r"cannot be written to: .*; name another (folder|store) with dir=\.\.\. or MULTITRACK_DIR"):
        mt.init("p", dir=place, capture=QUIET)


def test_a_malformed_config_file(store: Store) -> None:
    Path("multitrack.toml").write_text('project = "p"\nbackends = [\n')
    with pytest.raises(mt.ConfigError, match=r"multitrack\.toml:\d"):
        mt.init(dir=store.root, capture=QUIET)


def test_a_missing_extra_names_its_pip_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multitrack.registry.not_installed", lambda _: ("mlflow",))
    with pytest.raises(mt.MissingExtraError, match=r"pip install .*multitrack\[mlflow\]"):
        mt.init("p", dir=store.root, backends="mlflow:http://127.0.0.1:1")
    assert not store.root.exists()


def test_no_current_run(store: Store) -> None:
    code = "import multitrack as mt\nmt.log({'a': 1})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "there is no run yet: call multitrack.init() first" in done.stderr


# -- log


class Broken:
    def item(self) -> float:
        raise RuntimeError("on another device")


class Endless:
    def item(self) -> Endless:
        return self


@pytest.mark.parametrize(
    ("values", "step", "words"),
    [
        ({"a": None}, None, "metric 'a': a NoneType is no metric value; .*leave a missing value out"),
        ({"a": {"b": 1}}, None, "metric 'a': a dict is no metric value; .*write its entries as 'a/...'"),
        ({"a": [1, 2]}, None, "metric 'a': a list is no metric value"),
        ({"a": 1j}, None, "metric 'a': a complex"),
        ({"a": object()}, None, "metric 'a': a object"),
        ({"a": b"x"}, None, "metric 'a': a bytes"),
        ({"a": Broken()}, None, "metric 'a': the value of a Broken cannot be read: on another device"),
        ({"a": Endless()}, None, "metric 'a': a Endless"),
        ({"a": 1, 2: 1}, None, "a metric's name is a text, not 2"),
        ({"": 1}, None, "a metric's name is empty"),
        (0.5, None, "metrics are given as a mapping such as {'loss': 0.5}, not 0.5"),
        ({"a": 1}, "one", "step must be an int or a float, not 'one'"),
        ({"a": 1}, True, "step must be an int or a float, not True"),
        ({"a": 1}, [1], "step must be an int or a float"),
        ({"a": 1}, float("nan"), "step must be finite, not nan; leave it out"),
        ({"a": 1}, float("inf"), "step must be finite"),
    ],
)
def test_wrong_metrics(run: Run, values: object, step: object, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        run.log(values, step=step)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not [record for record in Journal(Store(run.dir.parent.parent).get(run.id)).records() if isinstance(record, Metrics)]


@pytest.mark.parametrize(
    ("time", "words"), [("now", "not 'now'"), (1.7e12, "in seconds since 1970"), (float("nan"), "in seconds"), (True, "not True")]
)
def test_wrong_times(run: Run, time: object, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        run.log({"a": 1}, time=time)  # type: ignore[arg-type]


def itself() -> dict[str, object]:
    params: dict[str, object] = {"a": {}}
    params["a"] = {"b": [params]}
    return params


def deep(levels: int) -> dict[str, object]:
    params: dict[str, object] = {}
    for _ in range(levels):
        params = {"$": params}
    return params


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"a": {1: 2, "1": 3}}, "param 'a': two names are both '1' as texts"),
        (object(), "params must be a mapping, or an object with attributes, not object"),
        (itself(), r"param 'a\.b\[0\]' contains itself"),
        (deep(100_000), "is nested deeper than 64 levels"),
        ("lr=0.1", "params must be a mapping, or an object with attributes, not str"),
    ],
)
def test_wrong_params(run: Run, params: object, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        run.log_params(params)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not [record for record in Journal(Store(run.dir.parent.parent).get(run.id)).records() if isinstance(record, Hyperparameters)]


def test_params_as_deep_as_they_may_be(run: Run) -> None:
    run.log_params(deep(63))
    (record,) = [record for record in Journal(Store(run.dir.parent.parent).get(run.id)).records() if isinstance(record, Hyperparameters)]
    assert record.values == deep(63)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda run: run.log_artifact("nothing.pt"), FileNotFoundError, r"there is no file 'nothing.pt' \(looked for in "),
        (lambda run: run.log_artifact("f", name="../../x"), ValueError, "must be a relative path inside the run"),
        (lambda run: run.log_artifact("f", name="/etc/x"), ValueError, "must be a relative path inside the run"),
        (lambda run: run.log_artifact("f", name=""), ValueError, "must be a relative path inside the run"),
        (lambda run: run.log_artifact("f", name="a/../../x"), ValueError, "must be a relative path inside the run"),
        (lambda run: run.log_artifact("f", name="a\0b"), ValueError, "must be a relative path inside the run"),
        (lambda run: run.log_artifact("f", name=3), TypeError, "an artifact's name is a text, not 3"),
        (lambda run: run.log_artifact("f", kind=3), TypeError, "type: input should be a valid string, not 3"),
        (lambda run: run.log_artifact("f", metadata={"a": object()}), TypeError, "param 'a'"),
        (lambda run: run.log_artifact("f", step="x"), TypeError, "step must be"),
        (lambda run: run.log_artifact("empty"), FileNotFoundError, "the folder 'empty' holds no file"),
        (lambda run: run.log_artifact("/proc/self/mem", name="m"), OSError, "Input/output error"),
        (lambda run: run.log_data("d", "nothing.csv"), FileNotFoundError, "data set 'd': there is no file or folder 'nothing.csv'"),
        (lambda run: run.log_data("d", "empty"), FileNotFoundError, "data set 'd': 'empty' holds no file"),
        (lambda run: run.log_data(3), TypeError, "name: input should be a valid string, not 3"),
        (lambda run: run.define_metric("a", goal="up"), ValueError, "goal: input should be 'min' or 'max', not 'up'"),
        (lambda run: run.set_tags("base"), TypeError, r"write \['base'\]"),
        (lambda run: run.set_tags([""]), ValueError, "a tag's name is empty"),
        (lambda run: run.remove_tags("base"), TypeError, r"write \['base'\]"),
        (lambda run: run.set_notes(3), TypeError, "notes: input should be a valid string"),
        (lambda run: run.summary.update(best=None), TypeError, "metric 'best': a NoneType"),
        (lambda run: run.finish("done"), ValueError, "status: input should be 'finished', 'failed', 'killed' or 'crashed', not 'done'"),
        (lambda run: run.url("mlflow"), mt.ConfigError, "has no target 'mlflow'; it has none"),
    ],
)  # fmt: skip
def test_the_other_methods(run: Run, call: object, error: type[Exception], words: str) -> None:
    Path("f").write_text("x")
    Path("empty").mkdir()
    before = list(Journal(Store(run.dir.parent.parent).get(run.id)).records())
    with pytest.raises(error, match=words) as caught:
        call(run)  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert list(Journal(Store(run.dir.parent.parent).get(run.id)).records()) == before
    assert not list((run.dir / "artifacts").iterdir())
    assert run.ended is None

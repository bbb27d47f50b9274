"""What `init` and `run.log_params` write of params: values, sources, and `***` in the place of credentials."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pydantic
import pytest

import multitrack as mt
from multitrack.journal import Journal, Store
from multitrack.state import RunState, fold


class Settings(pydantic.BaseModel):
    lr: float = 0.1
    depth: int = 3
    api_key: str = "abc-1"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def init(**arguments: Any) -> mt.Run:
    nothing = mt.Capture(code=False, environment=False, system=False, console=False)
    return mt.init(**{"project": "p", "dir": "store", "capture": nothing, "quiet": True, **arguments})


def state_of(run: mt.Run) -> RunState:
    return fold(Journal(Store(run.dir.parent.parent).get(run.id)).records())


def test_init_takes_what_log_params_takes() -> None:
    with init(params=Settings(depth=5)) as first, init(parent=first) as second:
        second.log_params(Settings(depth=5))
    for run in (first, second):
        state = state_of(run)
        assert state.params == {"lr": 0.1, "depth": 5, "api_key": "***"}
        assert state.param_sources == {"lr": "default", "api_key": "default"}


def test_nothing_at_all_is_no_record() -> None:
    with init(params={}) as run:
        pass
    assert "hyperparameters" not in "".join(path.read_text() for path in (run.dir / "records").iterdir())


def test_patterns_of_the_setting_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTITRACK_SECRET_PATTERNS", "ACME-\\d+\nbadge (\\w+)")
    with init(name="ACME-12", params={"a": "x ACME-3 y"}, notes="badge red5") as run:
        run.set_tags({"t": "badge blue7"})
    state = state_of(run)
    assert (state.name, state.params, state.notes, state.tags) == ("***", {"a": "x *** y"}, "badge ***", {"t": "badge ***"})


def test_the_values_of_metrics_stay_exact() -> None:
    with init() as run:
        run.log({"sample": "my password: hunter2"})
        run.summary["said"] = "my password: hunter2"
    state = state_of(run)
    assert state.metrics["sample"].values == [state.summary["said"]] == ["my password: hunter2"]


def test_what_the_user_has_in_hand_is_not_altered() -> None:
    params = {"password": "hunter2", "inner": {"token": "abc"}}
    with init(params=params) as run:
        run.log_params(params)
    assert params == {"password": "hunter2", "inner": {"token": "abc"}}
    assert state_of(run).params == {"password": "***", "inner": {"token": "***"}}


def test_an_error_given_to_finish_is_masked() -> None:
    run = init()
    run.finish("failed", error="OSError: redis://:hunter2@cache is down")
    assert state_of(run).error == "OSError: redis://***@cache is down"

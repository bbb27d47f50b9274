"""`run.log`: what a call costs the training, beside the least that writing the same line can cost, and beside other loggers."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import orjson
from measure import Timing, microseconds, show, take_turns

import multitrack as mt

Call = Callable[[], object]
COLUMNS = ("one call", "p50", "p99", "p50 / floor", "p99 / floor")


# -- the floor


def floor(fd: int, values: dict[str, Any]) -> Call:
    """The same line by orjson and one write: no clock, no checks, no lock, and the mapping is made before."""
    line = {"kind": "metrics", "seq": 123_456, "time": time.time_ns() // 1000, "step": 123_456, "values": values}
    return lambda: os.write(fd, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


# -- what is measured


@contextmanager
def a_run(store: Path, backends: list[str]) -> Iterator[mt.Run]:
    """A run, with couriers at work where it has targets."""
    capture = mt.Capture(code=False, environment=False, system=False, console=False)
    run = mt.init(project="bench", dir=store, backends=backends or ["local"], mode="online", capture=capture, quiet=True)
    try:
        yield run
    finally:
        run.finish(timeout=120)  # the couriers are done before the folder goes


def logging(run: mt.Run, values: dict[str, Any]) -> Call:
    return lambda: run.log(values, 123_456)


def run(full: bool) -> None:
    calls, rounds = (10_000, 15) if full else (3_000, 9)
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as text:
        folder = Path(text)
        fd = os.open(folder / "floor.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            _values(folder, fd, calls, rounds)
            _targets(folder, fd, min(calls, 3_000), rounds)
            _others(folder, fd, full)
        finally:
            os.close(fd)


def _values(folder: Path, fd: int, calls: int, rounds: int) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "a float": {"loss": 0.123456},
        "an int": {"loss": 12},
        **_scalars(),
        "ten floats": {f"metric_{number}": number / 7 for number in range(10)},
    }
    with a_run(folder / "values", []) as run:
        for name, values in kinds.items():
            plain = {metric: float(value) for metric, value in values.items()}
            cases = {f"floor, {name}": floor(fd, plain), f"run.log, {name}": logging(run, values)}
            _show(f"run.log, {name}, no target", take_turns(cases, floor=f"floor, {name}", calls=calls, rounds=rounds))


def _scalars() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    try:
        import numpy as np
    except ImportError:
        print("numpy is not installed: left out")
    else:
        found["a numpy.float64"], found["a numpy.float32"] = {"loss": np.float64(0.123456)}, {"loss": np.float32(0.123456)}
    try:
        import torch
    except ImportError:
        print("torch is not installed: left out")
    else:
        found["a torch scalar"] = {"loss": torch.tensor(0.123456)}
    return found


def _targets(folder: Path, fd: int, calls: int, rounds: int) -> None:
    """One float while couriers deliver: they run at the lowest priority, on the same cores."""
    for number in (0, 1, 3):
        names = [f"local:{folder}/to-{number}-{place}" for place in range(min(number, 2))]
        names += [f"mlflow:sqlite:///{folder}/to-{number}.db"] if number > 2 and _has("mlflow") else []
        with a_run(folder / f"from-{number}", names) as run:
            values = {"loss": 0.123456}
            if names:
                _warm(run, names)
            cases = {"floor": floor(fd, values), f"run.log, {len(names)} targets": logging(run, values)}
            title = f"run.log of a float, {len(names)} targets" + (" (local, local, MLflow sqlite)" if number == 3 else "")
            _show(title, take_turns(cases, floor="floor", calls=calls, rounds=rounds))


def _warm(run: mt.Run, names: list[str]) -> None:
    """Wait until the couriers have begun: what is measured is logging beside delivery."""
    deadline = time.monotonic() + 30
    run.log({"warm": 1.0})
    while time.monotonic() < deadline and len(list(run.dir.glob("delivery/*.position.json"))) < len(names):
        time.sleep(0.1)


# -- others


def _others(folder: Path, fd: int, full: bool) -> None:
    """Other loggers' own calls, each offline or into a local file, as their documentation shows them."""
    cases: dict[str, tuple[Call, int]] = {}
    with ExitStack() as stack, a_run(folder / "beside", []) as run:
        stack.enter_context(_working_folder(folder))
        cases["floor"] = floor(fd, {"loss": 0.123456}), 2_000
        cases["multitrack"] = logging(run, {"loss": 0.123456}), 2_000
        for name, start in {"mlflow": _mlflow, "wandb": _wandb, "comet_ml": _comet, "neptune": _neptune, "trackio": _trackio}.items():
            if not _has(name):
                print(f"{name} is not installed: left out")
                continue
            try:
                call, calls = start(stack, folder)
            except Exception as error:  # noqa: BLE001 - another logger that does not start is no failure of ours
                print(f"{name} does not start here: {type(error).__name__}: {str(error)[:200]}")
            else:
                cases[f"{name} {_version(name)}"] = call, calls
        slow = min(calls for _, calls in cases.values())
        quick = {name: call for name, (call, calls) in cases.items()}
        _show("one float, other loggers", take_turns(quick, floor="floor", calls=slow * (3 if full else 1), rounds=5))


def _mlflow(stack: ExitStack, folder: Path) -> tuple[Call, int]:
    import logging as standard

    import mlflow

    standard.disable(standard.INFO)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/other.db")
    stack.enter_context(mlflow.start_run())
    steps = itertools.count()
    return lambda: mlflow.log_metric("loss", 0.123456, step=next(steps)), 20


def _wandb(stack: ExitStack, folder: Path) -> tuple[Call, int]:
    import wandb

    run = wandb.init(project="bench", mode="offline", dir=folder, settings=wandb.Settings(silent=True, console="off"))
    stack.callback(run.finish)
    steps = itertools.count()
    return lambda: run.log({"loss": 0.123456}, step=next(steps)), 200


def _comet(stack: ExitStack, folder: Path) -> tuple[Call, int]:
    import comet_ml

    experiment = comet_ml.OfflineExperiment(project_name="bench", offline_directory=str(folder), display_summary_level=0)
    stack.callback(experiment.end)
    steps = itertools.count()
    return lambda: experiment.log_metric("loss", 0.123456, step=next(steps)), 200


def _neptune(stack: ExitStack, folder: Path) -> tuple[Call, int]:  # noqa: ARG001
    import neptune

    run = neptune.init_run(mode="offline", capture_stdout=False, capture_stderr=False, capture_hardware_metrics=False)
    stack.callback(run.stop)
    steps = itertools.count()
    return lambda: run["loss"].append(0.123456, step=next(steps)), 200


def _trackio(stack: ExitStack, folder: Path) -> tuple[Call, int]:
    os.environ.setdefault("TRACKIO_DIR", str(folder / "trackio"))
    import trackio

    trackio.init(project="bench")
    stack.callback(trackio.finish)
    steps = itertools.count()
    return lambda: trackio.log({"loss": 0.123456}, step=next(steps)), 200


@contextmanager
def _working_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _has(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def _show(title: str, timings: dict[str, Timing]) -> None:
    rows = [(name, microseconds(one.p50), microseconds(one.p99), one.ratio, one.ratio_p99) for name, one in timings.items()]
    show(title, COLUMNS, rows)

"""Reading a journal of rows, one of columns, both through the side file too, and MLflow's database, beside the least that would do."""

from __future__ import annotations

import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from journals import METRICS, columns, rows, write_run
from measure import rate, show
from servers import has_mlflow

from multitrack.columnar import read_run
from multitrack.journal import Journal, RunFolder
from multitrack.state import Outline, RunState, fold, take_line
from multitrack.view import Series

SHAPES = {"rows of one value, as run.log writes them": rows, "columns of 10,000, as a source writes them": columns}


# -- the floors


def floor_lines(folder: RunFolder) -> int:
    """Parse every line of the journal, and count the points."""
    points = 0
    for path in folder.records.glob("*.jsonl"):
        with path.open("rb") as file:
            for line in file:
                wire = orjson.loads(line)
                values = wire.get("values")
                points += len(values) if values is not None else 0
    return points


def floor_parquet(folder: RunFolder) -> int:
    """Read the side file whole, and nothing else: neither is it checked, nor are Python's objects made."""
    import pyarrow.parquet as pq

    return sum(pq.ParquetFile(path).read(use_threads=False).num_rows for path in (folder.path / "columns").glob("*.parquet"))


def floor_sql(database: Path) -> int:
    """Select every point of the run, as tuples."""
    with sqlite3.connect(database) as connection:
        return len(connection.execute("SELECT key, timestamp, step, value, is_nan FROM metrics").fetchall())


# -- what is measured


def run(full: bool) -> None:
    points = 10_000_000 if full else 1_000_000
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as text:
        for shape, write in SHAPES.items():
            folder = write_run(Path(text) / shape[:4], points, write)
            size = sum(path.stat().st_size for path in folder.records.glob("*.jsonl"))
            cases: dict[str, Callable[[], int]] = {
                "floor: orjson.loads of each line": lambda folder=folder: floor_lines(folder),
                "Journal.records()": lambda folder=folder: sum(1 for _ in Journal(folder).records()),
                "every point at hand, as lists": lambda folder=folder: _count(_at_hand(folder)),
                "run.json: the last point of each metric": lambda folder=folder: _outline(folder),
                "the side file is made, everything but the points read": lambda folder=folder: _count(read_run(folder)),
            }
            _show(f"a journal of {points:,} points, {shape}, {size / 1e6:.0f} MB", cases, points)
            _side_file(folder, points)
        _mlflow(Path(text), 500_000 if full else 100_000)


def _side_file(folder: RunFolder, points: int) -> None:
    size = sum(path.stat().st_size for path in (folder.path / "columns").glob("*.parquet"))
    cases: dict[str, Callable[[], int]] = {
        "floor: pyarrow reads the side file, all columns": lambda: floor_parquet(folder),
        "everything but the points: names, lengths, params": lambda: _count(read_run(folder)),
        "one metric of ten as lists": lambda: len(read_run(folder).metrics["metric_3"].column("values")),
        "one metric of ten as a DataFrame": lambda: len(_frame(folder, "metric_3")),
        "every metric as a DataFrame, one after the other": lambda: sum(len(_frame(folder, f"metric_{n}")) for n in range(METRICS)),
        "every point at hand, as lists": lambda: _loaded(read_run(folder)),
        "every point, one after the other": lambda: sum(1 for series in read_run(folder).metrics.values() for _ in series.points()),
    }
    _show(f"the same through the side file, {size / 1e6:.1f} MB", cases, points)


def _at_hand(folder: RunFolder) -> RunState:
    state = RunState()
    return fold(Journal(folder).records_but(partial(take_line, state)), state)


def _frame(folder: RunFolder, name: str) -> Any:
    return Series(name, read_run(folder).metrics[name]).to_pandas()


def _show(title: str, cases: dict[str, Callable[[], int]], points: int) -> None:
    """Each in a fork of its own, so that one's memory is not another's."""
    table, floor = [], 0.0
    for name, case in cases.items():
        seconds, megabytes = _alone(case)
        floor = floor or seconds
        table.append((name, f"{seconds:.2f} s", rate(points, seconds), f"{seconds / floor:.2f}", f"{megabytes:.0f} MB"))
    show(title, ("", "time", "points", "time / floor", "peak memory"), table)


def _alone(case: Callable[[], int]) -> tuple[float, float]:
    import multiprocessing

    def work(pipe: Any) -> None:
        start = time.perf_counter()
        case()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        pipe.send((seconds, peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)))

    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,))
    process.start()
    result: tuple[float, float] = ours.recv()
    process.join()
    return result


def _loaded(state: RunState) -> int:
    """Have every list there at the same time, and count the metrics."""
    return len([(series.steps, series.times, series.values) for series in state.metrics.values()])


def _count(state: Any) -> int:
    return sum(len(series) for series in state.metrics.values())


def _outline(folder: RunFolder) -> int:
    outline = Outline()
    outline.take(Journal(folder).records_but(outline.take_line))
    return sum(outline.counts().values())


# -- MLflow


def _mlflow(folder: Path, points: int) -> None:
    if not has_mlflow():
        return
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    from multitrack_mlflow import MLflowBackend

    database = folder / "mlflow.db"
    client = MlflowClient(f"sqlite:///{database}")
    run_id = client.create_run(client.create_experiment("bench", artifact_location=str(folder / "artifacts"))).info.run_id
    for start in range(0, points, 1_000):
        metrics = [
            Metric(f"metric_{place % METRICS}", place / 7, 1_700_000_000_000 + place, place) for place in range(start, start + 1_000)
        ]
        client.log_batch(run_id, metrics)

    def read() -> int:
        from multitrack.backend import RunFilter

        source = MLflowBackend(MLflowBackend.resolve(f"sqlite:///{database}", folder)).source()
        (ref,) = source.runs(RunFilter(projects=["bench"]))
        return _count(fold(source.read(ref)))

    cases = {
        "floor: one SELECT, fetched": lambda: floor_sql(database),
        "multitrack's source, folded: connecting and listing included": read,
    }
    _show(f"a run of {points:,} points in MLflow's sqlite database", cases, points)
    history = time.perf_counter()
    count = len(client.get_metric_history(run_id, "metric_0"))
    seconds = time.perf_counter() - history
    print(f"(MlflowClient.get_metric_history, for comparison: {rate(count, seconds)})")

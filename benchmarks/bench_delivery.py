"""Delivery of a journal to a real MLflow server, beside `MlflowClient.log_batch` in a loop and beside bare POSTs of the same batches."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from journals import METRICS, rows, write_run
from measure import fresh, rate, show
from servers import MLflowServer, has_mlflow

BATCH = 1000
"""MLflow: at most 1000 metrics a call."""
THREADS = 2
"""As many as multitrack's sink uses."""


# -- the floors: the points are at hand, and nothing is kept of what was sent


def floor_client(url: str, points: Sequence[tuple[str, float, int, int]]) -> float:
    """`MlflowClient.log_batch` by the same number of threads."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(url)
    run_id = client.create_run("0").info.run_id

    def send(start: int) -> None:
        client.log_batch(run_id, [Metric(*point) for point in points[start : start + BATCH]])

    return _in_threads(send, len(points))


def floor_post(server: MLflowServer, points: Sequence[tuple[str, float, int, int]]) -> float:
    """The same JSON over HTTP, by the same number of threads."""
    from mlflow import MlflowClient

    run_id = MlflowClient(server.url).create_run("0").info.run_id

    def send(start: int) -> None:
        metrics = [dict(zip(("key", "value", "timestamp", "step"), point, strict=True)) for point in points[start : start + BATCH]]
        connection = HTTPConnection("127.0.0.1", server.port)
        body = json.dumps({"run_id": run_id, "metrics": metrics})
        connection.request("POST", "/api/2.0/mlflow/runs/log-batch", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(answer.read()[:500])
        connection.close()

    return _in_threads(send, len(points))


def _in_threads(send: Callable[[int], None], points: int) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(send, range(0, points, BATCH)))
    return time.perf_counter() - start


# -- what is measured


def deliver(url: str, store: Path, points: int) -> float:
    """A journal of rows, from its first byte to the completion marker, everything included but the making of the journal."""
    from multitrack.delivery import Delivery
    from multitrack_mlflow import MLflowBackend

    folder = write_run(store, points, rows)
    start = time.perf_counter()
    with Delivery(folder, "mlflow", MLflowBackend(url)) as delivery:
        if not delivery.advance():
            raise RuntimeError("the run was not delivered whole")
    return time.perf_counter() - start


MEMORY = """
import resource, sys
sys.path[:0] = {path!r}
from pathlib import Path
from journals import rows, write_run
from multitrack.delivery import Delivery
from multitrack_mlflow import MLflowBackend
folder = write_run(Path({store!r}), {points}, rows)
with Delivery(folder, "mlflow", MLflowBackend({url!r})) as delivery:
    assert delivery.advance()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
"""


def run(full: bool) -> None:
    if not has_mlflow():
        return
    points, rounds = (100_000, 5) if full else (20_000, 3)
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as text, MLflowServer(Path(text) / "server") as server:
        folder = Path(text)
        sent = [(f"metric_{place % METRICS}", place / 7, 1_700_000_000_000 + place, place // METRICS) for place in range(points)]
        deliver(server.url, folder / "warm", 2_000)
        cases: dict[str, Callable[[], float]] = {
            "MlflowClient.log_batch, 2 threads": lambda: floor_client(server.url, sent),
            "bare POSTs, 2 threads": lambda: floor_post(server, sent),
            "multitrack's delivery": lambda: deliver(server.url, folder / "store", points),
        }
        kept: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, case in cases.items():
                kept[name].append(case())
        low = kept["MlflowClient.log_batch, 2 threads"]
        table = [
            (name, rate(points, statistics.median(times)), statistics.median(bare / own for own, bare in zip(times, low, strict=True)))
            for name, times in kept.items()
        ]
        show(f"{points:,} points to an MLflow server on sqlite", ("", "points", "speed / log_batch"), table)
        _memory(server.url, folder, (10_000, 1_000_000 if full else 100_000))


def _memory(url: str, folder: Path, sizes: Sequence[int]) -> None:
    path = [str(Path(__file__).parent)]
    table: list[tuple[Any, ...]] = []
    for points in sizes:
        code = MEMORY.format(path=path, store=str(folder / f"memory-{points}"), points=points, url=url)
        start = time.perf_counter()
        megabytes = float(fresh(code).split()[-1])
        table.append((f"{points:,} points", f"{megabytes:.0f} MB", f"{time.perf_counter() - start:.0f} s"))
    show("peak memory of a process that delivers a backlog", ("backlog", "peak memory", "time, imports included"), table)

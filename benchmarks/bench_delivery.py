"""Delivery of a journal to a real MLflow server, beside `MlflowClient.log_batch` in a loop and beside bare POSTs of the same batches.

Each of them has a process of its own, which does nothing else: ours is set up as a courier is.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

from journals import METRICS, rows, write_run
from measure import environment, fresh, rate, show
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


def floor_post(url: str, points: Sequence[tuple[str, float, int, int]]) -> float:
    """The same JSON over HTTP, by the same number of threads."""
    from mlflow import MlflowClient

    run_id = MlflowClient(url).create_run("0").info.run_id
    address = url.removeprefix("http://")

    def send(start: int) -> None:
        metrics = [dict(zip(("key", "value", "timestamp", "step"), point, strict=True)) for point in points[start : start + BATCH]]
        connection = HTTPConnection(address)
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


class Process:
    """One of them in its process, which takes numbers of points and answers with seconds."""

    def __init__(self, case: str, url: str, folder: Path) -> None:
        command = [sys.executable, __file__, case, url, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def time(self, points: int) -> float:
        """Return the seconds that so many points take."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(points, file=self._process.stdin, flush=True)
        return next(float(line.removeprefix("seconds ")) for line in self._process.stdout if line.startswith("seconds "))


def answer(case: str, url: str, folder: Path) -> None:
    """Be the process."""
    from multitrack.delivery.dedicated import dedicate

    for number, line in enumerate(sys.stdin):
        points = int(line)
        if case == "delivery":
            dedicate()  # as couriers do
            seconds = deliver(url, folder / str(number), points)
        else:
            sent = [(f"metric_{place % METRICS}", place / 7, 1_700_000_000_000 + place, place // METRICS) for place in range(points)]
            seconds = (floor_client if case == "client" else floor_post)(url, sent)
        print(f"seconds {seconds}", flush=True)


MEMORY = """
import resource, sys
sys.path[:0] = {path!r}
from pathlib import Path
from journals import rows, write_run
from multitrack.delivery import Delivery
from multitrack.delivery.dedicated import dedicate
from multitrack_mlflow import MLflowBackend
dedicate()
folder = write_run(Path({store!r}), {points}, rows)
with Delivery(folder, "mlflow", MLflowBackend({url!r})) as delivery:
    assert delivery.advance()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10))
"""


def run(full: bool) -> None:
    if not has_mlflow():
        return
    points, rounds = (100_000, 5) if full else (30_000, 5)
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as text, MLflowServer(Path(text) / "server") as server:
        folder = Path(text)
        cases = {"client": "MlflowClient.log_batch, 2 threads", "post": "bare POSTs, 2 threads", "delivery": "multitrack's delivery"}
        kept: dict[str, list[float]] = {case: [] for case in cases}
        with ExitStack() as stack:
            processes = {case: stack.enter_context(Process(case, server.url, folder / case)) for case in cases}
            for process in processes.values():
                process.time(2_000)  # to warm up
            for _ in range(rounds):
                for case, process in processes.items():
                    kept[case].append(process.time(points))
        low = kept["client"]
        table = [
            (
                cases[case],
                rate(points, statistics.median(times)),
                statistics.median(bare / own for own, bare in zip(times, low, strict=True)),
            )
            for case, times in kept.items()
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


if __name__ == "__main__":
    answer(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

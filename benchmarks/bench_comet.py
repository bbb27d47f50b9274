"""Runs to Comet's service and back, requests counted. The service is the tests' double, in this process, whose time is in every number."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import orjson
from journals import METRICS, write_run
from measure import rate, show

sys.path.append(str(Path(__file__).parents[1] / "tests"))

if TYPE_CHECKING:
    from services.comet.double import CometDouble

STEPS = 1_000


def fill(file: BinaryIO, points: int) -> None:
    """A line a step, as `run.log` writes them."""
    start = 1_700_000_000_000_000
    for step in range(points // METRICS):
        values = {f"metric_{metric}": step / 7 + metric for metric in range(METRICS)}
        line = {"kind": "metrics", "seq": step + 1, "time": start + step * 1000, "step": step, "values": values}
        file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


# -- the floor: the SDK's own batches, made beforehand, and its own reading, of one run


def floor_write(double: CometDouble) -> float:
    """Return the seconds that the SDK's connection needs for one run's points, a thousand a request."""
    from comet_ml.batch_utils import MessageBatchItem
    from comet_ml.connection.connection_factory import get_rest_server_connection
    from comet_ml.messages import MetricMessage

    connection = get_rest_server_connection(double.api_key, "f" * 32, server_address=double.url)
    connection.add_run("floor", "ann", offline=True)  # not where the runs are
    items = []
    for step in range(STEPS):
        for metric in range(METRICS):
            message = MetricMessage(timestamp=1_700_000_000_000 + step)
            message.set_metric(f"metric_{metric}", step / 7 + metric, step=step)
            items.append(MessageBatchItem(message))
    start = time.perf_counter()
    for first in range(0, len(items), 1000):
        connection.log_metrics_batch(items[first : first + 1000])
    return time.perf_counter() - start


def floor_read(double: CometDouble) -> float:
    """Return the seconds that the SDK needs to read one run's points."""
    from comet_ml.connection.connection_factory import get_rest_api_client

    client = get_rest_api_client("v2", server_address=double.url, api_key=double.api_key, check_version=False)
    start = time.perf_counter()
    client.get_all_experiment_metrics("f" * 32)
    return time.perf_counter() - start


def run(full: bool) -> None:
    if find_spec("comet_ml") is None:
        print("comet_ml is not installed: left out")
        return
    import multitrack as mt
    from services.comet.double import CometDouble

    runs = 50 if full else 5
    rows = []
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as text, CometDouble() as double:
        folder = Path(text)
        os.environ |= {"COMET_URL_OVERRIDE": double.url, "COMET_API_KEY": double.api_key}
        for _ in range(runs):
            write_run(folder / "store", METRICS * STEPS, fill)
        ways = {
            "local to Comet": (f"local:{folder}/store", "comet:team/"),
            "Comet to local": ("comet:team/", f"local:{folder}/back"),
        }
        for name, floor in (("floor: the SDK's batches", floor_write), ("floor: the SDK's reading", floor_read)):
            asked, seconds = double.requests, floor(double)
            rows.append((name, "1 of 1", f"{seconds:.2f} s", rate(METRICS * STEPS, seconds), str(double.requests - asked)))
        for name, (source, destination) in ways.items():
            asked, start = double.requests, time.perf_counter()
            report = mt.migrate(source, destination, staging=folder / name.replace(" ", "-"))
            seconds = time.perf_counter() - start
            arrived = sum(outcome.points == METRICS * STEPS for outcome in report.outcomes)
            requests = (double.requests - asked) / runs
            rows.append((name, f"{arrived} of {runs}", f"{seconds:.1f} s", rate(runs * METRICS * STEPS, seconds), f"{requests:.1f}"))
    show(f"{runs} runs x {METRICS} metrics x {STEPS:,} steps", ("", "runs", "time", "points", "requests a run"), rows)

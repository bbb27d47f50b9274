"""Migration of whole runs from one MLflow server to another, and from one sqlite database to another."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from measure import rate, show
from servers import MLflowServer, has_mlflow

METRICS, STEPS = 10, 1_000

# -- no floor does the same: what reading and writing cost by themselves is what the benchmarks `read` and `delivery` show


def fill(uri: str, runs: int) -> None:
    """Foreign runs, by MLflow's own client: params, tags, metrics, an artifact."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    client = MlflowClient(uri)
    experiment = client.create_experiment("bench")
    for number in range(runs):
        run_id = client.create_run(experiment, run_name=f"run {number}").info.run_id
        client.log_batch(run_id, params=[Param("lr", str(number / 10))], tags=[RunTag("team", "bench")])
        for metric in range(METRICS):
            metrics = [Metric(f"metric_{metric}", step / 7 + number, 1_700_000_000_000 + step, step) for step in range(STEPS)]
            client.log_batch(run_id, metrics)
        client.set_terminated(run_id)


def run(full: bool) -> None:
    import contextlib
    import io
    import os

    import multitrack as mt

    if not has_mlflow():
        return
    runs = 50 if full else 5
    rows = []
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as text:
        folder = Path(text)
        os.environ["MULTITRACK_DIR"] = str(folder / "store")
        with MLflowServer(folder / "one") as one, MLflowServer(folder / "two") as two:
            places = {
                "server to server": (one.url, two.url),
                "sqlite to sqlite": (f"sqlite:///{folder}/one.db", f"sqlite:///{folder}/two.db"),
            }
            for name, (source, destination) in places.items():
                with contextlib.redirect_stdout(io.StringIO()):
                    fill(source, runs)
                start = time.perf_counter()
                report = mt.migrate(f"mlflow:{source}", f"mlflow:{destination}", staging=folder / name.replace(" ", "-"))
                seconds = time.perf_counter() - start
                arrived = sum(outcome.points == METRICS * STEPS for outcome in report.outcomes)
                rows.append(
                    (name, f"{arrived} of {runs}", f"{seconds:.1f} s", rate(runs * METRICS * STEPS, seconds), f"{runs / seconds:.2f}/s")
                )
    show(f"{runs} runs x {METRICS} metrics x {STEPS:,} steps", ("", "runs", "time", "points", "runs a second"), rows)

"""A job that is preempted and goes on under the same id: on the disk that it had, and on an empty one."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from multitrack.journal import Journal, Store
from support.couriers import Bench, wait_for

pytestmark = pytest.mark.slow

RUN_ID = "preempted" + "0" * 23
JOB = """
start = int(sys.argv[1])
run = mt.init("p", "svc", id=ID, resume="allow", params={"lr": 0.1}, backends=[TARGET], capture=QUICK)
for step in range(start, start + 50):
    run.log({"loss": 1 / (step + 1)}, step=step)
    run.log({"steps": step})  # as a point without a step
print("ready", flush=True)
if start < 100:
    time.sleep(60)
"""


@pytest.mark.parametrize("disk", ["kept", "empty"])
def test_a_preempted_job_goes_on_as_one_run(bench: Bench, tmp_path: Path, database: Path, disk: str) -> None:
    """Twice: by the scheduler's SIGTERM, then without any warning."""
    address = f"mlflow:sqlite:///{database}"
    script = JOB.replace("ID", repr(RUN_ID)).replace("TARGET", repr(address))
    stores = [tmp_path / (f"disk{number}" if disk == "empty" else "disk") for number in range(3)]
    for number, number_of_signal in enumerate((signal.SIGTERM, signal.SIGKILL, None)):
        code = script.replace("sys.argv[1]", str(50 * number))
        process = bench.start(code, {"MULTITRACK_DIR": str(stores[number]), "MLFLOW_DISABLE_TELEMETRY": "true"})
        assert process.stdout is not None
        process.stdout.readline()
        if number_of_signal is not None:
            process.send_signal(number_of_signal)
        process.communicate(timeout=90)
        done = bench.multitrack("sync", "--timeout", "60", env={"MULTITRACK_DIR": str(stores[number])})
        assert done.returncode == 0, done.stdout + done.stderr

    def rows(query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(database) as connection:
            return connection.execute(query).fetchall()

    assert rows("select status, lifecycle_stage from runs") == [("FINISHED", "active")]
    wait_for(lambda: rows("select run_uuid from tags where key = 'multitrack.complete'"))
    assert rows("select step, value from metrics where key = 'loss' order by step") == [(step, 1 / (step + 1)) for step in range(150)]
    assert sorted(rows("select value from metrics where key = 'steps'")) == [(float(step),) for step in range(150)]
    (run,) = Store(stores[2]).runs()
    assert Journal(run).verdict().status == "finished"
    with mt.open(address) as service:  # read back through us
        view = service.run(RUN_ID)
        assert sorted(view.metrics("loss")["step"]) == list(range(150))
        assert sorted(view.metrics("steps")["value"]) == list(range(150))
        assert (view.status, view.params) == ("finished", {"lr": 0.1})

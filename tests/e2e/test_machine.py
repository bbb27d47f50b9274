"""The environment and the resources of scripts that say nothing about them: in the journal, and at MLflow."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import multitrack as mt
from multitrack.journal import Journal
from multitrack.records import Metrics
from support.couriers import Bench

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DEFAULT = {"MULTITRACK_CAPTURE": ""}
"""As if it were not set."""
TRAINING = """
open("multitrack.toml", "w").close()
open("requirements.txt", "w").write("numpy==2.1.0 --hash=sha256:ab\\n")
run = mt.init("p", "svc", backends=[{address!r}])
for step in range(3):
    run.log({{"loss": 1 / (step + 1)}}, step=step)
run.finish(timeout=200)
print(run.id)
"""


def test_mlflow_shows_them_where_its_users_look(bench: Bench, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    address = f"mlflow:sqlite:///{database}"
    variables = {**DEFAULT, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "3", "MY_TOKEN": "hunter2"}
    process = bench.start(TRAINING.format(address=address), variables)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    run_id = out.strip()
    with sqlite3.connect(database) as connection:
        points = connection.execute("select key, value, step from metrics where key like 'system/%'").fetchall()
        ((root,),) = connection.execute("select artifact_uri from runs").fetchall()
    steps = [step for key, _, step in points if key == "system/process_memory_usage_megabytes"]
    assert sorted(steps) == list(range(len(steps)))
    assert len(steps) >= 2, err
    assert {"system/system_memory_usage_percentage", "system/disk_available_megabytes", "system/network_receive_megabytes"} <= {
        key for key, *_ in points
    }
    files = Path(urlsplit(root).path)
    lines = (files / "multitrack/requirements.txt").read_text().splitlines()
    assert any(line.startswith("pydantic==") for line in lines)
    assert any(line.startswith("# multitrack: editable, in ") for line in lines)
    assert (files / "environment/requirements.txt").read_text() == "numpy==2.1.0 --hash=sha256:ab\n"
    (document,) = (files / "multitrack/environment").iterdir()
    assert json.loads(document.read_text())["python"] == ".".join(map(str, sys.version_info[:3]))

    with mt.open(address) as service:
        view = service.run(run_id)
        here = view.environment
        assert here is not None
        assert (here.variables["OMP_NUM_THREADS"], here.lock_files[0].name) == ("3", "environment/requirements.txt")
        assert set(view.summary) == {"loss"}
    assert not any(b"hunter2" in path.read_bytes() for path in everything(bench.folder, files))


def everything(*folders: Path) -> Iterator[Path]:
    return (path for folder in folders for path in folder.rglob("*") if path.is_file())


def test_ranks_on_two_machines(bench: Bench) -> None:
    """Two each: what a machine is, and what it does, is recorded once; what a process does, by each."""
    script = (
        "import socket\nname = 'node-' + str(int(os.environ['SLURM_PROCID']) // 2)\nsocket.gethostname = lambda: name\n"
        "capture = mt.Capture(code=False, console=False, system_interval=0.2)\n"
        "run = mt.init('p', 'svc', capture=capture, backends=[])\n"
        "open('ready' + os.environ['SLURM_PROCID'], 'w').close()\n"
        "deadline = time.monotonic() + 60\n"
        "while sum(os.path.exists(f'ready{i}') for i in range(4)) < 4 and time.monotonic() < deadline:\n    time.sleep(0.05)\n"
        "time.sleep(1.5)\nrun.finish()\n"
    )
    slurm = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "4711"}
    started = [bench.start(script, {**DEFAULT, **slurm, "SLURM_PROCID": str(rank)}) for rank in range(4)]
    for process in started:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    run = bench.only_run()
    by_writer: dict[str, set[str]] = {}
    hosts = []
    for writer in Journal(run).writers():
        for entry in writer.entries():
            record: Any = entry.record
            if isinstance(record, Metrics):
                by_writer.setdefault(writer.path.name, set()).update(record.values)
            elif record.kind == "environment":
                hosts.append((record.host, record.scheduler["SLURM_JOB_ID"]))
    assert sorted(hosts) == [("node-0", "4711"), ("node-1", "4711")]
    places = sorted(sorted({name.removeprefix("system/").rpartition("/")[0] for name in names}) for names in by_writer.values())
    assert places in ([[""], ["node-1", "rank_2"], ["rank_1"], ["rank_3"]], [[""], ["node-1", "rank_3"], ["rank_1"], ["rank_2"]])
    assert not (run.path / "locks").exists()

"""The demo, run as `make demo` runs it; what it claims is compared with what lies on the disk."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

MAIN = Path(__file__).parents[2] / "examples" / "demo" / "main.py"
SERVERS = ("north", "south", "archive")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Told(NamedTuple):
    """A demo that has ended."""

    output: Path
    text: str
    seconds: float


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The demo, told once for all tests."""
    output = tmp_path_factory.mktemp("demo") / "output"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(MAIN), "--output", str(output)], check=False, capture_output=True, text=True, timeout=600, env=environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Told(output, done.stdout, time.monotonic() - began)


def environment() -> dict[str, str]:
    """Return the environment, with settings that must not reach the demo."""
    return {**os.environ, "MULTITRACK_MODE": "disabled", "MULTITRACK_BACKENDS": "nonsense", "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}


def runs_told(demo: Told) -> dict[str, str]:
    """Return the runs of the table at the end: id to best accuracy."""
    rows = re.findall(r"^([0-9a-z]{32})  mlp .*?  (0\.\d{3})  +(\d+)  local, north, south, archive *$", demo.text, re.MULTILINE)
    return {id_: best for id_, best, _ in rows}


def processes_in(folder: Path) -> list[str]:
    """Return what runs in a folder, or on something in it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in text for text in (*process.cmdline(), process.cwd())):
                found.append(f"{process.pid} {process.cmdline()}")
        except psutil.Error:
            continue
    return found


def test_every_check_holds_within_five_minutes(demo: Told) -> None:
    assert re.search(r"^All \d\d checks held, after", demo.text, re.MULTILINE)
    assert "✗" not in demo.text
    assert demo.seconds < 300


def test_it_is_plain_text_where_no_terminal_is(demo: Told) -> None:
    assert "\x1b" not in demo.text
    assert "\r" not in demo.text


@pytest.mark.parametrize("server", SERVERS)
def test_each_server_has_what_the_demo_claims(demo: Told, server: str) -> None:
    told = runs_told(demo)
    assert len(told) == 4
    with closing(sqlite3.connect(demo.output / server / "mlflow.db")) as database:
        ids = database.execute("select value, run_uuid from tags where key = 'multitrack.run_id'").fetchall()
        assert {id_ for id_, _ in ids} == set(told)
        assert database.execute("select distinct status from runs").fetchall() == [("FINISHED",)]
        for id_, native in ids:
            points = database.execute("select key, step, value from metrics where run_uuid = ?", (native,)).fetchall()
            assert sorted(step for key, step, _ in points if key == "val/loss") == list(range(1, 41))
            assert f"{max(value for key, _, value in points if key == 'val/accuracy'):.3f}" == told[id_]
            data_sets = "select count(*) from inputs where destination_id = ? and source_type = 'DATASET'"
            assert database.execute(data_sets, (native,)).fetchone() == (2,)
            found = (demo.output / server / "artifacts").glob(f"*/{native}/artifacts/*")
            assert {path.name for path in found if path.is_file()} == {"model.joblib", "confusion.png"}


def test_south_was_behind_during_the_outage(demo: Told) -> None:
    during, after = demo.text.split("$ multitrack status --all")[1:]
    rows = re.findall(r"^  \| [0-9a-z]{32}  (mlp .*?)  +digits +south +(\w+) +(\d+) +(\d+)", during, re.MULTILINE)
    behind = {name: (state, int(there), int(to_go)) for name, state, there, to_go in rows}
    assert behind["mlp 16"][0] == "delivered"
    assert behind["mlp 64"][1] > 0
    assert behind["mlp 64"][2] > 0
    assert behind["mlp 48-24"][1] == 0
    assert len(re.findall(r" south +delivered ", after)) == 4


def test_no_process_is_left(demo: Told) -> None:
    assert processes_in(demo.output) == []


def test_the_commands_that_it_proposes_work(demo: Told) -> None:
    commands = [line.strip() for line in demo.text.partition("What you may type next")[2].splitlines() if line.startswith("  ")]
    commands = [command for command in commands if not command.startswith("#")]
    assert commands[0] == f"cd {demo.output}"
    *others, serve = commands[1:]
    printed = {}
    for command in others:
        done = subprocess.run(shlex.split(command), check=False, cwd=demo.output, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        printed[" ".join(shlex.split(command)[1:])] = done.stdout
    ids = runs_told(demo)
    assert all(id_ in printed["runs"] and id_ in printed["runs south-db"] for id_ in ids)
    assert "4 identical but for declared losses" in printed["verify local archive-db"]
    assert "4 migrated" in printed["migrate local mlflow:sqlite:///mine.db"]
    assert "model.hidden" in next(text for command, text in printed.items() if command.startswith("show "))
    assert serves_four_runs(serve, demo.output)


def serves_four_runs(command: str, folder: Path) -> bool:
    """Return whether a proposed `mlflow server`, on a port that is free, shows the runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [*shlex.split(command.replace("--port 5000", f"--port {port}")), "--workers", "1"]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(arguments, cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search"
        request = urllib.request.Request(url, json.dumps({"experiment_ids": ["1"]}).encode(), {"Content-Type": "application/json"})
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return len(json.load(answer)["runs"]) == 4
            except OSError:
                time.sleep(0.5)
        return False
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, sign: signal.Signals, code: int) -> None:
    output = tmp_path / "output"
    told = tmp_path / "told"
    with told.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", str(MAIN), "--output", str(output)], stdout=file, stderr=file, env=environment(), start_new_session=True
        )
    try:
        # In the middle of the first run: two servers, a third that starts, two couriers.
        deadline = time.monotonic() + 180
        while not list(output.glob(".multitrack/*/*/records/*.jsonl")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(processes_in(output)) >= 3, told.read_text()
        process.send_signal(sign)
        assert process.wait(timeout=60) == code, told.read_text()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in told.read_text()
    assert processes_in(output) == []


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = subprocess.run([sys.executable, str(MAIN), "--output", str(tmp_path)], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "--output" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "mine"

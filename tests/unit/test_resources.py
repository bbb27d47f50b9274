"""Resource usage of real processes, and who of several processes measures what."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from multitrack.capture import nvidia
from multitrack.capture.nodes import Node
from multitrack.capture.recorder import Recorder
from multitrack.capture.system import ResourceWatch
from multitrack.capture.system import watch as watching
from multitrack.capture.system.machine import Machine
from multitrack.capture.system.process import ProcessTree, tree
from multitrack.journal import RunFolder, Store
from multitrack.journal.locks import is_locked
from multitrack.journal.write import JournalWriter
from multitrack.masking import Mask
from multitrack.messages import host_name
from multitrack.records import MetricDefinition, Metrics, Record, RunStarted
from multitrack.state import fold, last_values
from multitrack.summary import read_summary
from support.nvml import Board, library

BUSY = "import time\nend = time.time() + {}\nwhile time.time() < end: pass\n"
PROCESS = {f"system/process_{name}" for name in ("memory_usage_megabytes", "count", "disk_read_megabytes", "disk_write_megabytes")}
MACHINE = {"system/system_memory_usage_percentage", "system/disk_available_megabytes", "system/network_receive_megabytes"}


@pytest.fixture
def start() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a Python program, which ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(code: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


# -- processes


def test_a_child_that_works_shows(start: Callable[[str], subprocess.Popen[bytes]]) -> None:
    processes = ProcessTree(os.getpid())
    before = processes.read()
    child = start(f"x = bytearray(100_000_000)\nprint(flush=True)\n{BUSY.format(60)}")
    assert child.stdout is not None
    child.stdout.readline()
    processes.read()
    used = psutil.Process(child.pid).cpu_times()
    began, first = time.monotonic(), used.user + used.system
    while psutil.Process(child.pid).cpu_times().user < first + 0.3:  # however slow the machine is
        time.sleep(0.05)
    share = 100 * 0.3 / (time.monotonic() - began)
    after = processes.read()
    assert after["process_count"] == before["process_count"] + 1
    assert after["process_memory_usage_megabytes"] > before["process_memory_usage_megabytes"] + 90
    assert after["process_cpu_utilization_percentage"] > share / 2


def test_a_child_that_came_and_went_between_two_samples_is_counted() -> None:
    processes = ProcessTree(os.getpid())
    processes.read()
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    took = time.monotonic() - began
    share = processes.read()["process_cpu_utilization_percentage"]
    assert share > 100 * 0.4 / (took + 0.1)


def test_a_childs_time_is_counted_once(start: Callable[[str], subprocess.Popen[bytes]]) -> None:
    """A child that was seen, and whose time becomes its parent's when it ends, does not count again."""
    processes = ProcessTree(os.getpid())
    child = start("import time\nwhile time.process_time() < 0.6: pass\nprint(flush=True)\ntime.sleep(60)")
    assert child.stdout is not None
    child.stdout.readline()
    processes.read()
    child.kill()
    child.wait()
    time.sleep(0.5)
    assert processes.read()["process_cpu_utilization_percentage"] < 60


def test_couriers_are_left_aside(start: Callable[[str], subprocess.Popen[bytes]]) -> None:
    ours: set[int] = set()
    processes = ProcessTree(os.getpid(), lambda: ours)
    alone = processes.read()["process_count"]
    courier = start(f"print(flush=True)\n{BUSY.format(60)}")
    ours.add(courier.pid)
    assert courier.stdout is not None
    courier.stdout.readline()
    processes.read()
    time.sleep(0.5)
    found = processes.read()
    assert found["process_count"] == alone
    assert found["process_cpu_utilization_percentage"] < 50
    courier.kill()
    courier.wait()
    ours.clear()
    time.sleep(0.2)
    assert processes.read()["process_cpu_utilization_percentage"] < 100


def test_grandchildren_belong_to_the_tree(start: Callable[[str], subprocess.Popen[bytes]]) -> None:
    code = (
        "import subprocess, sys\np = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True)\ntry:\n    p.wait(60)\nfinally:\n    p.kill()"
    )
    child = start(code)
    assert child.stdout is not None
    grandchild = int(child.stdout.readline())
    try:
        assert {os.getpid(), child.pid, grandchild} <= set(tree(os.getpid()))
    finally:
        psutil.Process(grandchild).kill()


def test_a_process_that_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert ProcessTree(process.pid).read() == {}


# -- the machine


def limited(root: Path, **files: str) -> Path:
    everything = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }
    for name, text in everything.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_what_the_control_groups_allow_is_the_whole(tmp_path: Path) -> None:
    half = {"cpu.max": "50000 100000", "cpu.stat": "usage_usec 1000000", "memory.max": "1000000000", "memory.current": "250000000"}
    root = limited(tmp_path, **half)
    machine = Machine(tmp_path, root)
    first = machine.read()
    assert (first["system_memory_usage_megabytes"], first["system_memory_usage_percentage"]) == (250, 25)
    assert "cpu_utilization_percentage" not in first
    began = time.monotonic()
    time.sleep(0.2)
    limited(tmp_path, **{"cpu.stat": "usage_usec 1050000"})
    found = machine.read()["cpu_utilization_percentage"]
    took = time.monotonic() - began
    assert 100 * 0.05 / 0.5 / took * 0.9 <= found <= 100 * 0.05 / 0.5 / 0.2


def test_without_limits_it_is_the_machine(tmp_path: Path) -> None:
    machine = Machine(tmp_path, limited(tmp_path, **{"cpu.max": "max 100000", "memory.max": "max"}))
    found = machine.read()
    memory = psutil.virtual_memory()
    assert found["system_memory_usage_percentage"] == pytest.approx(100 * (1 - memory.available / memory.total), abs=10)
    assert found["disk_available_megabytes"] == pytest.approx(psutil.disk_usage(str(tmp_path)).free / 1e6, rel=0.1)
    assert found["disk_write_megabytes"] == 0
    time.sleep(0.3)
    assert 0 <= machine.read()["cpu_utilization_percentage"] <= 100


# -- the watch


class Run:
    """A journal's folder, and the processes that record into it."""

    def __init__(self, root: Path) -> None:
        self.folder = RunFolder(Store(root).folder("p", "1" * 32).path)
        self.folder.create()

    def recorder(self, **fields: Any) -> tuple[Recorder, list[Record]]:
        written: list[Record] = []
        return Recorder(folder=self.folder, write=written.append, mask=Mask(), **{"system_interval": 3600.0, **fields}), written

    def watch(self, **fields: Any) -> list[Metrics]:
        """Return the rows of one that starts and stops."""
        recorder, written = self.recorder(**fields)
        watch = ResourceWatch(recorder)
        watch.start()
        watch.stop(30)
        return [record for record in written if isinstance(record, Metrics)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def names(rows: list[Metrics]) -> set[str]:
    return {name for row in rows for name in row.values}


def test_a_short_run_has_a_row_whatever_the_interval_and_is_not_kept_waiting(run: Run) -> None:
    recorder, written = run.recorder()
    watch = ResourceWatch(recorder)
    watch.start()
    deadline = time.monotonic() + 20
    while not written and time.monotonic() < deadline:
        time.sleep(0.01)
    began = time.monotonic()
    watch.stop(30)
    assert time.monotonic() - began < 1
    first, last = written
    assert isinstance(first, Metrics)
    assert isinstance(last, Metrics)
    assert first.source == last.source == "system"
    assert names([first]) >= PROCESS | MACHINE
    assert first.time < last.time


def test_rows_come_at_the_interval(run: Run) -> None:
    recorder, written = run.recorder(system_interval=0.1)
    watch = ResourceWatch(recorder)
    watch.start()
    deadline = time.monotonic() + 20
    while len(written) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    watch.stop(30)
    times = [record.time for record in written]
    assert times == sorted(times)
    assert times[2] - times[0] >= 150_000
    count = len(written)
    time.sleep(0.3)
    assert len(written) == count


def test_what_fails_is_told_once_and_the_rest_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: object) -> dict[str, float]:
        raise RuntimeError("no such sensor")

    monkeypatch.setattr(Machine, "read", fail)
    recorder, written = run.recorder()
    watch = ResourceWatch(recorder)
    watch.start()
    with pytest.raises(watching.ResourceError, match="Machine: RuntimeError: no such sensor"):
        watch.stop(30)
    assert written
    assert not any(name in MACHINE for record in written if isinstance(record, Metrics) for name in record.values)


def test_accelerators_without_nvidias_package_are_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multitrack.capture.system.gpus.present", lambda _root: True)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    recorder, written = run.recorder()
    watch = ResourceWatch(recorder)
    watch.start()
    with pytest.raises(watching.ResourceError, match=r"GPUs: .*pip install"):
        watch.stop(30)
    assert written


def test_a_run_that_has_ended_without_waiting(run: Run) -> None:
    def refuse(_record: Record) -> None:
        raise ValueError("the run has ended")

    watch = ResourceWatch(Recorder(folder=run.folder, write=refuse, mask=Mask()))
    watch.start()
    watch.stop(30)


def test_a_forked_child_does_not_measure(tmp_path: Path) -> None:
    code = f"""
import os, sys, time, threading
import multitrack as mt
run = mt.init("p", dir={str(tmp_path / "store")!r}, quiet=True,
    capture=mt.Capture(code=False, environment=False, console=False, system_interval=0.1))
time.sleep(0.5)
pid = os.fork()
if pid == 0:
    time.sleep(0.5)
    run.log({{"child": 1}})
    os._exit([thread.name for thread in threading.enumerate()].count("multitrack-resources"))
assert os.waitpid(pid, 0)[1] == 0
run.finish()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
    store = Store(tmp_path / "store")
    (folder,) = store.runs()
    of_child = [path.read_text() for path in folder.records.glob("*.jsonl") if '"child"' in path.read_text()]
    assert len(of_child) == 1
    assert "system/" not in of_child[0]


def test_what_was_used_is_no_result_unless_it_is_defined(tmp_path: Path) -> None:
    folder = Run(tmp_path).folder
    records: list[Record] = [
        RunStarted(time=0, id=folder.id, project="p"),
        Metrics(time=1, values={"loss": 0.5}),
        Metrics(time=2, values={"system/process_count": 4, "system/process_memory_usage_megabytes": 9}, source="system"),
        Metrics(time=3, values={"system/process_count": 2, "system/process_memory_usage_megabytes": 1}, source="system"),
        MetricDefinition(time=4, name="system/process_memory_usage_megabytes", summary="max"),
    ]
    writer = JournalWriter(folder)
    for record in records:
        writer.append(record)
    writer.close()
    expected = {"loss": 0.5, "system/process_memory_usage_megabytes": 9}
    assert last_values(fold(records)) == expected
    assert read_summary(folder)["summary"] == expected
    assert read_summary(folder)["metrics"]["system/process_count"] == 2


# -- several processes in one run


def begin(run: Run, host: str | None) -> None:
    """Write the record that opens the run, as its leader on `host` does."""
    writer = JournalWriter(run.folder)
    writer.append(RunStarted(time=0, id=run.folder.id, project="p", host=host))
    writer.close()


def test_a_rank_on_the_leaders_machine_measures_itself(run: Run) -> None:
    begin(run, host_name())
    found = names(run.watch(joined=True, rank=3))
    assert {name.replace("process", "rank_3/process") for name in PROCESS} <= found
    assert all(name.startswith("system/rank_3/") for name in found)


def test_on_another_machine_one_of_them_measures_it(run: Run) -> None:
    begin(run, "elsewhere")
    first, second = run.recorder(joined=True, rank=4), run.recorder(joined=True, rank=5)
    one, other = ResourceWatch(first[0]), ResourceWatch(second[0])
    one.start()
    deadline = time.monotonic() + 20
    while not first[1] and time.monotonic() < deadline:
        time.sleep(0.01)
    other.start()
    other.stop(30)
    one.stop(30)
    host = f"system/{host_name()}/"
    of_first = names([record for record in first[1] if isinstance(record, Metrics)])
    of_second = names([record for record in second[1] if isinstance(record, Metrics)])
    assert {f"{host}disk_available_megabytes", "system/rank_4/process_count"} <= of_first
    assert "system/rank_5/process_count" in of_second
    assert not any(name.startswith(host) for name in of_second)
    assert not (run.folder.path / "locks").exists()


def test_a_worker_without_a_rank(run: Run) -> None:
    """On the leader's machine it is one of the leader's children; elsewhere one such process stands for its machine."""
    begin(run, host_name())
    assert run.watch(joined=True) == []
    other = Run(run.folder.path / "other")
    begin(other, "elsewhere")
    assert f"system/{host_name()}/process_count" in names(other.watch(joined=True))


def test_each_accelerator_is_measured_by_one_rank(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multitrack.capture.system.gpus.present", lambda _root: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    begin(run, host_name())
    node = Node(run.recorder(joined=True, rank=1)[0])
    assert node.claim("GPU-b")
    with library(Board(uuid="GPU-a", minor=0), Board(uuid="GPU-b", minor=1)):
        rows = run.watch(rank=0)
        node.release()
        assert {name for name in names(rows) if "gpu" in name and "temperature" in name} == {"system/gpu_0_temperature_celsius"}
        assert "system/gpu_1_temperature_celsius" in names(run.watch(rank=0))
    assert not nvidia.present(run.folder.path)


def test_a_claim_ends_with_its_holder(run: Run) -> None:
    begin(run, "elsewhere")
    one, other = Node(run.recorder(joined=True, rank=1)[0]), Node(run.recorder(joined=True, rank=2)[0])
    assert [one.claim("x"), one.claim("x"), other.claim("x"), other.claim("y")] == [True, True, False, True]
    assert [is_locked(path) for path in (run.folder.path / "locks").iterdir()] == [True, True]
    one.release()
    assert other.claim("x")
    other.release()
    assert not (run.folder.path / "locks").exists()

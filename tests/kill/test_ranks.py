"""Many threads, processes and ranks on one run: of one store, and of several."""

from __future__ import annotations

import sqlite3
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from multitrack.backend import EVERYTHING
from multitrack.delivery import Ledger
from multitrack.journal import Journal, RunFolder
from multitrack.records import Metrics
from support.couriers import Bench, wait_for
from support.journals import expected_entries
from support.scripts import Scripts

pytestmark = pytest.mark.slow


def torchrun(rank: int, size: int = 4, *, local: int | None = None, **more: str) -> dict[str, str]:
    """What torchrun sets; `local` is how many of the ranks are on this machine."""
    return {
        "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(local or size),
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", **more,
    }  # fmt: skip


def slurm(rank: int, size: int = 2, **more: str) -> dict[str, str]:
    """What `srun` sets."""
    own = {"SLURM_PROCID": str(rank), "SLURM_STEP_NUM_TASKS": str(size), "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "4711"}
    return {**own, **more}


def points_of(run: RunFolder) -> Counter[tuple[str, Any]]:
    """How often each point, by its metric and value, is in the journal."""
    rows = (record for record in Journal(run).records() if isinstance(record, Metrics))
    return Counter((name, value) for row in rows for name, value in row.values.items())


def kinds_of(run: RunFolder) -> Counter[str]:
    return Counter(record.kind for record in Journal(run).records())


def assert_at_service(bench: Bench, service: str, run: RunFolder) -> None:
    """Everything is there once, in the order of the batches."""
    target = next(ledger.target for ledger in Ledger.of(run) if str(ledger.read_target()["location"]).endswith(f"/{service}"))
    wait_for(lambda: Ledger(run, target).progress().done)  # a late rank may have ended after the run was concluded
    stored = bench.service(service).run(run.id)
    assert stored is not None
    found = [(entry.writer, entry.seq, entry.record) for entry in stored.entries()]
    assert found == [(entry.writer, entry.seq, entry.record) for entry in expected_entries(run, target, EVERYTHING)]
    assert len(found) == sum(1 for _ in Journal(run).entries())
    assert stored.marker is not None


# -- threads and processes


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_eight_threads_and_four_processes_on_one_run(tmp_path: Path, method: str) -> None:
    scripts = Scripts(tmp_path)
    ended = scripts.run(
        f"""
        import multiprocessing as mp, os, threading

        def log(name):
            for step in range(200):
                mt.log({{name: step}}, step=step)

        def work(name):
            if mp.get_start_method() == "spawn":
                mt.init("p", capture=QUICK)  # joins, by MULTITRACK_RUN_ID
            threads = [threading.Thread(target=log, args=(f"{{name}}/{{i}}",)) for i in range(8)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]

        if __name__ == "__main__":
            mp.set_start_method({method!r})
            run = mt.init("p", "parent", capture=QUICK)
            os.environ["MULTITRACK_RUN_ID"] = run.id
            processes = [mp.Process(target=work, args=(f"process{{i}}",)) for i in range(4)]
            [process.start() for process in processes]
            threads = [threading.Thread(target=log, args=(f"main/{{i}}",)) for i in range(8)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            [process.join() for process in processes]
            assert [process.exitcode for process in processes] == [0] * 4
        """
    )
    assert ended.status == "finished"
    state = ended.state
    names = [f"{who}/{i}" for who in ("main", "process0", "process1", "process2", "process3") for i in range(8)]
    assert points_of(ended.folder) == Counter({(name, step): 1 for name in names for step in range(200)})
    for name in names:  # each thread's own order is kept
        assert state.metrics[name].steps == list(range(200))
    assert kinds_of(ended.folder)["run_started"] == kinds_of(ended.folder)["run_finished"] == 1
    assert len(ended.journal.writers()) == 5


def test_a_fork_in_the_middle_while_couriers_deliver(bench: Bench) -> None:
    _, err = bench.run(
        """
import threading
run = mt.init("p", backends=[address("one"), address("two")])
stop = threading.Event()
def beside():
    step = 0
    while not stop.is_set():
        run.log({"beside": step}, step=step)
        step += 1
        time.sleep(0.0005)
thread = threading.Thread(target=beside)
thread.start()
pids = []
for child in range(6):  # the other thread may hold any lock just then
    time.sleep(0.02)
    pid = os.fork()
    if not pid:
        for step in range(50):
            run.log({f"child{child}": step}, step=step)
        os._exit(0)
    pids.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 6
stop.set()
thread.join()
run.finish(timeout=60)
"""
    )
    run = bench.only_run()
    found = points_of(run)
    assert all(found[f"child{child}", step] == 1 for child in range(6) for step in range(50)), err
    assert set(found.values()) == {1}
    assert_at_service(bench, "one", run)
    assert_at_service(bench, "two", run)


def test_a_cell_that_is_run_twice_ends_the_first_run(tmp_path: Path) -> None:
    ended = Scripts(tmp_path).run(
        """
        cell = compile("run = mt.init('p', 'cell', capture=QUICK)\\nfor i in range(3): run.log({'i': i}, step=i)", "<cell>", "exec")
        for _ in range(2):
            exec(cell, globals())
        """
    )
    runs = list(ended.store.runs())
    assert len(runs) == 2
    assert {Journal(run).verdict().status for run in runs} == {"finished"}
    assert all(points_of(run) == Counter({("i", i): 1 for i in range(3)}) for run in runs)
    assert ended.err.count("is finished, since another one starts") == 1


# -- ranks of one store

RANKS = """
rank = os.environ.get("RANK") or os.environ["SLURM_PROCID"]
time.sleep(float(os.environ.get("LATE", 0)))
run = mt.init("p", "svc", params={"lr": 0.1}, backends=[address("one")], capture=QUICK)
for step in range(100):
    run.log({f"rank{rank}": step}, step=step)
    time.sleep(0.002)
run.finish(timeout=30)
print(run.id)
"""


def end(*processes: subprocess.Popen[str]) -> list[tuple[str, str]]:
    ended = [process.communicate(timeout=90) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), ended
    return ended


@pytest.mark.parametrize("late", [0, 2])
def test_torchruns_ranks_write_into_one_run(bench: Bench, late: int) -> None:
    """The others' order does not matter; one of them is late, and the first one may be."""
    ended = end(*(bench.start(RANKS, {**torchrun(rank), "LATE": "1.5" if rank == late else "0"}) for rank in range(4)))
    run = bench.only_run()
    assert {out.strip() for out, _ in ended} == {run.id}
    assert points_of(run) == Counter({(f"rank{rank}", step): 1 for rank in range(4) for step in range(100)})
    kinds = kinds_of(run)
    assert (kinds["run_started"], kinds["hyperparameters"], kinds["run_finished"]) == (1, 1, 1)
    assert Journal(run).verdict().status == "finished"
    assert sum("has it whole" in err for _, err in ended) == 1
    assert sum("this process's part of it has ended" in err for _, err in ended) == 3
    assert_at_service(bench, "one", run)


def test_several_runs_in_one_job(bench: Bench) -> None:
    script = RANKS.replace("run = mt.init", "mt.init('p', 'first', capture=QUICK)\nrun = mt.init")
    end(*(bench.start(script, slurm(rank)) for rank in range(2)))
    runs = {Journal(run).started().name: run for run in bench.store.runs()}
    assert set(runs) == {"first", "svc"}
    assert points_of(runs["svc"]) == Counter({(f"rank{rank}", step): 1 for rank in range(2) for step in range(100)})


def test_a_requeued_job_has_a_new_run_unless_it_is_to_go_on(bench: Bench) -> None:
    end(*(bench.start(RANKS, slurm(rank)) for rank in range(2)))
    end(*(bench.start(RANKS, slurm(rank, SLURM_RESTART_COUNT="1")) for rank in range(2)))
    assert len(list(bench.store.runs())) == 2
    again = RANKS.replace("params=", "resume='allow', params=").replace("range(100)", "range(100 * START, 100 * START + 100)")
    for restart in range(2):
        script = again.replace("START", str(restart))
        end(*(bench.start(script, slurm(rank, SLURM_JOB_ID="4712", SLURM_RESTART_COUNT=str(restart))) for rank in range(2)))
    (run,) = (run for run in bench.store.runs() if ("rank0", 199) in points_of(run))
    assert len(list(bench.store.runs())) == 3
    assert points_of(run) == Counter({(f"rank{rank}", step): 1 for rank in range(2) for step in range(200)})
    assert Journal(run).verdict().status == "finished"
    assert_at_service(bench, "one", run)


def test_ranks_may_be_told_to_be_for_themselves(bench: Bench) -> None:
    end(*(bench.start(RANKS, {**torchrun(rank, 2), "MULTITRACK_RANKS": "0"}) for rank in range(2)))
    assert len(list(bench.store.runs())) == 2


def test_a_launch_without_a_name_says_what_to_do(bench: Bench) -> None:
    ended = end(*(bench.start(RANKS, torchrun(rank, 2, local=1)) for rank in range(2)))
    assert all("set MULTITRACK_RUN_ID" in err for _, err in ended)
    assert len(list(bench.store.runs())) == 2


# -- ranks with a store each


@pytest.mark.parametrize("last", [0, 1])
def test_ranks_with_separate_stores_are_one_run_at_mlflow(bench: Bench, tmp_path: Path, database: Path, last: int) -> None:
    """Whichever of them ends last."""
    script = RANKS.replace('address("one")', repr(f"mlflow:sqlite:///{database}"))
    script = script.replace("run.finish(timeout=30)", f"time.sleep(4 if rank == '{last}' else 0)\nrun.finish(timeout=60)")
    env = {"MLFLOW_DISABLE_TELEMETRY": "true"}
    stores = [tmp_path / f"node{rank}" for rank in range(2)]
    end(*(bench.start(script, {**slurm(rank), **env, "MULTITRACK_DIR": str(stores[rank])}) for rank in range(2)))

    def rows(query: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(database) as connection:
            return connection.execute(query).fetchall()

    for store in stores:  # a busy machine's couriers may not have come to their end yet
        done = bench.multitrack("sync", "--timeout", "120", env={"MULTITRACK_DIR": str(store)})
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(rows("select run_uuid from tags where key = 'multitrack.complete'")) == 1
    assert rows("select status, lifecycle_stage from runs") == [("FINISHED", "active")]
    wanted = sorted((f"rank{rank}", float(step), step) for rank in range(2) for step in range(100))
    assert sorted(rows("select key, value, step from metrics")) == wanted
    parts = {rank: next(iter(mt.open(f"local:{stores[rank]}").runs())) for rank in range(2)}
    assert parts[0].id == parts[1].id
    assert {view.status for view in parts.values()} == {"finished"}
    with mt.open(f"mlflow:sqlite:///{database}") as service:
        view = service.run(parts[0].id)
        assert {name: len(view.metrics(name)) for name in ("rank0", "rank1")} == {"rank0": 100, "rank1": 100}
        assert view.params == {"lr": 0.1}

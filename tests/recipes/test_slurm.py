"""A Slurm job, its preemption and its requeue. There is no Slurm here: its variables, its `srun` and its signals are played."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from multitrack.records import Metrics
from support.couriers import wait_for
from support.recipes import Recipe, following

pytestmark = pytest.mark.slow
EPOCHS = 20
SRUN = """#!/bin/bash
# One task of step 0, or as many as the job has been given, each with what Slurm tells it.
export SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=${SLURM_NTASKS:-1}
for ((task = 0; task < SLURM_STEP_NUM_TASKS; task++)); do SLURM_PROCID=$task "$@" & tasks+=($!); done
for task in "${tasks[@]}"; do wait "$task" || code=$?; done
exit ${code:-0}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Recipe]:
    with following("slurm", tmp_path) as recipe:
        recipe.write("bin/srun", SRUN).chmod(0o755)
        recipe.write("job.sh", recipe.block("bash"))
        # An epoch takes long enough to be interrupted, and waits while a file says so.
        slow = "while Path('wait').exists(): __import__('time').sleep(0.02)\n        loss = 1 / (epoch + 1)"
        recipe.write("train.py", recipe.block("python"), {"loss = 1 / (epoch + 1)": "if epoch >= 7:\n            " + slow})
        yield recipe


def submit(cluster: Recipe, attempt: int, **variables: str) -> subprocess.Popen[str]:
    """Start the job as Slurm does; the requeued one finds the same id and a higher count."""
    job = {
        "SLURM_JOB_ID": "4711",
        "SLURM_CLUSTER_NAME": "test",
        "SLURM_SUBMIT_DIR": str(cluster.folder),
        "SLURM_RESTART_COUNT": str(attempt),
    }
    path = f"{cluster.folder / 'bin'}:{cluster.env['PATH']}"
    env = {**cluster.env, **job, "MULTITRACK_BACKENDS": "team", "PATH": path, **variables}
    return cluster.launch("bash", "job.sh", env=env)


def logged(cluster: Recipe) -> int:
    runs = list(cluster.store.runs())
    return sum(isinstance(record, Metrics) for record in cluster.journal().records()) if runs else 0


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGTERM, "killed"), (signal.SIGKILL, "crashed")])
def test_a_preempted_job_goes_on_with_its_run(cluster: Recipe, sign: signal.Signals, status: str) -> None:
    (cluster.folder / "wait").touch()
    job = submit(cluster, 0)
    wait_for(lambda: logged(cluster) >= 7)
    os.killpg(job.pid, sign)
    job.communicate(timeout=30)
    cluster.lose_power()  # the job's cgroup is emptied
    wait_for(lambda: not cluster.journal().is_alive())
    assert cluster.journal().verdict().status == status

    (cluster.folder / "wait").unlink()
    again = submit(cluster, 1)
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, out + err
    state = cluster.state()
    assert (state.status, state.params) == ("finished", {"lr": 0.1})
    steps = state.metrics["train/loss"].steps
    assert sorted(set(steps)) == list(range(EPOCHS))
    assert len(steps) <= EPOCHS + 1  # what was logged after the last checkpoint is logged again
    stored = cluster.stored("team")
    assert stored.marker is not None
    assert len([entry for entry in stored.entries() if isinstance(entry.record, Metrics)]) == len(steps)


def test_tasks_of_a_job_write_into_one_run(cluster: Recipe) -> None:
    job = submit(cluster, 0, SLURM_NTASKS="2")
    out, err = job.communicate(timeout=60)
    assert job.returncode == 0, out + err
    assert len(cluster.journal().writers()) == 2
    assert cluster.state().status == "finished"
    assert cluster.stored("team").marker is not None


def test_a_job_that_was_killed_for_good_is_delivered_by_the_one_that_waits_for_it(cluster: Recipe) -> None:
    (cluster.folder / "wait").touch()
    cluster.rule("team", "down")
    job = submit(cluster, 0)
    wait_for(lambda: logged(cluster) >= 7)
    os.killpg(job.pid, signal.SIGKILL)
    job.communicate(timeout=30)
    cluster.lose_power()
    cluster.rule("team", "down", on=False)
    wrapped = cluster.block("bash", 1).split('--wrap "')[1].split('"')[0]
    cluster.shell(wrapped)
    stored = cluster.stored("team")
    assert stored.concluded is not None
    assert stored.concluded["status"] == "crashed"
    assert len([entry for entry in stored.entries() if isinstance(entry.record, Metrics)]) == logged(cluster)

"""Who this process is among those that a launcher has started with it."""

from __future__ import annotations

import pytest

from multitrack.ranks import Rank, find_rank

PARENT = "agent"
TORCHRUN = {
    "RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "job-7", "TORCHELASTIC_RESTART_COUNT": "0",
    "MASTER_ADDR": "node1", "MASTER_PORT": "41234",
}  # fmt: skip
SLURM = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "4711"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_NAMESPACE": "prterun-node1-4242@1"}
MPICH = {"PMI_RANK": "1", "PMI_SIZE": "4", "PBS_JOBID": "99.head"}


def rank_of(env: dict[str, str], parent: str | None = PARENT) -> Rank:
    found = find_rank(env, parent)
    assert found is not None
    return found


def run_id(env: dict[str, str], parent: str | None = PARENT, *, goes_on: bool = False, occurrence: int = 0) -> str | None:
    return rank_of(env, parent).run_id("p", "train.py", occurrence, goes_on=goes_on)


@pytest.mark.parametrize(
    ("env", "launcher", "rank", "size"),
    [(TORCHRUN, "torchrun", 3, 8), (SLURM, "Slurm", 1, 2), (OPEN_MPI, "Open MPI", 0, 2), (MPICH, "MPICH", 1, 4)],
)
def test_launchers_are_known(env: dict[str, str], launcher: str, rank: int, size: int) -> None:
    found = rank_of(env)
    assert (found.launcher, found.rank, found.size, found.leads) == (launcher, rank, size, rank == 0)


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"RANK": "0", "WORLD_SIZE": "4"},  # set by hand, or by something that we do not know
        {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"},
        {**TORCHRUN, "RANK": "8"},
        {**TORCHRUN, "RANK": "one"},
        {**TORCHRUN, "MULTITRACK_RANKS": "0"},
        {**SLURM, "SLURM_STEP_ID": "4294967291"},  # the batch script
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "4711"},  # the shell of an allocation
        {**SLURM, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
    ],
)
def test_a_process_that_is_alone_has_no_rank(env: dict[str, str]) -> None:
    assert find_rank(env, PARENT) is None


@pytest.mark.parametrize("env", [TORCHRUN, SLURM, OPEN_MPI, MPICH])
@pytest.mark.parametrize("goes_on", [False, True])
def test_all_ranks_derive_the_same_id(env: dict[str, str], goes_on: bool) -> None:
    number = {"torchrun": "RANK", "Slurm": "SLURM_PROCID", "Open MPI": "OMPI_COMM_WORLD_RANK", "MPICH": "PMI_RANK"}[rank_of(env).launcher]
    # On two machines, the parents are different processes.
    ids = {run_id({**env, number: str(rank)}, f"agent {rank}", goes_on=goes_on) for rank in range(2)}
    assert len(ids) == 1
    assert len(ids.pop() or "") == 32


def test_launches_projects_programs_and_occurrences_are_told_apart() -> None:
    rank = rank_of(TORCHRUN)
    ids = {
        run_id(TORCHRUN),
        run_id(TORCHRUN, occurrence=1),
        run_id({**TORCHRUN, "MASTER_PORT": "41235"}),  # the same --rdzv-id another day
        run_id({**TORCHRUN, "TORCHELASTIC_RUN_ID": "job-8"}),
        run_id({**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1"}),
        rank.run_id("q", "train.py", 0, goes_on=False),
        rank.run_id("p", "eval.py", 0, goes_on=False),
        run_id(SLURM),
        run_id({**SLURM, "SLURM_STEP_ID": "1"}),
        run_id({**SLURM, "SLURM_RESTART_COUNT": "1"}),
    }
    assert len(ids) == 10


def test_a_job_that_is_started_again_may_go_on_with_its_run() -> None:
    again = {**SLURM, "SLURM_RESTART_COUNT": "2"}
    assert run_id(SLURM, goes_on=True) == run_id(again, goes_on=True)
    elastic = {**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1", "MASTER_PORT": "50000"}
    assert run_id(TORCHRUN, goes_on=True) == run_id(elastic, goes_on=True)


def test_on_one_machine_the_launchers_process_tells_launches_apart() -> None:
    env = {**TORCHRUN, "LOCAL_WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "none", "MASTER_PORT": "29500"}
    assert run_id(env, "agent") is not None
    assert run_id(env, "agent") != run_id(env, "another agent")


def test_a_launch_that_nothing_names_has_no_id() -> None:
    env = {**TORCHRUN, "TORCHELASTIC_RUN_ID": "none"}  # two machines: no process and no name is common to all ranks
    assert run_id(env) is None
    assert run_id(env, goes_on=True) is None
    assert run_id({**env, "SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"}) is not None
    assert run_id({"PMI_RANK": "1", "PMI_SIZE": "4"}) is None

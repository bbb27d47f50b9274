"""Ranks: processes that a launcher has started together to be one training, and that therefore write into one run.

Rank 0 begins the run, delivers it and ends it; the others join it and write files of their own. For that they must all know one run id
without talking to each other, so it is derived from what the launcher tells all of them and no other launch:

    torchrun   RANK, WORLD_SIZE; TORCHELASTIC_RUN_ID with MASTER_ADDR and MASTER_PORT, which a rendezvous draws anew each time
    Open MPI   OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE; PMIX_NAMESPACE
    MPICH      PMI_RANK, PMI_SIZE; the batch job (Intel MPI, MVAPICH and Cray MPICH do the same)
    Slurm      SLURM_PROCID, SLURM_STEP_NUM_TASKS; SLURM_JOB_ID with SLURM_STEP_ID and SLURM_RESTART_COUNT

Where all ranks are on one machine, the launcher's own process is part of it: no two launches share one.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

VARIABLE = "MULTITRACK_RANKS"
"""Set to 0: every process is for itself, whatever started it."""

_BATCH_STEPS = 4294967290
"""Slurm: step numbers from here on are no steps of tasks, but the batch script, the allocation and the like."""


@dataclass(frozen=True)
class Rank:
    """One process of a launch."""

    rank: int
    size: int
    launcher: str
    job: str | None
    """Names the job, for all of its ranks and each time it is started again; None where the launcher does not tell."""
    launch: str | None
    """Names this launch, for all of its ranks, and no other one; likewise."""

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def run_id(self, project: str, program: str, occurrence: int, *, goes_on: bool) -> str | None:
        """Return the id that all ranks derive for the same run; None where the launcher does not tell enough.

        Args:
            program: the script's name: a step of a job may run several, one after the other.
            occurrence: how many runs this process has begun before: a script's second `init` is each rank's second.
            goes_on: whether the job, started again, is to go on with the run that it had before.
        """
        identity = (self.job or self.launch) if goes_on else self.launch
        if identity is None:
            return None
        name = json.dumps([self.launcher, identity, project, program, occurrence])
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def find_rank(env: Mapping[str, str], parent: str | None = None) -> Rank | None:
    """Return this process's rank; None if it was started alone, or by nothing that we know.

    Args:
        env: the environment's variables.
        parent: names the process that has started this one.
    """
    if env.get(VARIABLE, "").strip().lower() in ("0", "false", "no", "off"):
        return None
    for launcher in (_torchrun, _open_mpi, _mpich, _slurm):
        rank = launcher(env, parent)
        if rank is not None:
            return rank if 0 <= rank.rank < rank.size and rank.size > 1 else None
    return None


def own_rank() -> Rank | None:
    """Return the rank of this process. A worker that a rank has started itself, by multiprocessing, has none."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        return None
    if find_rank(os.environ) is None:
        return None
    return find_rank(os.environ, _parent())


# -- launchers


def _torchrun(env: Mapping[str, str], parent: str | None) -> Rank | None:
    rank, size = _number(env, "RANK"), _number(env, "WORLD_SIZE")
    if rank is None or size is None or "TORCHELASTIC_RUN_ID" not in env:
        return None
    batch = _join(_batch_job(env), env.get("SLURM_STEP_ID"))
    # "none" is what torchrun calls a launch without --rdzv-id.
    given = env["TORCHELASTIC_RUN_ID"] if env["TORCHELASTIC_RUN_ID"] not in ("", "none") else None
    job = _join(batch, given)
    local = parent if env.get("LOCAL_WORLD_SIZE") == env["WORLD_SIZE"] else None
    drawn = _join(env.get("MASTER_ADDR"), env.get("MASTER_PORT")) if given else None
    again = _join(env.get("SLURM_RESTART_COUNT"), env.get("TORCHELASTIC_RESTART_COUNT"))
    return Rank(rank, size, "torchrun", job, _launch(job, local or drawn, again))


def _open_mpi(env: Mapping[str, str], parent: str | None) -> Rank | None:
    rank, size = _number(env, "OMPI_COMM_WORLD_RANK"), _number(env, "OMPI_COMM_WORLD_SIZE")
    if rank is None or size is None:
        return None
    local = parent if env.get("OMPI_COMM_WORLD_LOCAL_SIZE") == env["OMPI_COMM_WORLD_SIZE"] else None
    space = env.get("PMIX_NAMESPACE") or env.get("OMPI_MCA_ess_base_jobid") or env.get("OMPI_MCA_orte_ess_jobid")
    return Rank(rank, size, "Open MPI", _batch_job(env), _launch(_batch_job(env), local, space, env.get("SLURM_RESTART_COUNT")))


def _mpich(env: Mapping[str, str], parent: str | None) -> Rank | None:
    rank, size = _number(env, "PMI_RANK"), _number(env, "PMI_SIZE")
    if rank is None or size is None:
        return None
    local = parent if env.get("MPI_LOCALNRANKS") == env["PMI_SIZE"] else None
    job = _join(_batch_job(env), env.get("SLURM_STEP_ID"))
    return Rank(rank, size, "MPICH", job, _launch(job, local, env.get("SLURM_RESTART_COUNT")))


def _slurm(env: Mapping[str, str], _parent: str | None) -> Rank | None:
    rank, step = _number(env, "SLURM_PROCID"), _number(env, "SLURM_STEP_ID")
    size = _number(env, "SLURM_STEP_NUM_TASKS") or _number(env, "SLURM_NTASKS")
    if rank is None or size is None or step is None or step >= _BATCH_STEPS or "SLURM_JOB_ID" not in env:
        return None
    job = _join(_batch_job(env), str(step))
    return Rank(rank, size, "Slurm", job, _launch(job, env.get("SLURM_RESTART_COUNT")))


# -- what identifies


def _batch_job(env: Mapping[str, str]) -> str | None:
    if "SLURM_JOB_ID" in env:
        return _join(env.get("SLURM_CLUSTER_NAME"), env["SLURM_JOB_ID"])
    return env.get("PBS_JOBID") or env.get("LSB_JOBID")


def _launch(*parts: str | None) -> str | None:
    """Return what tells launches apart; None where there is nothing but a count of restarts."""
    return _join(*parts) if any(parts[:-1]) else None


def _join(*parts: str | None) -> str | None:
    kept = [part for part in parts if part]
    return json.dumps(kept) if kept else None


def _number(env: Mapping[str, str], name: str) -> int | None:
    text = env.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else None


def _parent() -> str | None:
    import psutil

    try:
        parent = psutil.Process(os.getppid())
        return json.dumps([os.uname().nodename, parent.pid, parent.create_time()])
    except psutil.Error:
        return None


# -- several runs in one job

_begun: Counter[tuple[str, str]] = Counter()


def next_run_id(rank: Rank, project: str, *, goes_on: bool) -> str | None:
    """Return the id of the run that this process and the other ranks begin now, each for itself; None as `Rank.run_id`."""
    program = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119 - a name, not a path
    run_id = rank.run_id(project, program, _begun[project, program], goes_on=goes_on)
    _begun[project, program] += 1
    return run_id

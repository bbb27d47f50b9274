"""Who has started this process: batch systems, orchestrators, launchers, by the variables that they set."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...records import ParamValue

JOB_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "slurm": (
        "SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_JOB_PARTITION", "SLURM_JOB_QOS", "SLURM_JOB_ACCOUNT", "SLURM_CLUSTER_NAME",
        "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "SLURM_JOB_NODELIST", "SLURM_JOB_NUM_NODES",
        "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_CPUS_PER_TASK", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE",
        "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURMD_NODENAME",
    ),
    "pbs": ("PBS_JOBID", "PBS_JOBNAME", "PBS_QUEUE", "PBS_ARRAY_INDEX", "PBS_NODENUM", "PBS_NUM_NODES", "PBS_NP", "PBS_TASKNUM"),
    "lsf": ("LSB_JOBID", "LSB_JOBNAME", "LSB_QUEUE", "LSB_JOBINDEX", "LSB_HOSTS", "LSB_DJOB_NUMPROC"),
    "kubernetes": ("POD_NAME", "POD_NAMESPACE", "NODE_NAME", "JOB_NAME", "JOB_COMPLETION_INDEX"),
    "torchrun": (
        "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK",
        "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT",
    ),
    "open_mpi": (
        "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
        "OMPI_COMM_WORLD_NODE_RANK",
    ),
    "mpich": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    "ray": ("RAY_JOB_ID", "RAY_CLUSTER_NAME"),
}  # fmt: skip
"""What each of them calls its things. The first variable of each tells whether it is at work, Kubernetes aside."""

_MARKS = {"kubernetes": "KUBERNETES_SERVICE_HOST"}
_NAMESPACE = "var/run/secrets/kubernetes.io/serviceaccount/namespace"


def find_job(env: Mapping[str, str], root: Path = Path("/")) -> dict[str, ParamValue]:
    """Return what they say of this process, under their own words, such as `{"SLURM_JOB_ID": "71"}`; nothing if it was started by hand."""
    found: dict[str, Any] = {}
    for system, names in JOB_VARIABLES.items():
        if env.get(_MARKS.get(system, names[0])):
            found |= {name: env[name] for name in names if env.get(name)}
            if system == "kubernetes":
                found |= _kubernetes(env, root, found)
    return found | _ray()


def _kubernetes(env: Mapping[str, str], root: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """A pod that nobody has told its name knows it by its host name, and its namespace by a file."""
    more = {}
    if "POD_NAME" not in found and env.get("HOSTNAME"):
        more["POD_NAME"] = env["HOSTNAME"]
    if "POD_NAMESPACE" not in found:
        with contextlib.suppress(OSError):
            more["POD_NAMESPACE"] = (root / _NAMESPACE).read_text(encoding="utf-8", errors="replace").strip()
    return more


def _ray() -> dict[str, Any]:
    """Ray's own words for this process, where it has connected to a cluster; nothing is imported for that."""
    ray = sys.modules.get("ray")
    try:
        if ray is None or not ray.is_initialized():
            return {}
        context = ray.get_runtime_context()
        ids = {"job": context.get_job_id(), "node": context.get_node_id(), "worker": context.get_worker_id(), "task": context.get_task_id()}
    except Exception:  # noqa: BLE001 - whatever Ray does, it is no reason to record nothing
        return {}
    return {f"ray_{name}_id": str(value) for name, value in ids.items() if value}

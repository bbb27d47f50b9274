"""The recorded command, run again, and the run that it records."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..config.variables import REPRODUCES
from ..masking import MASKED
from ..records import Environment
from ..state import RunState
from ..view import RunView
from .command import Command
from .moving import Moves, moved

_LEFT_OUT = ("MULTITRACK_RUN_ID", "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__")
_OF_THE_PLACE = (
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "HOSTNAME",
    "HOME",
    "USER",
)
"""Variables that say where a process runs, not how: they are this machine's."""
_OF_LAUNCHERS = (
    "MULTITRACK_",
    "SLURM_",
    "PBS_",
    "LSB_",
    "OMPI_",
    "PMI_",
    "KUBERNETES_",
    "RAY_",
    "TORCHELASTIC_",
    "PATH",
    "VIRTUAL_ENV",
    "CONDA_",
)
_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK", "NODE_RANK")


def variables_for(
    environ: Mapping[str, str], environment: Environment | None, prefix: Path, *, store: Path, original: str, moves: Moves
) -> dict[str, str]:
    """Return the environment variables to run a command with: the user's own, over them those that were recorded, and ours.

    Args:
        environ: the user's.
        environment: the recorded one; its selected variables are set again, but for those that belong to the machine or a launcher.
        prefix: the Python environment; its programs are found first.
        store: the local store to record into.
        original: the run that is repeated: an id, or `ADDRESS#ID`.
        moves: where folders of then are now.
    """
    variables = {name: value for name, value in environ.items() if name not in _LEFT_OUT}
    variables |= recorded_variables(environment, moves)
    variables["PATH"] = os.pathsep.join([str(prefix / "bin"), variables.get("PATH", os.defpath)])
    variables["VIRTUAL_ENV"] = str(prefix)
    variables["MULTITRACK_DIR"] = str(store)
    variables[REPRODUCES] = original
    return variables


def recorded_variables(environment: Environment | None, moves: Moves) -> dict[str, str]:
    """Return the recorded variables that say how a command runs, not where; of those that hold a credential nothing is known."""
    recorded = environment.variables if environment is not None else {}
    return {
        name: moved(value, moves)
        for name, value in recorded.items()
        if name not in _OF_THE_PLACE and name not in _RANKS and not name.startswith(_OF_LAUNCHERS) and MASKED not in value
    }


def execute(command: Command, variables: Mapping[str, str], *, to_stderr: bool = False) -> int:
    """Run a command on this terminal, and return its exit code; minus the signal's number where one ended it.

    Raises:
        OSError: it cannot be started.
    """
    stdout = sys.stderr.fileno() if to_stderr else None
    process = subprocess.Popen(list(command.arguments), cwd=command.folder, env=dict(variables), stdout=stdout)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the command has had it as well, and ends in its own way
            continue


def choose(original: RunState, found: Sequence[RunView]) -> RunView | None:
    """Return, of the runs that a command has recorded, the one that repeats the original: the first that is most like it."""

    def unlike(view: RunView) -> tuple[bool, bool, bool]:
        state = view.state
        return (state.parent is None) != (original.parent is None), state.name != original.name, state.params != original.params

    return min(found, key=unlike, default=None)

"""On which machine and software: Python and its packages, lock files, the operating system, the machine, container, job, variables.

python.py     the interpreter        packages.py     distributions and where they come from       lock_files.py   uv, poetry, ...
machine.py    system and hardware    container.py    docker, kubernetes, ...                      gpus.py         accelerators
jobs.py       Slurm, torchrun, ...   variables.py    the variables that may be recorded
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...messages import host_name
from ...records import ArtifactRef, Environment, Omission, now
from ..nodes import Node
from ..recorder import Recorder
from .container import find_container
from .gpus import find_gpus
from .jobs import find_job
from .lock_files import keep_lock_files
from .machine import find_machine
from .packages import installed
from .python import find_python
from .variables import selected


def capture_environment(recorder: Recorder) -> None:
    """Record the environment of this process: the leading one, and one on every other machine."""
    node = Node(recorder)
    if not node.is_mine("environment"):
        return
    if recorder.joined:
        atexit.register(node.release)  # for as long as this process lives, the others need not do the same
    locks, omitted = ([], []) if recorder.joined else keep_lock_files(Path.cwd(), recorder)
    variables = selected(os.environ, recorder.mask, recorder.environment_variables)
    recorder.write(environment(variables, locks, omitted))


def environment(
    variables: Mapping[str, str] | None = None, lock_files: Sequence[ArtifactRef] = (), omitted: Sequence[Omission] = ()
) -> Environment:
    """Return the environment of this process, with what was found out about it elsewhere."""
    packages = installed()
    gpus, lacking = find_gpus()
    container, image = find_container(os.environ)
    return Environment(
        time=now(),
        host=host_name(),
        packages=dict(packages.versions),
        sources=dict(packages.sources),
        installers=dict(packages.installers),
        lock_files=list(lock_files),
        container=container,
        image=image,
        scheduler=find_job(os.environ),
        variables=dict(variables or {}),
        omitted=[*omitted, *lacking],
        **find_python(),
        **find_machine(),
        **gpus,
    )

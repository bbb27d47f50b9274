"""On which machine and software: Python, its packages, the operating system, processors and memory."""

from __future__ import annotations

import os
import platform
from importlib.metadata import distributions
from pathlib import Path

from ..messages import host_name
from ..records import Environment, now
from .recorder import Recorder


def capture_environment(recorder: Recorder) -> None:
    """Record the environment of this process."""
    recorder.write(environment())


def environment() -> Environment:
    """Return the environment of this process."""
    import psutil

    return Environment(
        time=now(),
        host=host_name(),
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        packages=installed_packages(),
        os=platform.platform(),
        cpu=_cpu_model(),
        cpu_count=os.cpu_count(),
        memory=psutil.virtual_memory().total,
    )


def installed_packages() -> dict[str, str]:
    """Return the installed distributions: name to version, sorted. Of two with one name, imports take the first, and so do we."""
    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name and distribution.version:
            found.setdefault(name, distribution.version)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _cpu_model() -> str | None:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None

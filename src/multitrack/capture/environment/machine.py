"""The operating system and the hardware, accelerators left aside."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psutil

from ..cgroups import cpu_limit, memory_limit


def find_machine(root: Path = Path("/")) -> dict[str, Any]:
    """Return the fields of `Environment` about the system, processors and memory. `root` is where `proc`, `sys` and `etc` are."""
    cpu, memory = cpu_limit(root), memory_limit(root)
    libc = " ".join(filter(None, platform.libc_ver()))
    return {
        "os": platform.platform(),
        "distribution": _distribution(),
        "libc": libc or _musl(root),
        "architecture": platform.machine() or None,
        "cpu": _cpu_model(root),
        "cpu_count": os.cpu_count(),
        "cpu_physical": psutil.cpu_count(logical=False),
        "cpu_affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "cpu_limit": cpu.processors if cpu is not None else None,
        "memory": psutil.virtual_memory().total,
        "memory_limit": memory.size if memory is not None else None,
    }


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        version = platform.mac_ver()[0]
        return f"macOS {version}" if version else None


def _musl(root: Path) -> str | None:
    """Python tells glibc alone."""
    return "musl" if any((root / "lib").glob("ld-musl-*")) else None


def _cpu_model(root: Path) -> str | None:
    try:
        with (root / "proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None

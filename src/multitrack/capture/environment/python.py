"""The interpreter, and the environment that it belongs to."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any


def find_python() -> dict[str, Any]:
    """Return the fields of `Environment` about Python."""
    prefix = Path(sys.prefix)
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable or None,
        "prefix": sys.prefix,
        "prefix_kind": _kind(prefix),
        "conda_packages": conda_packages(prefix),
    }


def _kind(prefix: Path) -> str:
    if sys.prefix != sys.base_prefix:  # PEP 405
        return "venv"
    return "conda" if (prefix / "conda-meta").is_dir() else "system"


def conda_packages(prefix: Path) -> list[str]:
    """Return what conda or pixi has installed, Python packages or not, as `name=version=build`, sorted."""
    names = (path.name.removesuffix(".json") for path in (prefix / "conda-meta").glob("*.json"))
    # name-version-build: names may hold hyphens, the others may not.
    parts = [name.rsplit("-", 2) for name in names]
    return sorted("=".join(part) for part in parts if len(part) == 3)

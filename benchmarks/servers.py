"""Real MLflow servers on loopback: those that the tests start."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support.mlflow_server import MLflowServer

__all__ = ["MLflowServer", "has_mlflow"]


def has_mlflow() -> bool:
    """Return whether there is anything to measure; say so if not."""
    found = find_spec("mlflow") is not None
    if not found:
        print("mlflow is not installed: left out")
    return found

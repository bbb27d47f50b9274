"""Hyperparameters in whatever form a program has them, turned into what a record holds.

Libraries that hold settings are recognised where the program has imported them already; nothing is imported for their sake.
"""

from __future__ import annotations

from .given import Given
from .read import read_params, to_params

__all__ = ["Given", "read_params", "to_params"]

"""With which settings."""

from __future__ import annotations

from typing import Literal

from .base import ParamValue, Record


class Hyperparameters(Record):
    """Settings of the run, nested as the user nests them.

    Of several records in one run, each top-level name takes its last value; the earlier ones stay in the journal.
    """

    kind: Literal["hyperparameters"] = "hyperparameters"
    values: dict[str, ParamValue]

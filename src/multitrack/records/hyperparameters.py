"""With which settings."""

from __future__ import annotations

from typing import Literal

from .base import ParamValue, Record


class Hyperparameters(Record):
    """Settings of the run, nested as the user nests them.

    Of several records in one run, a mapping merges into the mapping of the same name, and anything else replaces what stood there;
    the earlier values stay in the journal.
    """

    kind: Literal["hyperparameters"] = "hyperparameters"
    values: dict[str, ParamValue]
    sources: dict[str, ParamValue] = {}
    """Where values come from, nested as they are: `default`, `command line`, `file conf/model.yaml`, ...; what is not known is left out."""

"""Configuration: what was asked for, where, and what comes of it.

    files.py      the project's and the user's files, and the line of each key
    variables.py  every setting and variable, in one table
    sources.py    precedence
    targets.py    a target: saved without secrets, restored, connected
    resolve.py    names, addresses and tables to targets
    filters.py    which records a target gets
    settings.py   `load_settings`, the way in

`load_settings` loads a backend only where one other than the local store is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .filters import Filters, Selection
from .settings import Settings, load_settings
from .sources import Origin
from .variables import Mode

if TYPE_CHECKING:
    from .targets import Target

__all__ = ["Filters", "Mode", "Origin", "Selection", "Settings", "Target", "load_settings"]


def __getattr__(name: str) -> object:
    if name == "Target":
        from .targets import Target

        return Target
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

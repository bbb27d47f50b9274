"""multitrack: record machine-learning experiments once, deliver them to any tracking service.

import multitrack as mt

with mt.init(project="digits", params={"lr": 0.1}) as run:
    run.log({"loss": 0.5}, step=1)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .capture import Capture
    from .errors import (
        AuthError,
        BackendError,
        ConfigError,
        MigrationError,
        MissingExtraError,
        MultitrackError,
        PermanentError,
        RecordError,
        RunExistsError,
        RunNotFoundError,
        TransientError,
        UnknownBackendError,
    )
    from .listing import Runs
    from .media.histogram import Histogram
    from .media.image import Image
    from .media.table import Table
    from .migration import MigrationReport, migrate
    from .read import Store, open
    from .run import Run
    from .session import current, init
    from .verification import VerificationReport, verify
    from .view import RunView, Series

_HOMES = {
    "Capture": "capture",
    "AuthError": "errors",
    "BackendError": "errors",
    "ConfigError": "errors",
    "MigrationError": "errors",
    "MissingExtraError": "errors",
    "MultitrackError": "errors",
    "PermanentError": "errors",
    "RecordError": "errors",
    "RunExistsError": "errors",
    "RunNotFoundError": "errors",
    "TransientError": "errors",
    "UnknownBackendError": "errors",
    "Runs": "listing",
    "MigrationReport": "migration",
    "migrate": "migration",
    "RunView": "view",
    "Series": "view",
    "Store": "read",
    "open": "read",
    "Histogram": "media.histogram",
    "Image": "media.image",
    "Table": "media.table",
    "Run": "run",
    "current": "session",
    "init": "session",
    "VerificationReport": "verification",
    "verify": "verification",
}

__all__ = [
    "AuthError",
    "BackendError",
    "Capture",
    "ConfigError",
    "Histogram",
    "Image",
    "MigrationError",
    "MigrationReport",
    "MissingExtraError",
    "MultitrackError",
    "PermanentError",
    "RecordError",
    "Run",
    "RunExistsError",
    "RunNotFoundError",
    "RunView",
    "Runs",
    "Series",
    "Store",
    "Table",
    "TransientError",
    "UnknownBackendError",
    "VerificationReport",
    "current",
    "init",
    "log",
    "migrate",
    "open",
    "verify",
]


def log(values: Mapping[str, Any], step: float | None = None, *, time: float | datetime | None = None) -> None:
    """Record metrics in the current run; see `Run.log`.

    Raises:
        ConfigError: there is no current run.
        TypeError, ValueError: an argument is wrong; nothing was written.
    """
    from .session import current

    current().log(values, step, time=time)


def __getattr__(name: str) -> Any:
    # Names are loaded when they are first used: `import multitrack` stays light in every process that only passes through.
    import importlib

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

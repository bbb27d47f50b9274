"""Comet's SDK, imported without what its import does to everybody else in the process.

What is used of it (`connection`, `batch_utils`, `messages`) is not its public face: the versions are bounded, and one outside is refused.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from types import ModuleType

from multitrack.errors import PermanentError

MINIMUM, BELOW = (3, 58), (4,)
_DURING_IMPORT = {
    "COMET_DISABLE_AUTO_LOGGING": "1",  # else it patches mlflow, torch, sklearn, ...: `mlflow.start_run` makes a run at Comet
    "COMET_ERROR_TRACKING_ENABLE": "0",
}
_PATIENCE = {
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_TOTAL": "1",
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_CONNECT": "1",
}
"""The SDK tries ten times, for up to half a minute; the waiting is done by delivery, which can be interrupted."""
_lock = threading.Lock()


def load_sdk() -> ModuleType:
    """Return `comet_ml`. Where it was not imported yet, it is without its patches, its exception hook and its handler on stderr.

    Raises:
        PermanentError: the installed version is not one that this backend was written for.
    """
    with _lock:
        for variable, value in _PATIENCE.items():
            os.environ.setdefault(variable, value)
        if "comet_ml" not in sys.modules:
            _check_version()
            _import_quietly()
        return sys.modules["comet_ml"]


def _check_version() -> None:
    from importlib.metadata import version

    installed = version("comet-ml")
    numbers = tuple(int(part) for part in installed.split(".")[:2] if part.isdigit())
    if not MINIMUM <= numbers < BELOW:
        raise PermanentError(
            f"comet-ml {installed} is installed; multitrack speaks to Comet through parts of it that it knows from "
            f"{'.'.join(map(str, MINIMUM))} to below {BELOW[0]}: pip install 'multitrack[comet]'"
        )


def _import_quietly() -> None:
    hook = sys.excepthook
    logger = logging.getLogger("comet_ml")
    handlers = list(logger.handlers)
    before = {variable: os.environ.get(variable) for variable in _DURING_IMPORT}
    os.environ.update(_DURING_IMPORT)
    try:
        importlib.import_module("comet_ml")
    finally:
        for variable, value in before.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value
        sys.excepthook = hook
    for handler in set(logger.handlers) - set(handlers):
        logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.WARNING)  # below that it tells of every request, and of the key in its body

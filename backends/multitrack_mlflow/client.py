"""Connections to MLflow: a client for a target."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multitrack.errors import ConfigError

from .failures import translated
from .location import DATABASES, SERVERS, complete, folder_of, sqlite_file
from .logins import with_login
from .settings import MLflowSettings

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["connect", "store_of", "translated"]

_lock = threading.Lock()
_asked: dict[str, int] = {}


def connect(location: str, settings: MLflowSettings) -> MlflowClient:
    """Return a client for the target at `location`, which has gone through `resolve`. A database is opened, a server not yet asked.

    Raises:
        ConfigError: a login was set for a location that takes none.
        BackendError: see `translated`.
    """
    uri, settings = complete(location, settings)
    has_login = any(value is not None for value in (settings.username, settings.password, settings.token))
    is_web = location.startswith(("http://", "https://"))
    if has_login and not is_web and not location.startswith(SERVERS):
        raise ConfigError(f"mlflow: {location} takes no username, password or token from multitrack's settings; use the plugin's own login")
    _limit("MLFLOW_HTTP_REQUEST_TIMEOUT", settings.timeout, 60)
    _limit("MLFLOW_HTTP_REQUEST_MAX_RETRIES", settings.retries, 1)
    if folder_of(location):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    with translated(f"connecting to {location}"):
        from mlflow import MlflowClient

        if is_web and has_login:
            uri = with_login(uri, settings)
        elif location.startswith(DATABASES):
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of every table that it makes
            _try_database(uri)
        with _artifact_root(_root_for(location, settings)):
            return MlflowClient(tracking_uri=uri)


def store_of(client: MlflowClient) -> Any:
    """Return the tracking store under a client (`mlflow.store.tracking.AbstractStore`, what every plugin implements).

    It takes a batch as it is, where the client copies each metric, and ends a run without a print to stdout.
    """
    return client._tracking_client.store


def _try_database(uri: str) -> None:
    """Connect once. MLflow tries a database that does not answer ten times, which takes 100 seconds."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    file = sqlite_file(uri)
    if file is None or file.exists():
        create_engine(uri, poolclass=NullPool).connect().close()


def _limit(variable: str, asked: int | None, default: int) -> None:
    """Set one of MLflow's limits, which hold for the whole process: the largest that a target asked for, else the user's own, else ours.

    MLflow's own defaults block a request for about four minutes; the waiting is done by delivery, which can be interrupted.
    """
    with _lock:
        if asked is None:
            os.environ.setdefault(variable, str(default))
        else:
            _asked[variable] = max(asked, _asked.get(variable, asked))
            os.environ[variable] = str(_asked[variable])


# -- artifacts of database stores -------------------------------------------------------------------------------------


def _root_for(location: str, settings: MLflowSettings) -> str | None:
    if settings.artifacts is not None:
        return settings.artifacts
    file = sqlite_file(location)
    return str(file.parent / "mlruns") if file is not None else None


@contextmanager
def _artifact_root(root: str | None) -> Iterator[None]:
    """Let a database store that is made meanwhile put artifacts under `root`; MLflow's own choice is `mlruns` in the working folder."""
    variable = "_MLFLOW_SERVER_ARTIFACT_ROOT"
    if root is None:
        yield
        return
    with _lock:
        if variable in os.environ:
            yield
            return
        os.environ[variable] = root if "://" in root else str(Path(root).absolute())
        try:
            yield
        finally:
            del os.environ[variable]

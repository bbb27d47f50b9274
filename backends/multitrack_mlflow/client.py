"""Connections to MLflow: a client for a target, and what its SDK raises in our own words.

MLflow reads logins from variables of the process at each request. Two targets with different logins in one process, as in a migration
from one server to another, therefore tell their requests apart by a user name without meaning in the URL (`http://multitrack-1@host`),
and an authentication plugin (`mlflow.tracking.request_auth`, MLflow's own extension point) exchanges it for the target's login. It is
never sent: the plugin's header takes its place.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from multitrack.errors import AuthError, BackendError, ConfigError, PermanentError, TransientError

from .location import DATABASES, LOGIN_REMEDY, complete, folder_of, sqlite_file
from .settings import MLflowSettings

if TYPE_CHECKING:
    from mlflow import MlflowClient

_AUTH = "multitrack"
_AUTH_VARIABLE = "MLFLOW_TRACKING_AUTH"
_lock = threading.Lock()
_logins: dict[str, AuthBase] = {}
_asked: dict[str, int] = {}


def connect(location: str, settings: MLflowSettings) -> MlflowClient:
    """Return a client for the target at `location`, which has gone through `resolve`. A database is opened, a server not yet asked.

    Raises:
        ConfigError: a login was set for a location that takes none.
        BackendError: see `translated`.
    """
    uri, settings = complete(location, settings)
    has_login = settings.token is not None or settings.password is not None
    is_web = location.startswith(("http://", "https://"))
    if has_login and uri == location and not is_web:
        raise ConfigError(f"mlflow: {location} takes no username, password or token from multitrack's settings; use the plugin's own login")
    _limit("MLFLOW_HTTP_REQUEST_TIMEOUT", settings.timeout, 60)
    _limit("MLFLOW_HTTP_REQUEST_MAX_RETRIES", settings.retries, 1)
    if folder_of(location):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    with translated(f"connecting to {location}"):
        from mlflow import MlflowClient

        if is_web and has_login:
            uri = _with_login(uri, settings)
        elif location.startswith(DATABASES):
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


# -- logins -----------------------------------------------------------------------------------------------------------


def _with_login(url: str, settings: MLflowSettings) -> str:
    """Return the URL with a user name that stands for the settings' login, the same one for the same login."""
    login: AuthBase
    if settings.username and settings.password:
        login = HTTPBasicAuth(settings.username.encode(), settings.password.get_secret_value().encode())
    elif settings.token is not None:
        login = _Bearer(settings.token.get_secret_value())
    else:
        raise ConfigError("mlflow: a password is set without a username")
    with _lock:
        _install()
        key = next((key for key, known in _logins.items() if known == login), f"{_AUTH}-{len(_logins) + 1}")
        _logins[key] = login
    parts = urlsplit(url)
    return parts._replace(netloc=f"{key}@{parts.netloc}").geturl()


def _install() -> None:
    """Let MLflow ask us for the login of each request; a provider that the user chose keeps the requests that are not ours."""
    from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider
    from mlflow.tracking.request_auth.registry import _request_auth_provider_registry as registry
    from mlflow.tracking.request_auth.registry import fetch_auth

    chosen = os.environ.get(_AUTH_VARIABLE)
    if chosen == _AUTH and any(provider.get_name() == _AUTH for provider in registry):
        return

    class Logins(RequestAuthProvider):  # type: ignore[misc]
        def get_name(self) -> str:
            return _AUTH

        def get_auth(self) -> AuthBase:
            return _Exchange(fetch_auth(chosen) if chosen and chosen != _AUTH else None)

    registry.register(Logins)
    os.environ[_AUTH_VARIABLE] = _AUTH


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bearer) and other._token == self._token

    def __hash__(self) -> int:
        return hash(self._token)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Exchange(AuthBase):
    """Gives a request whose URL carries one of our keys the login that the key stands for."""

    def __init__(self, otherwise: Any) -> None:
        self._otherwise = otherwise

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        login = _logins.get(urlsplit(request.url or "").username or "", self._otherwise)
        return login(request) if login is not None else request


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
    if root is None or variable in os.environ:
        yield
        return
    with _lock:
        os.environ[variable] = root if "://" in root else str(Path(root).absolute())
        try:
            yield
        finally:
            del os.environ[variable]


# -- errors -----------------------------------------------------------------------------------------------------------

_BAD_DATABASE_LOGIN = re.compile(r"password authentication failed|no password supplied|Access denied for user|Login failed for user")
_BAD_DATABASE_FILE = re.compile(r"unable to open database file|readonly database|file is not a database")
"""What drivers call operational, and what waiting does not heal."""
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "CredentialsError", "ClientAuthenticationError", "DefaultCredentialsError"})
"""What the SDKs of S3, Azure and Google raise before they ask their stores."""
_RETRIED = frozenset({408, 409, 423, 425, 429, 499})
_CODES = {
    "TEMPORARILY_UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "REQUEST_LIMIT_EXCEEDED": 429,
    "RESOURCE_EXHAUSTED": 429,
    "ABORTED": 409,
    "RESOURCE_CONFLICT": 409,
    "CANCELLED": 499,
    "PERMISSION_DENIED": 403,
    "CUSTOMER_UNAUTHORIZED": 401,
    "UNAUTHENTICATED": 401,
}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn whatever MLflow, requests, SQLAlchemy or a storage SDK raises inside into TransientError, PermanentError or AuthError.

    `doing` begins the message: `creating the run: ...`. Passwords in URLs are left out of it, and the SDK's exception is not attached.

    Raises:
        TransientError: no answer, 408, 409, 429, 5xx, a locked or unreachable database, a full disk.
        AuthError: 401 or 403, or missing credentials of an artifact store.
        PermanentError: anything else.
    """
    try:
        yield
    except (BackendError, ConfigError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever an SDK or plugin raises is told in our words
        raise _translate(doing, error) from None


def _translate(doing: str, error: Exception) -> BackendError:
    cause = _network_cause(error)
    status = _status_of(error, cause)
    message = f"{doing}: {_one_line(error)}"
    if status in {401, 403}:
        return AuthError(f"{message}; {LOGIN_REMEDY}")
    if isinstance(error, ModuleNotFoundError):
        extra = "multitrack[postgresql]" if (error.name or "").startswith("psycopg") else error.name
        return PermanentError(f"{message}; pip install '{extra}'")
    if cause is not None and "CERTIFICATE_VERIFY_FAILED" in str(cause):
        return PermanentError(f"{message}; name the authority's file in MLFLOW_TRACKING_SERVER_CERT_PATH")
    if _BAD_DATABASE_FILE.search(message):
        return PermanentError(message)
    if _BAD_DATABASE_LOGIN.search(message) or type(error).__name__ in _NO_CREDENTIALS:
        return AuthError(message)
    transient = cause is not None or _may_pass(error) if status is None else status in _RETRIED or (status >= 500 and status != 501)
    return TransientError(message, retry_after=_retry_after(cause)) if transient else PermanentError(message)


def _network_cause(error: BaseException) -> requests.RequestException | None:
    """Return the requests exception behind an error; MLflow wraps it without naming it as the cause."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, requests.RequestException) and not isinstance(seen, ValueError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _status_of(error: Exception, cause: requests.RequestException | None) -> int | None:
    """Return the HTTP status that an error stands for, None when there was no answer or no HTTP."""
    response = getattr(cause, "response", None)
    if response is not None:
        return int(response.status_code)
    if cause is not None:
        return None
    said = re.search(r"failed with error code (\d{3}) ", str(error))
    if said is not None:
        return int(said[1])
    code = getattr(error, "error_code", None)
    if code in _CODES:
        return _CODES[code]
    is_answer = type(error).__name__ == "RestException"
    return 500 if is_answer and code in {"INTERNAL_ERROR", "INVALID_STATE", "DATA_LOSS"} else None


def _may_pass(error: Exception) -> bool:
    """Return whether an error without a status is of the kind that goes away: the network, a full disk, a database that is down."""
    if isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError | NotADirectoryError | FileExistsError | ValueError):
        return False  # requests' errors about a malformed URL are ValueErrors as well as OSErrors
    name = type(error).__name__
    return isinstance(error, OSError) or name in {"OperationalError", "InterfaceError"} or "Timeout" in name or "Connection" in name


def _retry_after(cause: requests.RequestException | None) -> float | None:
    """Return the seconds that the answer's Retry-After names. (MLflow's client itself waits for one before its own retry.)"""
    response = getattr(cause, "response", None)
    text = response.headers.get("Retry-After", "") if response is not None else ""
    if text.isdigit():
        return float(text)
    try:
        from email.utils import parsedate_to_datetime
        from time import time

        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (TypeError, ValueError):
        return None


def _one_line(error: Exception) -> str:
    text = re.sub(r"(?<=://)[^/@\s]*@", "", str(error)) or type(error).__name__
    line = " ".join(text.split())
    return line if len(line) <= 500 else line[:499] + "…"

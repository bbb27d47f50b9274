"""What MLflow's client, the databases and the artifact stores raise, in our own words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError

import requests

from multitrack.errors import AuthError, BackendError, ConfigError, PermanentError, TransientError

from .location import LOGIN_REMEDY

_BAD_DATABASE_LOGIN = re.compile(r"password authentication failed|no password supplied|Access denied for user|Login failed for user")
_BAD_DATABASE_FILE = re.compile(r"unable to open database file|readonly database|file is not a database")
"""What drivers call operational, and what waiting does not heal."""
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "CredentialsError", "ClientAuthenticationError", "DefaultCredentialsError"})
"""What the SDKs of S3, Azure and Google raise before they ask their stores."""
_CONFLICT = re.compile(r"UNIQUE constraint failed|duplicate key value violates|Duplicate entry")
"""Somebody else has written the same tag at the same moment: asked again, MLflow sees it and updates it."""
_NOT_JSON = "response body was not in a valid JSON format"
"""What MLflow's client says of a good answer that is none of MLflow's."""
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
        TransientError: no answer or none of MLflow's, 408, 409, 429, 5xx, a locked or unreachable database, a full disk.
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
    message = f"{doing}: {_one_line(error) if cause is None or status is not None else _network_reason(cause)}"
    if status in {401, 403}:
        return AuthError(f"{message}; {LOGIN_REMEDY}")
    if isinstance(error, ModuleNotFoundError):
        extra = "multitrack[postgresql]" if (error.name or "").startswith("psycopg") else error.name
        return PermanentError(f"{message}; pip install '{extra}'")
    if cause is not None and "CERTIFICATE_VERIFY_FAILED" in str(cause):
        return PermanentError(f"{message}; name the authority's file in MLFLOW_TRACKING_SERVER_CERT_PATH")
    if isinstance(error, JSONDecodeError) or _NOT_JSON in message:
        # A hotel's login page, a proxy with an error of its own. Nobody knows what became of the request.
        return TransientError(f"{doing}: something answers that is not MLflow: a login page or a proxy on the way, perhaps")
    if _CONFLICT.search(message):
        return TransientError(message)
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


def _network_reason(cause: requests.RequestException) -> str:
    """Return in a few words why there was no answer: requests says it in three nested exceptions."""
    text = str(cause)
    host = re.search(r"host='([^']+)', port=(\d+)", text)
    place = f"{host[1]}:{host[2]}" if host is not None else "the server"
    if isinstance(cause, requests.Timeout) or "timed out" in text:
        return f"{place} does not answer in time"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"{place} has a certificate that is not trusted here"
    if re.search(r"Name or service not known|Failed to resolve|nodename nor servname", text):
        return f"the name {host[1] if host is not None else 'of the server'} cannot be resolved"
    said = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    if said is not None:
        return f"{place} cannot be reached: {said[1].strip().lower()}"
    return f"the connection to {place} broke" if isinstance(cause, requests.ConnectionError) else _one_line(cause)


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

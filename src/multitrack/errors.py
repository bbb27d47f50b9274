"""Every error that multitrack raises on purpose.

    MultitrackError
    ├── ConfigError            what was asked for cannot be: a file, a variable, an argument
    │   ├── UnknownBackendError    no installed backend or configured target has this name
    │   ├── MissingExtraError      the backend is known, its packages are not installed
    │   └── RunExistsError         a local run already has this id
    ├── RecordError            a record, or a line of a journal, cannot be understood
    ├── RunNotFoundError       no run has this id at this address
    ├── BackendError           a service said no, or said nothing
    │   ├── TransientError         it may work later: outage, time-out, 429, 5xx
    │   ├── PermanentError         it will not work as asked: a rejected value, a missing project
    │   └── AuthError              the login was refused
    └── MigrationError         a migration or its verification cannot go on

Every message says what to do about it. Adapters translate what an SDK raises into the `BackendError`
branch; nothing above them ever looks at a vendor's exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MultitrackError(Exception):
    """The root: `except MultitrackError` catches whatever multitrack raises on purpose."""


class ConfigError(MultitrackError):
    """A setting, an address or an argument cannot be used; the message names it and the remedy."""


class UnknownBackendError(ConfigError):
    """No installed backend and no configured target has the name that was asked for."""


class MissingExtraError(ConfigError):
    """A backend's packages are not installed; the message holds the pip line."""


class RunExistsError(ConfigError):
    """`init(id=...)` names a run that the local store already holds."""


class RecordError(MultitrackError):
    """A record or a line of a journal is malformed, or comes from a newer multitrack."""


class RunNotFoundError(MultitrackError):
    """No run has the id that was asked for."""


class BackendError(MultitrackError):
    """A tracking service failed or refused."""


class TransientError(BackendError):
    """The service cannot do it now and may do it later.

    `retry_after` is the number of seconds that the service asked to be left alone, when it said so.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class PermanentError(BackendError):
    """The service will refuse the same request again."""


class AuthError(BackendError):
    """The service refused the credentials, or there are none."""


class MigrationError(MultitrackError):
    """A migration or a verification could not be carried out."""


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'mlflow'?"` for the nearest of the `known` names, or an empty string."""
    near = difflib.get_close_matches(wanted.lower(), list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""

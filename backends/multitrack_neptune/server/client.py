"""Connections to a server."""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from multitrack.errors import AuthError, BackendError, ConfigError, PermanentError, TransientError

from ..settings import NeptuneSettings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def project_of(location: str | None) -> str:
    """Return the project that a location names; without one, the client's own variable decides.

    Raises:
        ConfigError: it is no `workspace/project`.
    """
    name = location or os.environ.get("NEPTUNE_PROJECT", "")
    workspace, slash, project = name.partition("/")
    if not (workspace and slash and project) or "/" in project:
        raise ConfigError(f"neptune:{name}: write neptune:WORKSPACE/PROJECT, or a folder as neptune:./FOLDER")
    return name


def connect(settings: NeptuneSettings) -> Any:
    """Return the client's connection to the server that the token names.

    Raises:
        AuthError: there is no token, or the server refuses it.
        TransientError: the server does not answer.
    """
    token = settings.api_token.get_secret_value() if settings.api_token else os.environ.get("NEPTUNE_API_TOKEN")
    if not token:
        raise AuthError("neptune: no API token; set NEPTUNE_API_TOKEN")
    _allow_loopback(token)
    os.environ.setdefault("NEPTUNE_RETRIES_TIMEOUT", "10")  # waiting longer is delivery's affair, which can be interrupted
    with translated("connecting"):
        from neptune.internal.backends.hosted_neptune_backend import HostedNeptuneBackend
        from neptune.internal.credentials import Credentials

        return HostedNeptuneBackend(Credentials.from_token(token))


def find_project(connection: Any, name: str) -> Any:
    """Return the server's description of a project.

    Raises:
        PermanentError: it has none of this name.
    """
    with translated(f"looking for the project {name}"):
        return connection.get_project(name)


def _allow_loopback(token: str) -> None:
    """Let the client's login library use plain HTTP where nobody else can listen: to this machine itself."""
    try:
        told = json.loads(base64.b64decode(token))
        host = urlsplit(told["api_address"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return  # the client says what is wrong with it
    if host.scheme == "http" and host.hostname in _LOOPBACK:
        os.environ.setdefault("OAUTHLIB_INSECURE_TRANSPORT", "1")


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise what the client raises as an error of ours."""
    from bravado.exception import HTTPError
    from neptune.common.exceptions import (
        Forbidden,
        NeptuneConnectionLostException,
        NeptuneException,
        NeptuneInvalidApiTokenException,
        Unauthorized,
    )
    from oauthlib.oauth2.rfc6749.errors import OAuth2Error  # type: ignore[import-untyped]
    from requests import RequestException

    try:
        yield
    except BackendError:
        raise
    except (NeptuneInvalidApiTokenException, Unauthorized, Forbidden, OAuth2Error) as error:
        raise AuthError(f"neptune: {doing}: {_line(error)}") from None
    except (NeptuneConnectionLostException, RequestException, OSError) as error:
        raise TransientError(f"neptune: {doing}: {_line(error)}") from None
    except HTTPError as error:
        kind = TransientError if error.status_code >= 500 or error.status_code == 429 else PermanentError
        raise kind(f"neptune: {doing}: {_line(error)}") from None
    except NeptuneException as error:
        raise PermanentError(f"neptune: {doing}: {_line(error)}") from None


def _line(error: Exception) -> str:
    """Return the gist of an error: the client's messages fill a screen, in colours."""
    import re

    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip(" -")]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"

"""Whose login goes where.

MLflow reads logins from variables of the process at each request. Two targets with different logins in one process, as in a migration
from one server to another, therefore tell their requests apart by a user name without meaning in the URL (`http://multitrack-1@host`),
and an authentication plugin (`mlflow.tracking.request_auth`, MLflow's own extension point) exchanges it for the target's login. It is
never sent: the plugin's header takes its place.
"""

from __future__ import annotations

import os
import threading
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from multitrack.errors import ConfigError

from .settings import MLflowSettings

_AUTH = "multitrack"
_AUTH_VARIABLE = "MLFLOW_TRACKING_AUTH"
_lock = threading.Lock()
_logins: dict[str, AuthBase] = {}


def with_login(url: str, settings: MLflowSettings) -> str:
    """Return the URL with a user name that stands for the settings' login, the same one for the same login."""
    login: AuthBase
    if settings.username and settings.password:
        login = HTTPBasicAuth(settings.username.encode(), settings.password.get_secret_value().encode())
    elif settings.token is not None:
        login = _Bearer(settings.token.get_secret_value())
    else:
        missing = "password" if settings.username else "username"
        raise ConfigError(f"mlflow: the login lacks its {missing}; set username and password, or a token")
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

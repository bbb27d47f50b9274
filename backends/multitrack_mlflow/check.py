"""Asking an MLflow target whether it is there and lets us in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from multitrack.errors import PermanentError

from .client import connect, store_of, translated
from .location import complete, folder_of, sqlite_file
from .settings import MLflowSettings

if TYPE_CHECKING:
    from mlflow import MlflowClient


def check(location: str, settings: MLflowSettings) -> str:
    """Return a line such as `MLflow 3.17.2 at http://127.0.0.1:5000, as alice`.

    Raises:
        TransientError: nobody answers.
        AuthError: the login is refused.
        PermanentError: whoever answers is no MLflow server, or there is no such folder.
    """
    file, folder = sqlite_file(location), folder_of(location)
    if file is not None and not file.exists():
        return f"no MLflow database at {location} yet; the first run makes it"
    if folder is not None and not folder.is_dir():
        raise PermanentError(f"there is no folder {folder}")
    client = connect(location, settings)
    if not location.startswith(("http://", "https://")):
        with translated(f"asking {location}"):
            client.search_experiments(max_results=1)
        return f"MLflow store at {location}"
    return f"MLflow{_ask_server(client, location)} at {location}{_as_whom(location, settings)}"


def _ask_server(client: MlflowClient, location: str) -> str:
    """Return the server's version after a space, nothing for a server that does not tell.

    One try each: a check is to answer at once.
    """
    from mlflow.utils.rest_utils import http_request

    creds = store_of(client).get_host_creds()
    with translated(f"asking {location}"):
        answer = http_request(creds, "/api/2.0/mlflow/experiments/search", "POST", json={"max_results": 1}, max_retries=0, timeout=5)
        if answer.status_code not in {401, 403}:
            if answer.status_code != 200 or not _is_json_object(answer.text):
                raise PermanentError(
                    f"something answers at {location} with HTTP status {answer.status_code}, but not as an MLflow server does; "
                    "is the address right?"
                )
            version = http_request(creds, "/version", "GET", max_retries=0, timeout=5)
            is_version = version.status_code == 200 and len(version.text) < 40
            return f" {version.text.strip()}" if is_version else ""
        answer.raise_for_status()
    raise AssertionError("unreachable: 401 and 403 raise")


def _is_json_object(text: str) -> bool:
    import json

    try:
        return isinstance(json.loads(text or "{}"), dict)
    except ValueError:
        return False


def _as_whom(location: str, settings: MLflowSettings) -> str:
    _, settings = complete(location, settings)
    if settings.token is not None and settings.password is None:
        return ", with a token"
    user = settings.username or os.environ.get("MLFLOW_TRACKING_USERNAME")
    return f", as {user}" if user else ""

"""Asking Comet whether it is there and lets us in."""

from __future__ import annotations

from multitrack.errors import PermanentError

from .client import default_workspace, find_login, patiently, rest_client
from .location import place_of
from .settings import CometSettings


def check(location: str | None, settings: CometSettings) -> str:
    """Return a line such as `Comet at https://www.comet.com, as alice, workspace team`.

    Raises:
        TransientError: nobody answers.
        AuthError: there is no API key, or Comet does not accept it.
        PermanentError: there is no such workspace.
    """
    login = find_login(settings)
    rest = rest_client(login)
    client = rest.low_level_api_client
    client.retry_session = client.session  # a check is to answer at once
    try:
        account = patiently(f"asking {login.root}", rest.get_account_details)
        workspaces = patiently(f"asking {login.root}", rest.get_workspaces).get("workspaceNames") or []
    finally:
        client.close()
    workspace = place_of(location).workspace or default_workspace(settings) or account["defaultWorkspaceName"]
    if workspace not in workspaces:
        raise PermanentError(f"Comet has no workspace {workspace!r} that {account['userName']} may see; there are {', '.join(workspaces)}")
    return f"Comet at {login.root}, as {account['userName']}, workspace {workspace}"

"""URLs of remotes."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit


def strip_credentials(url: str) -> str | None:
    """Return a remote's URL without user name, password and query; `git@host:path` stays as it is. None: it is no URL at all."""
    if not re.match(r"[a-z][a-z0-9+.-]*://", url, re.IGNORECASE):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

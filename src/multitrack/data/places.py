"""URLs of data, as they may be written down: without anything that lets one in."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from ..masking import Mask

_LOCAL = re.compile(r"(?:file|local)://", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]+:.*//", re.IGNORECASE | re.DOTALL)
_LETS_IN = re.compile(
    r"""(?ix) ^(x-amz-.* | x-goog-.* | x-ms-.* | x-oss-.* | sig | se | sp | sv | sr | skoid | sktid   # S3, Google, Azure
    | .*signature.* | expires | googleaccessid | awsaccesskeyid | .*access-?_?key.*
    | .*token.* | key | .*api-?_?key.* | auth.* | .*secret.* | .*password.* | .*credential.* | policy | key-pair-id)$"""
)
"""Names of parameters by which services let one in; a URL that has one of them is presigned."""


def is_url(place: str) -> bool:
    """Return whether a text is a URL, chained ones of fsspec (`simplecache::s3://...`) included; a local path is none."""
    return _URL.match(place) is not None


def to_local_path(place: str) -> str | None:
    """Return the path that a `file://` URL names; None if it is another URL or a path already."""
    if not _LOCAL.match(place):
        return None
    return unquote(urlsplit(place).path)


def safe_url(url: str, mask: Mask) -> str:
    """Return a URL without user name, password, fragment and, where it is presigned, query; with what else is secret masked.

    Of a chained URL (`zip://a.csv::https://...`), every part.
    """
    return mask.text("::".join(_safe_part(part, mask) for part in url.split("::")))


def _safe_part(url: str, mask: Mask) -> str:
    try:
        parts = urlsplit(url)
        presigned = any(_LETS_IN.match(name) or mask.is_secret_name(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        return url.partition("?")[0]
    netloc = parts.netloc if parts.scheme in _CONTAINER_SCHEMES else parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, netloc, parts.path, "" if presigned else parts.query, "")) if parts.scheme else url


_CONTAINER_SCHEMES = frozenset({"abfs", "abfss", "wasb", "wasbs", "hf"})
"""Here the part before `@` is no login but a container: `abfs://container@account.dfs.core.windows.net/path`."""


def scheme_of(url: str) -> str:
    """Return what kind of place a URL names: `s3`, `gs`, `http`, ... (of a chained URL, the last)."""
    scheme = url.rpartition("::")[2].partition("://")[0].lower()
    return {"https": "http", "gcs": "gs", "s3a": "s3", "s3n": "s3", "hf": "hugging_face"}.get(scheme, scheme)


def from_uri(uri: str) -> Path | None:
    """Return the local path of a record's `uri`; None if it names another place."""
    path = to_local_path(uri)
    if path is not None:
        return Path(path)
    return None if is_url(uri) or uri.startswith("{") else Path(uri)

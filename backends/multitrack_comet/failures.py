"""What Comet's SDK and requests raise, in our own words. API keys are left out of every message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from typing import Any

import requests

from multitrack.errors import AuthError, BackendError, ConfigError, PermanentError, TransientError

LOGIN_REMEDY = "set COMET_API_KEY, or api_key in ~/.comet.config, to a key from your Comet account settings"
_UNKNOWN_KEY, _NO_SUCH_EXPERIMENT, _NO_SUCH_WORKSPACE = 90212, 90210, 90219
_RETRIED = frozenset({408, 409, 423, 425, 429, 499})
_NO_LOGIN = frozenset({"InvalidAPIKey", "Unauthorized"})
_NO_WORKSPACE = frozenset({"InvalidWorkspace", "ServiceAccountWorkspaceRestricted"})


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn whatever the SDK or requests raises inside into TransientError, PermanentError or AuthError.

    `doing` begins the message: `creating the experiment: ...`. The SDK's exception is not attached: its arguments may hold the API key.

    Raises:
        TransientError: no answer or none of Comet's, 408, 409, 429, 5xx. `retry_after` is what `Retry-After-Custom` says.
        AuthError: 401 or 403, or Comet does not know the key.
        PermanentError: anything else.
    """
    try:
        yield
    except (BackendError, ConfigError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises is told in our words
        raise _translate(doing, error) from None


def _translate(doing: str, error: Exception) -> BackendError:
    kind = type(error).__name__
    if kind in _NO_LOGIN:
        return AuthError(f"{doing}: Comet does not accept the API key; {LOGIN_REMEDY}")
    if kind in _NO_WORKSPACE:
        return PermanentError(f"{doing}: Comet has no workspace {getattr(error, 'args', ('',))[0]!r} that this API key may write to")
    response = getattr(error, "response", None)
    if isinstance(response, requests.Response) and not response.ok:
        return _translate_answer(doing, response)
    if isinstance(error, JSONDecodeError | UnicodeDecodeError) or kind == "CometRestApiValueError":
        # A hotel's login page, a proxy with an error of its own. Nobody knows what became of the request.
        return TransientError(f"{doing}: something answers that is not Comet: a login page or a proxy on the way, perhaps")
    if isinstance(error, requests.RequestException) and not isinstance(error, ValueError):
        return _translate_silence(doing, error)
    if isinstance(error, ConnectionError | TimeoutError):
        return TransientError(f"{doing}: {_one_line(error)}")
    return PermanentError(f"{doing}: {_one_line(error)}")


def _translate_answer(doing: str, response: requests.Response) -> BackendError:
    status, (said, code) = response.status_code, _told(response)
    if status in {401, 403} or code == _UNKNOWN_KEY:
        return AuthError(f"{doing}: Comet does not accept the API key, or it may not do this ({said}); {LOGIN_REMEDY}")
    message = f"{doing}: Comet says {status}: {said}"
    if code == _NO_SUCH_WORKSPACE:
        return PermanentError(f"{message}; is the workspace's name right?")
    if status in _RETRIED or (status >= 500 and status != 501):
        return TransientError(message, retry_after=retry_after(response))
    return PermanentError(message)


def _told(response: requests.Response) -> tuple[str, Any]:
    try:
        body = response.json()
        return _one_line(str(body.get("msg") or response.reason)), body.get("sdk_error_code")
    except (ValueError, AttributeError):
        return _one_line(response.reason or "no reason"), None


def retry_after(response: requests.Response) -> float | None:
    """Return the seconds that a 429 asks for. Comet: `Retry-After-Custom`; proxies on the way say `Retry-After`."""
    for header in ("Retry-After-Custom", "Retry-After"):
        try:
            return max(0.0, float(response.headers[header]))
        except (KeyError, ValueError):
            continue
    return None


def says_no_such_experiment(error: Exception) -> bool:
    """Return whether an answer says that there is no such experiment. Comet: 90210 with 400, older and newer servers 404."""
    response = getattr(error, "response", None)
    if not isinstance(response, requests.Response):
        return False
    return response.status_code == 404 or _told(response)[1] == _NO_SUCH_EXPERIMENT


def _translate_silence(doing: str, error: requests.RequestException) -> BackendError:
    text = str(error)
    host = re.search(r"host='([^']+)', port=(\d+)", text)
    place = f"{host[1]}:{host[2]}" if host is not None else "Comet"
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return PermanentError(
            f"{doing}: {place} has a certificate that is not trusted here; name its authority's file in REQUESTS_CA_BUNDLE"
        )
    if isinstance(error, requests.Timeout) or "timed out" in text:
        return TransientError(f"{doing}: {place} does not answer in time")
    said = re.search(r"\[Errno -?\d+\] ([^'\")]+)", text)
    if re.search(r"Name or service not known|Failed to resolve|nodename nor servname", text):
        return TransientError(f"{doing}: the name {host[1] if host is not None else 'of the server'} cannot be resolved")
    return TransientError(f"{doing}: {place} cannot be reached: {said[1].strip().lower() if said is not None else 'the connection broke'}")


def _one_line(error: object) -> str:
    line = " ".join(re.sub(r"(?<=://)[^/@\s]*@", "", str(error)).split()) or type(error).__name__
    return line if len(line) <= 500 else line[:499] + "…"

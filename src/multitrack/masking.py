"""What looks like a credential is masked before it is written. Pure.

Names and values alike: `--token abc`, `api_key: abc`, `https://user:abc@host`, and the shapes that services give their keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

MASKED = "***"
"""Stands where a credential stood."""

_SECRET_NAME = re.compile(r"(?i)(^|[-_.])(password|passwd|passphrase|secret|token|credentials?|(api|access|private|secret)[-_]?key)$")
_WITH_LOGIN = re.compile(r"(?i)([a-z][a-z0-9+.-]*://)[^/\s@]+@")


class Mask:
    """Knows credentials by their shape. `patterns` are regular expressions for more of them."""

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._more = [re.compile(pattern) for pattern in patterns]

    def text(self, text: str) -> str:
        """Return a text in which every credential is masked; the very same object where there is none."""
        masked = _WITH_LOGIN.sub(rf"\1{MASKED}@", text)
        for pattern in self._more:
            masked = pattern.sub(MASKED, masked)
        return masked if masked != text else text

    def is_secret_name(self, name: str) -> bool:
        """Return whether what has this name (a param, an option, a variable) is a credential, whatever it looks like."""
        return _SECRET_NAME.search(name) is not None

    def value(self, name: str, value: Any) -> Any:
        """Return a value, nested or not, with its credentials masked: by its name, by the names in it, and by its texts."""
        if isinstance(value, Mapping):
            return {key: self.value(str(key), item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(name, item) for item in value]
        if isinstance(value, str):
            return MASKED if value and self.is_secret_name(name) else self.text(value)
        return value

    def command(self, command: Sequence[str]) -> list[str]:
        """Return a command line with the values of `--token VALUE` and `api_key=VALUE`, and every other credential in it, masked."""
        shown: list[str] = []
        hide_next = False
        for argument in command:
            name, sign, _ = argument.partition("=")
            if hide_next and not argument.startswith("--"):
                shown.append(MASKED)
            elif sign and self.is_secret_name(name):
                shown.append(f"{name}={MASKED}")
            else:
                shown.append(self.text(argument))
            hide_next = not sign and argument.startswith("-") and self.is_secret_name(argument)
        return shown

    def find(self, content: bytes) -> str | None:
        """Return a phrase for the first credential in a file's content, such as `a login in a URL, line 12`; None if there is none."""
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
            if self.text(line) != line:
                return f"a credential, line {number}"
        return None


def strip_credentials(url: str) -> str | None:
    """Return a remote's URL without user name, password and query; `git@host:path` stays as it is. None: it is no URL at all."""
    if not re.match(r"[a-z][a-z0-9+.-]*://", url, re.IGNORECASE):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

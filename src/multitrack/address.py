"""Where runs live, as people write it: `TARGET[:LOCATION][#RUN_ID]`.

local                             the local store
mlflow:http://127.0.0.1:5000      a backend and a place
prod                              a target that the configuration names
wandb:entity/project#1a2b...      one run there
0123456789abcdef0123456789abcdef  a bare run id: that run in the local store
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from .errors import ConfigError
from .records.base import RUN_ID

LOCAL = "local"
"""The backend whose bare name means the local store."""

_TARGET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_CREDENTIALS = re.compile(r"(?<=://)\S*@")
_SECRET_PARAMETER = re.compile(r"([?&;](?:password|passwd|pwd|token|secret|api[_-]?key|access[_-]?key)=)[^&;#\s]*", re.IGNORECASE)
_PORT = re.compile(r"[^:]*:\d+/")


@dataclass(frozen=True, slots=True)
class Address:
    """A target, where it is, and perhaps one of its runs. `str` gives back what `parse` understands."""

    target: str
    """The name of a configured target, or of a backend."""
    location: str | None = None
    """None: the target's configured place, or the backend's default one."""
    run_id: str | None = None
    """Our id of the run, or the service's own."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that `text` spells. What follows the last `#` is the run; a location that holds a `#` ends in one.

        Raises:
            ConfigError: it is none; the message repeats it without the credentials it may hold.
        """
        if RUN_ID.fullmatch(text):
            return cls(LOCAL, None, text)
        place, _, run_id = text.rpartition("#") if "#" in text else (text, "", "")
        target, _, location = place.partition(":")
        if not _TARGET.fullmatch(target) or location.startswith("//"):
            raise ConfigError(f"{hide_credentials(text)!r} is no address.{_remedy(place)}")
        if run_id != run_id.strip() or location != location.strip():
            raise ConfigError(f"{hide_credentials(text)!r} is no address: there is a space at an end of its location or run id")
        return cls(target, location or None, run_id or None)

    def __str__(self) -> str:
        place = self.target if self.location is None else f"{self.target}:{self.location}"
        return f"{place}#{self.run_id or ''}" if self.run_id or "#" in place else place


def _remedy(place: str) -> str:
    shown = hide_credentials(place)
    if is_path(place):
        return f" A path needs its backend before it, for example 'local:{shown}'."
    if "://" in place:
        return f" A URL needs its backend before it, for example 'mlflow:{shown}'."
    return " Write TARGET, TARGET:LOCATION or TARGET:LOCATION#RUN_ID; a target's name has letters, digits, '-' and '_'."


def is_path(location: str) -> bool:
    """Return whether a location is a path of the file system: it starts with `.`, `/` or `~`."""
    return location.startswith((".", "/", "~"))


def is_target_name(text: str) -> bool:
    """Return whether `text` can be a target's name: letters, digits, `-`, `_`, and not the look of a run id."""
    return _TARGET.fullmatch(text) is not None and RUN_ID.fullmatch(text) is None


def hide_credentials(text: str) -> str:
    """Return `text` with the logins and tokens of the URLs in it replaced by `***`, for messages.

    Everything between `://` and the last `@` of the word is taken for a login: passwords hold slashes and signs that no URL allows.
    """
    return _SECRET_PARAMETER.sub(r"\1***", _CREDENTIALS.sub("***@", text))


def holds_password(location: str) -> bool:
    """Return whether a location spells out a password or token.

    A user's name alone (`postgresql://me@host/db`) is none, but in an http URL it is: services take tokens there.
    """
    if _SECRET_PARAMETER.search(location):
        return True
    scheme, found, rest = location.partition("://")
    login, at, _ = rest.partition("@")
    if not found or not at or _PORT.match(login):
        return False
    return ":" in login or ("/" not in login and scheme.rpartition("+")[2] in ("http", "https"))

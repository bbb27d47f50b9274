"""Where a Comet target is: a workspace or project at the service, or archives on the disk. Pure."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from multitrack.errors import ConfigError

FORMS = "WORKSPACE/PROJECT, PROJECT, WORKSPACE/ (each run in the project of its own name), or a folder of archives such as ./comet"
_BAD = re.compile(r"[\x00-\x1f:#?]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs are at the service."""

    workspace: str | None
    """None: that of the settings, else the login's own."""
    project: str | None
    """None: each run is in the project of its own name."""


def resolve(location: str | None, base: Path) -> str | None:
    """Return the location with paths made absolute.

    Raises:
        ConfigError: it is no Comet location.
    """
    if location is None:
        return None
    if location.startswith((".", "/", "~")):
        return os.path.normpath(base.absolute() / Path(location).expanduser())
    if "://" in location:
        raise ConfigError(f"comet: {location!r} is no Comet location; a server of one's own is the setting url. Known forms: {FORMS}")
    if location.endswith(".zip"):
        raise ConfigError(f"comet: {location!r} is no Comet location. Did you mean ./{location}?")
    workspace, slash, project = location.rpartition("/")
    if (slash and not workspace) or "/" in workspace or _BAD.search(workspace + project):
        raise ConfigError(f"comet: {location!r} is no Comet location. Known forms: {FORMS}")
    return location


def path_of(location: str | None) -> Path | None:
    """Return the folder or archive that a resolved location is; None for one at the service."""
    return Path(location) if location is not None and location.startswith("/") else None


def place_of(location: str | None) -> Place:
    """Return what a resolved location at the service names."""
    workspace, _, project = (location or "").rpartition("/")
    return Place(workspace or None, project or None)

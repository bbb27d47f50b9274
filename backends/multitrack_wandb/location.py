"""Where a W&B target is: a folder of runs, or a project, or an entity at the service. Pure."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from multitrack.errors import ConfigError

from . import names

FORMS = "ENTITY/PROJECT, PROJECT, ENTITY/ (each run in the project of its own name), or a folder of runs such as ./wandb"
_RULE = f"The name of a project has up to {names.PROJECT_LENGTH} characters, none of / \\ # ? % :"
_BAD = re.compile(f"[{names.BAD_IN_PROJECTS}\\x00-\\x1f]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs are at the service."""

    entity: str | None
    """None: the login's own."""
    project: str | None
    """None: each run is in the project of its own name."""


def resolve(location: str | None, base: Path) -> str | None:
    """Return the location with folders made absolute.

    Raises:
        ConfigError: it is no W&B location.
    """
    if location is None:
        return None
    if location.startswith((".", "/", "~")):
        return os.path.normpath(base.absolute() / Path(location).expanduser())
    if "://" in location:
        raise ConfigError(f"wandb: {location!r} is no W&B location; a server of one's own is the setting base_url. Known forms: {FORMS}")
    entity, slash, project = location.rpartition("/")
    if (slash and not entity) or "/" in entity or _BAD.search(entity + project) or len(project) > names.PROJECT_LENGTH:
        raise ConfigError(f"wandb: {location!r} is no W&B location. Known forms: {FORMS}. {_RULE}")
    return location


def folder_of(location: str | None) -> Path | None:
    """Return the folder that a resolved location is; None for one at the service."""
    return Path(location) if location is not None and location.startswith("/") else None


def place_of(location: str | None) -> Place:
    """Return what a resolved location at the service names."""
    entity, _, project = (location or "").rpartition("/")
    return Place(entity or None, project or None)


def project_name(project: str) -> str:
    """Return the name of the W&B project for a project of ours: itself where W&B takes it, else `<clean>-<hash8>`.

    W&B: up to 128 characters, none of `/\\#?%:`.
    """
    if project and len(project) <= names.PROJECT_LENGTH and not _BAD.search(project) and project == project.strip():
        return project
    digest = sha256(project.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    clean = _BAD.sub("_", project.encode("utf-8", "replace").decode()).strip()
    return f"{clean[: names.PROJECT_LENGTH - 9]}-{digest}"

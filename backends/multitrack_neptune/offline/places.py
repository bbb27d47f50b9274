"""Where a client's folders of runs are.

    .neptune/offline/run__<uuid>__<pid>__<8 random>/                 1.x, offline mode
    .neptune/async/run__<uuid>__<pid>__<8 random>/                   1.x, what a server had not acknowledged
    .neptune/async/<uuid>/exec-<n>-<time>/, run__<uuid>/exec-.../    the same, as older clients named it
    .neptune/<workspace>_<project>_<run>_<ns>/run_operations.sqlite3 neptune-scale
    .neptune/<workspace>_<project>_<run>_<ns>.sqlite3                neptune-scale before 0.12

A location may be `.neptune`, a folder that holds it, one of the folders in it, or one run's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

_SCALE_FILES = ("run_operations.sqlite3", "*_*_*_[0-9]*.sqlite3")
_DEPTH = 5
"""Folders below the location that are looked into."""
_NAME = re.compile(r"(?:(?P<type>[a-z_]+)__)?(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:__(?P<pid>\d+)__\w+)?")


@dataclass(frozen=True, slots=True)
class Execution:
    """One folder of the 1.x client: what one process did with a run."""

    folder: Path
    metadata: dict[str, Any]
    pid: int | None

    @property
    def created(self) -> float | None:
        """Seconds since the epoch."""
        try:
            return datetime.fromisoformat(str(self.metadata.get("createdAt"))).timestamp()
        except ValueError:
            return None


@dataclass(slots=True)
class Container:
    """A run (or a model, a model version, a project) of the 1.x client, with the folders of all processes that wrote to it."""

    id: str
    """The server's id, a UUID; offline, one that the client made up."""
    type: str
    mode: str
    """`offline` or `async`."""
    executions: list[Execution] = field(default_factory=list)


def has_offline_folders(root: Path) -> bool:
    """Return whether the location is, or holds, folders of a client."""
    return next(_folders(root), None) is not None or bool(find_scale_files(root))


def find_containers(root: Path) -> list[Container]:
    """Return what the 1.x client has left below a location, oldest first."""
    found: dict[tuple[str, str], Container] = {}
    for folder in _folders(root):
        if not _is_log(folder):
            continue
        metadata = read_metadata(folder)
        match = _NAME.fullmatch(folder.name) or _NAME.fullmatch(folder.parent.name)
        id_ = str(metadata.get("containerId") or (match["id"] if match else folder.name))
        kind = str(metadata.get("containerType") or (match["type"] if match and match["type"] else "run"))
        is_async = "async" in (metadata.get("mode"), folder.parent.name, folder.parent.parent.name)
        container = found.setdefault((kind, id_), Container(id_, kind, "async" if is_async else "offline"))
        pid = match["pid"] if match else None
        container.executions.append(Execution(folder, metadata, int(pid) if pid else None))
    for container in found.values():
        container.executions.sort(key=lambda execution: (execution.created or 0, execution.folder.name))
    return sorted(found.values(), key=lambda container: (container.executions[0].created or 0, container.id))


def find_scale_files(root: Path) -> list[Path]:
    """Return neptune-scale's files below a location, by name, which ends in the time."""
    if root.is_file():
        return [root] if root.suffix == ".sqlite3" else []
    return [file for folder in _folders(root) for file in _scale_files(folder)]


def read_metadata(folder: Path) -> dict[str, Any]:
    """Return what `metadata.json` says; nothing where it is missing or damaged, as after a kill at the wrong moment."""
    try:
        metadata = json.loads((folder / "metadata.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _folders(root: Path, depth: int = 0) -> Iterator[Path]:
    """Yield the folders of runs at and below `root`, sorted."""
    if not root.is_dir():
        return
    if _is_log(root):
        yield root
        return
    if _scale_files(root):
        yield root
    if depth < _DEPTH:
        for child in sorted(root.iterdir()):
            if child.is_dir() and not child.is_symlink():
                yield from _folders(child, depth + 1)


def _scale_files(folder: Path) -> list[Path]:
    return sorted({file for pattern in _SCALE_FILES for file in folder.glob(pattern) if file.is_file()})


def _is_log(folder: Path) -> bool:
    return (folder / "last_put_version").is_file() or any(folder.glob("data-*.log"))

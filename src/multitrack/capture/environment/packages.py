"""The installed distributions, and where they come from.

Their folders are read directly: `importlib.metadata` parses the whole of every METADATA file, which is most of a second for 300
distributions on a busy machine, where the first lines of each hold all that is asked for. What was found is kept until a folder of
`sys.path` changes, so that a process that starts many runs looks once.

Sources are told by `direct_url.json` (PEP 610), installers by `INSTALLER` (PEP 376).
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ...masking import strip_credentials
from ...records import PackageSource

_HEAD = 4096
"""Bytes of METADATA in which Name and Version are, as a rule."""


@dataclass(frozen=True)
class Packages:
    """What is installed."""

    versions: Mapping[str, str]
    """Name to version, sorted."""
    sources: Mapping[str, PackageSource] = field(default_factory=dict)
    """Of what comes from elsewhere than an index."""
    installers: Mapping[str, int] = field(default_factory=dict)
    """How many distributions each installer names as its own."""


_Folders = tuple[tuple[str, int], ...]
_found: tuple[_Folders, Packages] | None = None


def installed() -> Packages:
    """Return what is installed for this process. Of two with one name, imports take the first, and so do we."""
    global _found
    folders = tuple(_folders(sys.path))
    if _found is None or _found[0] != folders:
        _found = (folders, scan([folder for folder, _ in folders]))
    return _found[1]


def _folders(path: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the folders of an import path with the times of their last change."""
    for entry in dict.fromkeys(path):
        folder = entry or os.getcwd()  # noqa: PTH109 - as sys.path has it
        try:
            yield folder, os.stat(folder).st_mtime_ns  # noqa: PTH116
        except OSError:
            continue


def scan(folders: Sequence[str]) -> Packages:
    """Return the distributions in some folders."""
    versions: dict[str, str] = {}
    sources: dict[str, PackageSource] = {}
    installers: Counter[str] = Counter()
    seen: set[str] = set()
    for folder in folders:
        for path in _metadata(folder):
            name, version = _identity(path)
            if not name or not version or (same := re.sub(r"[-_.]+", "-", name).lower()) in seen:  # PEP 503: one name
                continue
            seen.add(same)
            versions[name] = version
            if (source := _source(path)) is not None:
                sources[name] = source
            if installer := _read(path / "INSTALLER", 100).strip():
                installers[installer] += 1
    return Packages(dict(sorted(versions.items(), key=lambda item: item[0].lower())), sources, dict(sorted(installers.items())))


def _metadata(folder: str) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.name.endswith((".dist-info", ".egg-info")))
    except OSError:  # a zip file, or no folder
        return []


def _identity(path: Path) -> tuple[str | None, str | None]:
    """Return name and version of a distribution."""
    file = path / ("METADATA" if path.suffix == ".dist-info" else "PKG-INFO") if path.is_dir() else path
    for size in (_HEAD, -1):
        found: dict[str, str] = {}
        for line in _read(file, size).splitlines():
            key, colon, value = line.partition(":")
            if not line.strip():  # what follows is the description
                break
            if colon and key in ("Name", "Version"):
                found.setdefault(key, value.strip())
        if len(found) == 2:
            return found["Name"], found["Version"]
    return None, None


def _read(path: Path, size: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8", "replace")
    except OSError:
        return ""


# -- sources


def _source(path: Path) -> PackageSource | None:
    text = _read(path / "direct_url.json", -1)
    if text:
        try:
            return to_source(json.loads(text))
        except (ValueError, TypeError, AttributeError, KeyError):
            return None
    if path.suffix == ".egg-info" and path.is_dir() and (path.parent / "setup.py").exists():  # `setup.py develop`, of old
        return PackageSource(kind="editable", url=str(path.parent), commit=checked_out(path.parent))
    return None


def to_source(said: Mapping[str, Any]) -> PackageSource | None:
    """Return what a `direct_url.json` says.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is none.
    """
    url, subdirectory = said["url"], said.get("subdirectory")
    if (vcs := said.get("vcs_info")) is not None:
        requested = vcs.get("requested_revision")
        return PackageSource(
            kind="vcs", url=_clean(url), vcs=vcs["vcs"], commit=vcs.get("commit_id"), requested=requested, subdirectory=subdirectory
        )
    if (folder := said.get("dir_info")) is not None:
        place = _to_path(url)
        if folder.get("editable"):
            return PackageSource(kind="editable", url=place, commit=checked_out(Path(place)), subdirectory=subdirectory)
        return PackageSource(kind="local", url=place, subdirectory=subdirectory)
    archive = said.get("archive_info") or {}
    digest = next((f"{name}={value}" for name, value in (archive.get("hashes") or {}).items()), archive.get("hash"))
    if url.startswith("file:"):
        return PackageSource(kind="local", url=_to_path(url), digest=digest)
    return PackageSource(kind="archive", url=_clean(url), digest=digest, subdirectory=subdirectory)


def _clean(url: str) -> str:
    return strip_credentials(url) or ""


def _to_path(url: str) -> str:
    parts = urlsplit(url)
    return unquote(parts.path) if parts.scheme == "file" else _clean(url)


def checked_out(folder: Path) -> str | None:
    """Return the commit that is checked out in the git repository around a folder, from git's own files; None if there is none."""
    for place in (folder, *folder.parents):
        git = place / ".git"
        if git.is_file():  # a worktree or submodule
            git = place / _read(git, 4096).strip().removeprefix("gitdir: ")
        if git.is_dir():
            return _head(git)
    return None


def _head(git: Path) -> str | None:
    head = _read(git / "HEAD", 1000).strip()
    if not head.startswith("ref: "):
        return head or None
    reference = head.removeprefix("ref: ")
    common = git / (_read(git / "commondir", 4096).strip() or ".")
    commit = _read(git / reference, 100).strip() or _read(common / reference, 100).strip()
    if commit:
        return commit
    packed = (line.split(" ") for line in _read(common / "packed-refs", -1).splitlines())
    return next((words[0] for words in packed if words[1:] == [reference]), None)

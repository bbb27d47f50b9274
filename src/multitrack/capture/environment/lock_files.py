"""Lock files: what a project says its environment is to be, to the last hash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from ...config.files import find_project_root
from ...records import ArtifactRef, Omission
from ..recorder import Recorder

PATTERNS = (
    "uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pixi.lock", "pylock.toml", "pylock.*.toml",
    "conda-lock.yml", "*.conda-lock.yml", "environment.yml", "environment.yaml", "requirements*.txt",
)  # fmt: skip
"""Names of lock files. Of `requirements*.txt`, those that a tool has pinned: see `is_pinned`."""

_PIN = re.compile(r"==[^=]|\s@\s")
_LARGEST = 20_000_000
"""Bytes."""


def keep_lock_files(here: Path, recorder: Recorder) -> tuple[list[ArtifactRef], list[Omission]]:
    """Keep the lock files of the project around a folder as artifacts `environment/<file>`; return them, and what is left out and why."""
    kept, omitted = [], []
    for path in find_lock_files(here):
        try:
            if path.stat().st_size > _LARGEST:
                omitted.append(Omission(name=path.name, reason=f"larger than {_LARGEST:,} bytes"))
                continue
            content = path.read_bytes()
            if (secret := recorder.mask.find(content)) is not None:
                omitted.append(Omission(name=path.name, reason=f"holds {secret}"))
                continue
            kept.append(recorder.keep(content, f"environment/{path.name}", type="lock file", media_type="text/plain"))
        except OSError as error:
            omitted.append(Omission(name=path.name, reason=error.strerror or str(error)))
    return kept, omitted


def find_lock_files(here: Path) -> list[Path]:
    """Return the lock files in a folder and those above it, up to the project's root; of two with one name, the nearer."""
    root = find_project_root(here)
    found: dict[str, Path] = {}
    for folder in (here, *here.parents):
        for path in _lock_files(folder):
            found.setdefault(path.name, path)
        if folder == root or root not in folder.parents:
            break
    return [found[name] for name in sorted(found)]


def _lock_files(folder: Path) -> Iterator[Path]:
    try:
        paths = list(folder.iterdir())
    except OSError:
        return
    for path in paths:
        matches = any(fnmatch(path.name, pattern) for pattern in PATTERNS) and path.is_file()
        if matches and (not path.name.startswith("requirements") or is_pinned(path)):
            yield path


def is_pinned(path: Path) -> bool:
    """Return whether a requirements file is a lock file: every requirement in it is pinned by `==`, or by a URL, or has hashes."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size <= _LARGEST else ""
    except OSError:
        return False
    lines = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    requirements = [line for line in lines if line and not line.startswith(("#", "-"))]
    return bool(requirements) and all(_PIN.search(line.partition(";")[0]) or "--hash=" in line for line in requirements)

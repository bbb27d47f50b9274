"""What a location of Neptune is: a folder on the disk, or a project of a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

Kind = Literal["export", "folder", "server"]
"""`folder`: a path that is no export, one that is not there included."""

_DATA = ("data", "model_data")


def resolve(location: str | None, base: Path) -> str | None:
    """Return the location; a path (it starts with `.`, `/` or `~`) absolute and without anything superfluous."""
    if location is None or not location.startswith((".", "/", "~")):
        return location
    return os.path.normpath(base.absolute() / Path(location).expanduser())


def kind_of(location: str | None) -> Kind:
    """Return what is there. Looks at the disk, and into nothing."""
    if location is None or not location.startswith("/"):
        return "server"
    return "export" if data_folders(Path(location)) else "folder"


def data_folders(root: Path) -> list[Path]:
    """Return the folders of an export that hold a folder for each project (`data`, `model_data`, or `root` itself); [] if it is none."""
    found = [folder for folder in (root / name for name in _DATA) if _holds_parts(folder)]
    return found or ([root] if _holds_parts(root) else [])


def _holds_parts(folder: Path) -> bool:
    patterns = ("*/*_part_*.parquet*", "*/models/*_part_*.parquet*", "*/model_versions/*_part_*.parquet*")
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)

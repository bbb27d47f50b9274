"""The modules that this process has imported from the project's own folder."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

_INSTALLED = ("site-packages", "dist-packages")


def imported_below(root: Path, entry: Path | None) -> list[str]:
    """Return the files of the modules imported so far that lie below `root`, and the entry point's: relative to it, sorted.

    What is installed, and Python itself, is no part of the project even if it lies there.
    """
    found = (_below(file, root) for file in _files(entry) if not is_installed(file))
    return sorted({path.as_posix() for path in found if path is not None})


def is_installed(file: Path) -> bool:
    """Return whether a file came with a package or with Python, rather than with a project."""
    return any(part in _INSTALLED for part in file.parts) or any(map(file.is_relative_to, _library_folders()))


def _files(entry: Path | None) -> Iterator[Path]:
    if entry is not None and entry.is_file():
        yield entry
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file and Path(file).is_file():
            yield Path(file).absolute()


def _below(file: Path, root: Path) -> Path | None:
    for name, folder in ((file, root), (file.resolve(), root.resolve())):
        if name.is_relative_to(folder):
            return name.relative_to(folder)
    return None


@cache
def _library_folders() -> list[Path]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
    return [Path(folder) for folder in sorted(folders) if folder]

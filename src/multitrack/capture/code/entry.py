"""What was started: a script, a module, an installed program, a notebook, or nothing that has a file."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """How this process was started."""

    kind: str
    """As in `CodeVersion.entry_kind`."""
    point: str | None = None
    """The path of a file, absolute; else how it is called."""
    file: Path | None = None
    """The file that runs, absolute."""
    cwd: Path = Path()
    """The working folder."""


def find_entry() -> Entry:
    """Return how this process was started.

    Raises:
        OSError: the working folder is gone.
    """
    cwd = Path.cwd()
    main = sys.modules.get("__main__")
    shell = find_shell()
    if shell is not None:
        notebook = _notebook(shell, os.environ)
        kind = "notebook" if hasattr(shell, "kernel") else "interactive"
        return Entry(kind, str(notebook) if notebook else None, notebook, cwd)
    file = _absolute(getattr(main, "__file__", None))
    if file is not None and file.name == "<stdin>":
        file = None
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name and spec.name != "__main__":
        return Entry("module", f"-m {spec.name.removesuffix('.__main__')}", file, cwd)
    if file is not None:
        started = _absolute(sys.argv[0]) if spec is not None and sys.argv[0] else file  # a folder or an archive with a __main__.py
        if _is_installed(file):
            return Entry("program", file.name, file, cwd)
        return Entry("script", str(started), file, cwd)
    return Entry(*_without_file(sys.orig_argv), None, cwd)


def find_shell() -> Any | None:
    """Return the IPython shell that runs this program, None where there is none."""
    ipython = sys.modules.get("IPython")
    get = getattr(ipython, "get_ipython", None)
    return get() if get is not None else None


def _without_file(command: list[str]) -> tuple[str, str | None]:
    if "-c" in command[1:]:
        return "inline", "-c"
    try:
        typed = sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # closed
        typed = False
    return ("interactive", None) if typed or sys.flags.interactive else ("stdin", "-")


def _notebook(shell: Any, environ: Mapping[str, str]) -> Path | None:
    """Return the notebook's file where its editor tells it: VS Code in a variable, Jupyter's server in the environment."""
    told = getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__")
    if not told and hasattr(shell, "kernel"):
        told = environ.get("JPY_SESSION_NAME")
    return _absolute(told) if isinstance(told, str) and told.endswith(".ipynb") else None


def _absolute(path: str | None) -> Path | None:
    return Path(os.path.abspath(path)) if path else None  # noqa: PTH100 - links stay links: the name under which it was started


def _is_installed(file: Path) -> bool:
    """Return whether a file is one of the programs that came with packages."""
    scripts = {sysconfig.get_path("scripts"), *([sysconfig.get_path("scripts", "posix_user")] if os.name == "posix" else [])}
    return str(file.parent) in scripts and file.suffix != ".py"

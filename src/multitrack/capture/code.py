"""Which code runs: from git where there is a repository, and from the process itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ..masking import Mask, strip_credentials
from ..records import CodeVersion, now
from .recorder import Recorder

_GIT_TIMEOUT = 20.0
"""Seconds. `git status` on a repository of 100,000 files takes about one; a network file system takes longer."""


def capture_code(recorder: Recorder) -> None:
    """Record the code's version."""
    recorder.write(code_version(Path.cwd(), recorder.mask))


def code_version(here: Path, mask: Mask) -> CodeVersion:
    """Return the code's version, for the repository around a folder, or for none."""
    command = mask.command([sys.executable, *sys.orig_argv[1:]])
    entry_point = _entry_point()
    root = _git(here, "rev-parse", "--show-toplevel") if shutil.which("git") else None
    if root is None:
        return CodeVersion(time=now(), entry_point=entry_point, command=command, working_dir=str(here))
    status = _git(here, "status", "--porcelain", "--untracked-files=no")
    branch = _git(here, "symbolic-ref", "--short", "-q", "HEAD")
    remote = _git(here, "config", "--get", "remote.origin.url")
    return CodeVersion(
        time=now(),
        vcs="git",
        commit=_git(here, "rev-parse", "-q", "--verify", "HEAD"),
        branch=branch,
        remote=strip_credentials(remote) if remote else None,
        dirty=None if status is None else bool(status),
        entry_point=entry_point,
        command=command,
        working_dir=_below(here, Path(root)),
    )


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, stripped; None where it fails or does not end in time."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "--no-optional-locks", *arguments],  # noqa: S607 - the user's own git, wherever it is
            capture_output=True,
            timeout=_GIT_TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def _entry_point() -> str | None:
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return f"-m {spec.name.removesuffix('.__main__')}"
    return str(getattr(main, "__file__", "")) or None


def _below(folder: Path, root: Path) -> str:
    try:
        return folder.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:  # git and Python see another name of the same place
        return str(folder)

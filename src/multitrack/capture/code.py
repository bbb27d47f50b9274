"""Which code runs: from git where there is a repository, and from the process itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ..records import CodeVersion, now

_GIT_TIMEOUT = 20.0
"""Seconds. `git status` on a repository of 100,000 files takes about one; a network file system takes longer."""


def capture_code(folder: Path | None = None) -> CodeVersion:
    """Return the code's version, for the repository around `folder` (the working folder if left out), or for none."""
    here = folder or Path.cwd()
    command = hide_secrets([sys.executable, *sys.orig_argv[1:]])
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


def strip_credentials(url: str) -> str | None:
    """Return a remote's URL without user name, password and query; `git@host:path` stays as it is. None: it is no URL at all."""
    if not re.match(r"[a-z][a-z0-9+.-]*://", url, re.IGNORECASE):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


_SECRET_NAME = re.compile(r"(?i)(^|[-_.])(password|passwd|passphrase|secret|token|credentials?|(api|access|private|secret)[-_]?key)$")
_WITH_LOGIN = re.compile(r"(?i)([a-z][a-z0-9+.-]*://)[^/\s@]+@")
_HIDDEN = "***"


def hide_secrets(command: Sequence[str]) -> list[str]:
    """Return a command line without what looks like a secret: the value of `--token`, `api_key=...`, and logins in URLs."""
    shown: list[str] = []
    hide_next = False
    for argument in command:
        name, sign, _ = argument.partition("=")
        if hide_next and not argument.startswith("--"):
            shown.append(_HIDDEN)
        elif sign and _SECRET_NAME.search(name):
            shown.append(f"{name}={_HIDDEN}")
        else:
            shown.append(_WITH_LOGIN.sub(rf"\1{_HIDDEN}@", argument))
        hide_next = not sign and argument.startswith("-") and _SECRET_NAME.search(argument) is not None
    return shown

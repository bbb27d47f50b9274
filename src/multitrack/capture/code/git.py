"""The user's own git, asked without touching anything: no hook, pager, filter or external diff runs, and nothing is written."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

CALL_LIMIT = 15.0
"""Seconds for one call. `git status` on a repository of 100,000 files takes about one; a cold network file system takes longer."""
TOTAL_LIMIT = 25.0
"""Seconds for all calls together: below what the end of a run waits for its captures."""

_KEPT = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH")
"""Of the variables that git reads. Those that a hook is started with (GIT_DIR, GIT_INDEX_FILE, ...) lead to another repository."""
_DROPPED = "GIT_CONFIG_PARAMETERS"
_OVERRIDES = {
    "core.fsmonitor": "false",  # or a program of the user's, or a daemon that stays
    "core.hooksPath": os.devnull,
    "core.quotePath": "false",
    "core.pager": "cat",
    "color.ui": "false",
    "diff.noprefix": "false",
    "diff.mnemonicPrefix": "false",
    "diff.relative": "false",
    "diff.suppressBlankEmpty": "false",
    "diff.orderFile": os.devnull,
    "diff.interHunkContext": "0",
    "diff.submodule": "short",
    "submodule.recurse": "false",
    "maintenance.auto": "false",
    "gc.auto": "0",
}


class GitError(Exception):
    """Git has answered with an error; the text is what it said."""


class GitTimeoutError(Exception):
    """Git has not answered in time."""


class TooMuchError(Exception):
    """Git's answer is longer than was allowed."""


class Git:
    """Asks git about one working folder.

    Args:
        program: its path.
        folder: where it is asked.
        deadline: of `time.monotonic`: no answer is waited for longer.
        filters: names of filter drivers (`filter.<name>`) that must not run.
    """

    def __init__(self, program: str, folder: Path, deadline: float, filters: Sequence[str] = ()) -> None:
        self.folder = folder
        self.deadline = deadline
        self.filters = filters
        self._program = program
        self._options = _options(filters)

    def at(self, folder: Path, filters: Sequence[str] = ()) -> Git:
        """Return one that asks elsewhere."""
        return Git(self._program, folder, self.deadline, filters)

    def ask(self, *arguments: str, limit: int | None = None, given: bytes = b"") -> bytes:
        """Return what git prints.

        Args:
            arguments: the command and its options.
            limit: bytes that the answer may have.
            given: what it reads from its standard input.

        Raises:
            GitError: it fails, or cannot be started.
            GitTimeoutError: it takes too long.
            TooMuchError: the answer is longer than `limit`.
        """
        seconds = min(CALL_LIMIT, self.deadline - time.monotonic())
        if seconds <= 0:
            raise GitTimeoutError(f"git {arguments[0]}: no time was left of {TOTAL_LIMIT:.0f} s")
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as asked:
            asked.write(given)
            asked.seek(0)
            try:
                process = subprocess.Popen(
                    [self._program, "-C", str(self.folder), *self._options, *arguments],
                    stdin=asked,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env=_variables(os.environ),
                    start_new_session=True,  # Ctrl-C is not for git, and it ends with all that it has started
                )
            except OSError as error:
                raise GitError(f"git cannot be started: {error}") from None
            answer, late = _read(process, seconds, limit)
            if late:
                raise GitTimeoutError(f"git {arguments[0]} took longer than {seconds:.0f} s")
            if process.returncode != 0:
                said.seek(0)
                raise GitError(said.read(4096).decode("utf-8", "replace").strip() or f"git {arguments[0]} ended with {process.returncode}")
        return answer


def find_git() -> str | None:
    """Return the path of the user's git, or None."""
    program = shutil.which("git")
    if program == "/usr/bin/git" and sys.platform == "darwin" and not any(map(os.path.exists, _MACOS_GITS)):
        return None  # it would open a window that offers to install it
    return program


_MACOS_GITS = ("/Library/Developer/CommandLineTools/usr/bin/git", "/Applications/Xcode.app/Contents/Developer/usr/bin/git")


def _options(filters: Sequence[str]) -> list[str]:
    settings = dict(_OVERRIDES)
    for name in filters:
        settings |= {f"filter.{name}.{verb}": "" for verb in ("clean", "smudge", "process")} | {f"filter.{name}.required": "false"}
    pairs = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    return ["--no-pager", "--no-optional-locks", *pairs]


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if not name.startswith("GIT_") or name.startswith(_KEPT)}
    kept.pop(_DROPPED, None)
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}


def _read(process: subprocess.Popen[bytes], seconds: float, limit: int | None) -> tuple[bytes, bool]:
    """Return what a process prints, and whether it was ended since it took too long.

    Raises:
        TooMuchError: it prints more than `limit` bytes, and was ended.
    """
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    late = threading.Event()

    def end_late() -> None:
        late.set()
        _end(process)

    timer = threading.Timer(seconds, end_late)
    timer.daemon = True
    timer.start()
    pieces, size = [], 0
    try:
        while piece := process.stdout.read(1 << 20):
            pieces.append(piece)
            size += len(piece)
            if limit is not None and size > limit:
                raise TooMuchError(f"more than {limit:,} bytes")
        process.wait()
    finally:
        timer.cancel()
        _end(process)
        process.stdout.close()
        process.wait()
    return b"".join(pieces), late.is_set()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)

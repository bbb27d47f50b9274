"""Scripts run at a terminal, a pipe or a file, and every byte that came out."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from multitrack.journal import Journal, Store
from multitrack.records import LogLines
from multitrack.state import ConsoleLine, RunState, fold

Where = Literal["terminal", "pipe", "file"]
TIMEOUT = 60
_LEFT = 3
"""The exit code of scripts that leave by `os._exit`."""
_BEGIN = """
import multitrack as mt
run = mt.init()
"""


@dataclass(frozen=True)
class Shown:
    """What a script showed, and what was recorded."""

    code: int
    out: bytes
    err: bytes
    """Empty where standard error goes to the same place."""
    store: Store

    @property
    def state(self) -> RunState:
        (folder,) = self.store.runs()
        return fold(Journal(folder).records())

    @property
    def status(self) -> str:
        (folder,) = self.store.runs()
        return Journal(folder).verdict().status

    @property
    def records(self) -> list[LogLines]:
        (folder,) = self.store.runs()
        return [record for record in Journal(folder).records() if isinstance(record, LogLines)]

    def lines(self, stream: str | None = None) -> list[str]:
        """Return what was recorded of one stream, or of both."""
        return [line.text for line in self.console if stream in (None, line.stream)]

    @property
    def console(self) -> list[ConsoleLine]:
        return self.state.console


class Consoles:
    """Runs scripts in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0

    def run(
        self,
        code: str,
        where: Where = "pipe",
        *,
        capture: str = "console",
        typed: bytes = b"",
        begin: str = _BEGIN,
        ready: bytes | None = None,
        act: Callable[[int], None] | None = None,
        **variables: str,
    ) -> Shown:
        """Run a script, which begins a run first, to its end.

        Args:
            typed: what is typed at the terminal, once `ready` was shown.
            act: is called with the process's id, once `ready` was shown.
        """
        self._count += 1
        store = Store(self.folder / f"store{self._count}")
        path = self.folder / "train.py"
        path.write_text(begin + textwrap.dedent(code))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MULTITRACK_", "PYTHONUNBUFFERED"))}
        env = {
            **kept,
            "MULTITRACK_DIR": str(store.root),
            "MULTITRACK_CAPTURE": capture,
            "MULTITRACK_QUIET": "1",
            "TERM": "xterm",
            **variables,
        }
        run = {"terminal": self._at_terminal, "pipe": self._at_pipes, "file": self._at_file}[where]
        return Shown(*run([sys.executable, str(path)], env, typed, ready, act), store)

    def _at_terminal(
        self, command: list[str], env: dict[str, str], typed: bytes, ready: bytes | None, act: Callable[[int], None] | None
    ) -> tuple[int, bytes, bytes]:
        pid, terminal = pty.fork()
        if pid == 0:
            try:
                os.chdir(self.folder)
                os.execve(command[0], command, env)
            finally:
                os._exit(127)
        out = b""
        deadline = time.monotonic() + TIMEOUT
        try:
            while True:
                assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], out
                try:
                    data = os.read(terminal, 65_536)
                except OSError:  # nobody holds it any more
                    break
                if not data:
                    break
                out += data
                if ready is not None and ready in out:
                    ready = None
                    if typed:
                        os.write(terminal, typed)
                    if act is not None:
                        act(pid)
        finally:
            os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out, b""

    def _at_pipes(
        self, command: list[str], env: dict[str, str], typed: bytes, ready: bytes | None, act: Callable[[int], None] | None
    ) -> tuple[int, bytes, bytes]:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, env=env, cwd=self.folder
        )
        first = b""
        if ready is not None and process.stdout is not None:
            while ready not in first:
                first += process.stdout.readline()
            if act is not None:
                act(process.pid)
        out, err = process.communicate(typed, timeout=TIMEOUT)
        return process.returncode, first + out, err

    def _at_file(
        self, command: list[str], env: dict[str, str], typed: bytes, ready: bytes | None, act: Callable[[int], None] | None
    ) -> tuple[int, bytes, bytes]:
        assert not typed
        assert ready is None
        assert act is None
        with tempfile.TemporaryFile() as file:
            code = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=self.folder,
                timeout=TIMEOUT,
                check=False,
            ).returncode
            if code < 0 or code == _LEFT:  # the pump may be a moment behind
                time.sleep(1)
            file.seek(0)
            return code, file.read(), b""


def wait_until(condition: Callable[[], bool], *, timeout: float = 20.0) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)

"""Scripts as a user writes them, each run in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from multitrack.journal import Journal, RunFolder, Store
from multitrack.records import Record
from multitrack.state import RunState, fold


@dataclass(frozen=True)
class Ended:
    """How a script ended, and what it left."""

    code: int
    out: str
    err: str
    store: Store

    @property
    def folder(self) -> RunFolder:
        """The one run of its store."""
        (folder,) = self.store.runs()
        return folder

    @property
    def journal(self) -> Journal:
        return Journal(self.folder)

    @property
    def records(self) -> list[Record]:
        return list(self.journal.records())

    @property
    def state(self) -> RunState:
        return fold(self.records)

    @property
    def status(self) -> str:
        return self.journal.verdict().status

    def statuses(self) -> dict[str | None, str]:
        """Name of the run to its status."""
        return {fold(Journal(folder).records()).name: Journal(folder).verdict().status for folder in self.store.runs()}


class Scripts:
    """Runs scripts in a folder of their own, with a store beside them. `mt` is imported for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")

    def run(self, code: str, *arguments: str, check: int | None = 0, **variables: str) -> Ended:
        """Run a script to its end; `check` is the exit code that it must have, None for any."""
        process = self.start(code, *arguments, **variables)
        out, err = process.communicate(timeout=60)
        if check is not None:
            assert process.returncode == check, err
        return Ended(process.returncode, out, err, self.store)

    def start(self, code: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a script."""
        path = self.folder / "train.py"
        text = (
            "import multitrack as mt\nQUICK = mt.Capture(code=False, environment=False, system=False, console=False)\n"
            + textwrap.dedent(code)
        )
        if not path.exists() or path.read_text() != text:  # another process may be about to read it
            path.write_text(text)
        return subprocess.Popen(
            [sys.executable, str(path), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
            env=self.environment(**variables),
        )

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables that a script gets: nothing of multitrack's but what is given here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MULTITRACK_")}
        ours = {"MULTITRACK_DIR": str(self.store.root), "MULTITRACK_CAPTURE": "code,environment"}  # tests count metrics and lines
        return {**kept, **ours, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder), **variables}


def stop(process: subprocess.Popen[str], end: Callable[[], None]) -> tuple[str, str]:
    """Wait for the script to print a line, end it, and return what it printed."""
    assert process.stdout is not None
    process.stdout.readline()
    end()
    return process.communicate(timeout=60)

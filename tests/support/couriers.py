"""Training scripts in processes of their own, with the flaky service installed as anybody's backend would be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from multitrack.journal import RunFolder, Store
from multitrack.testing.memory import MemoryService, StoredRun

from .plugins import write_plugin

LINGER = "0.5"
MULTITRACK = [sys.executable, "-m", "multitrack.cli"]


class Bench:
    """A folder with a store, flaky services, and the scripts that record there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "store")
        self.plugins = folder / "plugins"
        write_plugin(self.plugins, "flaky_plugin", "flaky", "multitrack.testing.flaky:FlakyBackend")
        self._processes: list[subprocess.Popen[str]] = []

    def address(self, service: str) -> str:
        return f"flaky:{self.folder / service}"

    def service(self, name: str) -> MemoryService:
        return MemoryService(self.folder / name)

    def rule(self, service: str, word: str, *, on: bool = True) -> None:
        """Let a service be `down`, `refuse` or `hang` from now on, or no longer."""
        path = self.folder / service / word
        path.parent.mkdir(exist_ok=True)
        if on:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MULTITRACK_", "PYTEST_", "CI"))}
        ours = {"PYTHONPATH": str(self.plugins), "MULTITRACK_DIR": str(self.store.root), "MULTITRACK_COURIER_LINGER": LINGER}
        ours |= {"MULTITRACK_CAPTURE": "code,environment"}  # tests count metrics and lines
        return {**kept, **ours, "MULTITRACK_FINISH_TIMEOUT": "20", "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder / "config")}

    def start(self, script: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a script; `mt`, `time`, `address` and `QUICK` are there already."""
        quick = "QUICK = mt.Capture(code=False, environment=False, system=False, console=False)\n"
        head = f"import os, sys, time\nimport multitrack as mt\n{quick}address = {f'flaky:{self.folder}/'!r}.__add__\n"
        process = subprocess.Popen(
            [sys.executable, "-c", head + script],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def run(self, script: str, env: Mapping[str, str] | None = None) -> tuple[str, str]:
        """Run a script to its end; return what it wrote on stdout and stderr."""
        process = self.start(script, env)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out, err

    def multitrack(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return subprocess.run(
            [*MULTITRACK, *arguments],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def status(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the deliveries that `multitrack status --json` tells of."""
        done = self.multitrack("status", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return [{**target, "run": run["run"]} for run in json.loads(done.stdout)["runs"] for target in run["targets"]]

    def only_run(self) -> RunFolder:
        (run,) = self.store.runs()
        return run

    def stored(self, service: str) -> StoredRun:
        """Return what a service has of the only run."""
        run = self.service(service).run(self.only_run().id)
        assert run is not None
        return run

    def couriers(self) -> list[psutil.Process]:
        """Return the couriers at work on the store."""
        found = []
        for process in psutil.process_iter():
            try:
                if "multitrack.courier" in process.cmdline() and process.cwd() == str(self.store.root):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def log_of(self, target: str) -> str:
        return "".join(path.read_text() for path in self.store.root.glob(f".couriers/{target}*.log"))

    def clean_up(self) -> None:
        """End what is still running, each by its id."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for courier in self.couriers():
            try:
                courier.send_signal(signal.SIGKILL)
                courier.wait(10)
            except psutil.Error:
                continue


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A bench that is cleaned up."""
    made = Bench(folder)
    try:
        yield made
    finally:
        made.clean_up()


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return what the condition returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found

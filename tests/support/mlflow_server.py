"""A real MLflow server on loopback, which tests start, stop and start again on the same port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

START_TIMEOUT = 120.0
"""Seconds; it takes about 20 on two idle cores."""


class MLflowServer:
    """A tracking server over sqlite: what it holds lies in `folder` and outlives `stop`."""

    def __init__(
        self, folder: Path, *, backend_store: str | None = None, arguments: tuple[str, ...] = (), env: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.backend_store = backend_store or f"sqlite:///{folder / 'mlflow.db'}"
        self.port = free_port()
        self._arguments = arguments
        self._env = env or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self) -> MLflowServer:
        """Start it, and return when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
                    *("--backend-store-uri", self.backend_store, "--artifacts-destination", str(self.folder / "artifacts")),
                    *self._arguments,
                ],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**clean_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **self._env},
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the MLflow server did not start:\n{self.log[-4000:]}")
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """End the server and its workers, which are the only members of its process group."""
        if self._process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
            except ProcessLookupError:
                break
            if self._gone(within=10):
                break
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Start again on the same port, with the same contents."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _gone(self, within: float) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            self._process.poll()
            try:
                os.killpg(self._process.pid, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.05)
        return False

    def __enter__(self) -> MLflowServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Return this process's environment without MLflow's variables, with its telemetry off."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "_MLFLOW_", "MULTITRACK_", "PYTEST_"))}
    return {**kept, "MLFLOW_DISABLE_TELEMETRY": "true"}

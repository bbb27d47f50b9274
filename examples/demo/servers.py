"""MLflow tracking servers of the demo's own: sqlite, loopback, a free port each."""

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
"""Seconds. One server takes about 20 on two processors, and they start side by side."""
STOP_TIMEOUT = 10.0


class Server:
    """One server. What it holds lies in `folder`, and outlives `stop`; the port stays the same from one start to the next."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.folder / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def start(self) -> None:
        """Start the server, and return at once; `wait` returns when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
                    *("--backend-store-uri", f"sqlite:///{self.database}", "--artifacts-destination", str(self.artifacts)),
                    *("--workers", "1"),
                ],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Without job execution a server is one process instead of ten.
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return when the server answers.

        Raises:
            RuntimeError: it has ended, or takes too long; the message holds the end of its log.
        """
        deadline = time.monotonic() + START_TIMEOUT
        while not self.answers():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / "server.log").read_text(errors="replace")
                raise RuntimeError(f"the MLflow server {self.name!r} did not start:\n{log[-3000:]}")
            time.sleep(0.2)

    def answers(self) -> bool:
        """Return whether the server is up."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """End the server and its worker, the only members of its process group."""
        if self._process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, sign)
            except ProcessLookupError:
                break
            if self._is_gone(within=STOP_TIMEOUT):
                break
        self._process.wait()
        self._process = None

    def _is_gone(self, within: float) -> bool:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if self._process is not None:
                self._process.poll()
                try:
                    os.killpg(self._process.pid, 0)
                except ProcessLookupError:
                    return True
            time.sleep(0.05)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""A PostgreSQL server of a test's own, on loopback, where the programs are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from support.mlflow_server import free_port

USER = "multitrack"


def find_programs() -> Path | None:
    """Return the folder that holds `initdb` and `postgres`, which distributions often leave out of the path; None without them."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    return next(
        (folder for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True) if (folder / "initdb").exists()), None
    )


class PostgreSQL:
    """A server in a temporary folder, whose only user needs `password`. Started by `with`."""

    def __init__(self, password: str) -> None:
        programs = find_programs()
        assert programs is not None
        self._programs = programs
        self._temporary = tempfile.TemporaryDirectory(prefix="multitrack-postgresql-", ignore_cleanup_errors=True)
        self._folder = Path(self._temporary.name)
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self._user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self.port = free_port()

    @property
    def location(self) -> str:
        """The database's address for MLflow, without the password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> PostgreSQL:
        data, secret = self._folder / "data", self._folder / "password"
        secret.write_text(self._password)
        if self._user:
            shutil.chown(self._folder, self._user)
            shutil.chown(secret, self._user)
        create = [*("-D", str(data), "-U", USER, "-A", "scram-sha-256", "--pwfile", str(secret)), "-E", "UTF8", "--no-sync", "--locale=C"]
        subprocess.run([str(self._programs / "initdb"), *create], check=True, user=self._user, cwd=self._folder, capture_output=True)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._programs / "postgres"), "-D", str(data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"),
                    *("-c", f"unix_socket_directories={self._folder}", "-c", "fsync=off"),
                ],
                user=self._user,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()
        return self

    def _wait(self) -> None:
        import psycopg

        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.location, password=self._password).close()
                return
            except psycopg.OperationalError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise RuntimeError((self._folder / "log").read_text()) from None
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._temporary.cleanup()

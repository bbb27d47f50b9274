"""Where everything lies on the disk.

STORE/                          a folder, `.multitrack` unless told otherwise
  .gitignore                    "*"
  .couriers/TARGET.lock, .log   the process that delivers to TARGET, while it lives
  .pending/TARGET/RUN           runs that TARGET has not got whole; the file holds the run's folder, relative to the store
  .reproduced/NAME/             a run's code, data and environment, had again; anybody may remove it
  PROJECT/RUN/                  a run
    run.json                    the run as it stands, for people and jq; rebuildable
    part                        there where only ranks other than the first record: the rest of the run is on another disk
    records/WRITER.jsonl .lock  one pair a writer
    columns/WRITER.*.parquet    the points of a large run as columns; rebuildable, see `multitrack.columnar`
    artifacts/SHA256            file contents
    delivery/TARGET.*           what TARGET has got
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError, RunNotFoundError
from ..records import RUN_ID

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}(?<![. ])")


def folder_name(name: str) -> str:
    """Return a folder's name for a project or target: the name itself if it is plain, else a plain one with the hash of the name.

    Two projects may share a folder where the file system ignores case: runs are told apart by their ids, and know their project.
    """
    if _PLAIN_NAME.fullmatch(name):
        return name
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:60].lstrip("-") or "_"
    return f"{plain}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content so that a reader, or a crash, sees the old one or the new one."""
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = path / "records"
        self.artifacts = path / "artifacts"
        self.delivery = path / "delivery"
        self.summary = path / "run.json"
        self.part = path / "part"
        """There where only a part of the run is recorded; holds how that part has ended, once it has."""

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def store(self) -> Store:
        return Store(self.path.parent.parent)

    def create(self) -> None:
        """Make the folder and its parts."""
        for folder in (self.records, self.artifacts, self.delivery):
            folder.mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        return self.records.is_dir()

    def records_of(self, writer: str) -> Path:
        return self.records / f"{writer}.jsonl"

    def lock_of(self, writer: str) -> Path:
        return self.records / f"{writer}.lock"

    def content(self, sha256: str) -> Path:
        return self.artifacts / sha256


class Store:
    """A folder of runs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        """Make the folder, kept out of version control.

        Raises:
            ConfigError: it cannot be made or written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
            if not os.access(self.root, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise ConfigError(
                f"the store {self.root} cannot be written to: {error.strerror or error}; name another folder with dir=... or MULTITRACK_DIR"
            ) from None

    def folder(self, project: str, run_id: str) -> RunFolder:
        """Return a run's folder, whether it is there or not."""
        return RunFolder(self.root / folder_name(project) / run_id)

    def find(self, run_id: str) -> RunFolder | None:
        """Return the folder of the run with this id, in whichever project; None if there is none."""
        if not RUN_ID.fullmatch(run_id):
            return None
        return next((run for path in self.root.glob(f"[!.]*/{run_id}") if (run := RunFolder(path)).exists()), None)

    def get(self, run_id: str) -> RunFolder:
        """Like `find`.

        Raises:
            RunNotFoundError: there is none.
        """
        if found := self.find(run_id):
            return found
        raise RunNotFoundError(f"no run {run_id!r} in {self.root}; `multitrack runs` lists those there are")

    def runs(self) -> Iterator[RunFolder]:
        """Yield the runs, project by project."""
        if not self.root.is_dir():
            return
        for project in sorted(path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")):
            for path in sorted(project.iterdir()):
                if RUN_ID.fullmatch(path.name) and (run := RunFolder(path)).exists():
                    yield run

    def courier_lock(self, target: str) -> Path:
        return self.root / ".couriers" / f"{folder_name(target)}.lock"

    def courier_log(self, target: str) -> Path:
        return self.root / ".couriers" / f"{folder_name(target)}.log"

    def add_pending(self, target: str, run: RunFolder) -> None:
        """Note that `target` has still to get the run."""
        folder = self.root / ".pending" / folder_name(target)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / run.id).write_text(str(run.path.relative_to(self.root)))

    def remove_pending(self, target: str, run: RunFolder) -> None:
        """Note that `target` has the whole run."""
        (self.root / ".pending" / folder_name(target) / run.id).unlink(missing_ok=True)

    def pending(self, target: str) -> list[RunFolder]:
        """Return the runs that `target` has still to get."""
        found = []
        folder = self.root / ".pending" / folder_name(target)
        for note in sorted(folder.iterdir()) if folder.is_dir() else ():
            with contextlib.suppress(FileNotFoundError):
                run = RunFolder(self.root / note.read_text())
                if run.exists():
                    found.append(run)
                else:  # deleted since
                    note.unlink(missing_ok=True)
        return found

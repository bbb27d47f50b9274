"""The sink into a folder: a run as the 1.x client logs it offline, which `neptune sync` brings to a server.

    DIR/.neptune/offline/run__<uuid>__<pid>__<8 of the id>/     the UUID is the run's id, or made of it

A batch ends with an operation that counts it. What stands behind the last one when the folder is opened again comes from a process that
died, and is cut off; and before it, each writer's last record is noted: so everything is there once.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import time

import orjson

from multitrack.backend import TAG_COMPLETE, Batch, Conclusion, Position, Rejection, Sink
from multitrack.errors import PermanentError, TransientError
from multitrack.records import RunStarted

from .. import names
from ..decode import read_conclusion
from ..encode import Encoder, Item, Known, Operation
from .log import Log
from .places import find_containers
from .replay import Survey, blocks, survey

FILE_BYTES = 1 << 26
"""Where the client begins another file."""
_STRUCTURE = 3
_COMMITS = {names.BATCHES: "AssignInt", names.CONCLUSION: "UploadFile"}


def folder_of(location: Path) -> Path:
    """Return the `.neptune` folder of a location."""
    return location if location.name == ".neptune" else location / ".neptune"


def uuid_of(run_id: str) -> uuid.UUID:
    """Return the UUID that stands for a run: its id where that is hexadecimal."""
    return uuid.UUID(run_id) if re.fullmatch("[0-9a-f]{32}", run_id) else uuid.uuid5(uuid.NAMESPACE_OID, f"multitrack:{run_id}")


class OfflineSink(Sink):
    """One run's folder."""

    def __init__(self, location: Path) -> None:
        self._root = folder_of(location)
        self._file: _LogFile | None = None

    @property
    def _log(self) -> _LogFile:
        if self._file is None:
            raise RuntimeError("open comes first")
        return self._file

    def open(self, run: RunStarted) -> Position:
        """Find the run's folder, or make it."""
        id_ = str(uuid_of(run.id))
        with _translated():
            offline = self._root / "offline"
            found = next(offline.glob(f"run__{id_}__*"), None) if offline.is_dir() else None
            if found is None:
                self._refuse_if_sent(id_)
                found = _make(offline, id_, run)
            _cut(found)
            log = Log(found)
            there = survey(log)
            self._file = _LogFile(found, log.shortfall.last)
            self._encoder = Encoder(_known(log, there))
            upload = there.files.get(names.CONCLUSION)
            concluded = read_conclusion((found / "upload_path" / upload.kept_as).read_bytes()) if upload and upload.kept_as else None
        return Position(batches=None if there.scalars else 0, marker=concluded.tags.get(TAG_COMPLETE) if concluded else None)

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Append a batch."""
        with _translated():
            self._log.append(self._encoder.batch(batch))
        return ()

    def flush(self) -> Position:
        """Have the disk confirm."""
        with _translated():
            self._log.sync()
        return Position(batches=None)

    def finish(self, conclusion: Conclusion) -> None:
        """Append the files and the ending."""
        with _translated():
            self._log.append(self._encoder.conclude(conclusion))
            self._log.sync()

    def close(self) -> None:
        """Close the log."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _refuse_if_sent(self, id_: str) -> None:
        """Neptune's `sync` moves a folder to `async/` under the server's id, and deletes it in the end: what it has begun is its own."""
        for container in find_containers(self._root / "async"):
            if any(execution.metadata.get("containerId") == id_ for execution in container.executions):
                raise PermanentError(f"{container.executions[0].folder}: `neptune sync` is at work on this run; let it end first")


class _LogFile:
    """The end of a log, to which operations are appended."""

    def __init__(self, folder: Path, last: int) -> None:
        self._folder = folder
        self._last = last
        files = Log(folder).files()
        self._file = (files[-1] if files else folder / "data-1.log").open("ab")

    def append(self, items: Iterable[Item]) -> None:
        """Write operations; what they upload is copied first."""
        for item in items:
            operation = item if isinstance(item, dict) else self._keep(item)
            self._last += 1
            # As the client writes it: ASCII, lone surrogates escaped.
            line = json.dumps({"obj": operation, "version": self._last, "at": time()}).encode() + b"\n"
            if self._file.tell() + len(line) > FILE_BYTES:
                self.sync()
                self._file.close()
                self._file = (self._folder / f"data-{self._last}.log").open("ab")
            self._file.write(line)
        self._file.flush()

    def sync(self) -> None:
        """Have the disk confirm, then note how many operations there are."""
        self._file.flush()
        os.fsync(self._file.fileno())
        _write(self._folder / "last_put_version", str(self._last).encode())

    def close(self) -> None:
        self._file.close()

    def _keep(self, item: Item) -> Operation:
        """Copy a file's content to where the client keeps what it is to upload; return the operation that says so."""
        if isinstance(item, dict):
            return item
        name = f"{self._last + 1:010}" + (f".{item.extension}" if item.extension else "")
        to = self._folder / "upload_path" / name
        if isinstance(item.content, bytes):
            to.write_bytes(item.content)
        else:
            shutil.copyfile(item.content, to)
        upload = {"ext": item.extension, "file_path": None, "tmp_file_name": name, "clean_after_upload": False}
        return {"type": "UploadFile", "path": item.path.split("/"), **upload}


def _make(offline: Path, id_: str, run: RunStarted) -> Path:
    folder = offline / f"run__{id_}__{os.getpid()}__{run.id[:8]}"
    (folder / "upload_path").mkdir(parents=True)
    metadata = {
        "mode": "offline",
        "containerId": id_,
        "containerType": "run",
        "structureVersion": _STRUCTURE,
        "os": platform.platform(),
        "pythonVersion": sys.version,
        "neptuneClientVersion": _client_version(),
        "createdAt": datetime.fromtimestamp(max(run.time, 0) / 1_000_000, UTC).isoformat(),
        "project": run.project,
    }
    _write(folder / "metadata.json", orjson.dumps(metadata, option=orjson.OPT_INDENT_2))
    _write(folder / "last_ack_version", b"")
    _write(folder / "last_put_version", b"0")
    return folder


def _client_version() -> str:
    try:
        return version("neptune")
    except PackageNotFoundError:
        return "1.14.0"  # whose log this is


def _write(file: Path, data: bytes) -> None:
    beside = file.with_name(f".{file.name}.new")
    beside.write_bytes(data)
    beside.replace(file)


def _cut(folder: Path) -> None:
    """Cut off what stands behind the last operation that ends a batch or the run. All of it was written here: an operation a line."""
    end: tuple[Path, int] | None = None
    files = Log(folder).files()
    for file in files:
        offset = 0
        with file.open("rb") as lines:
            for line in lines:
                offset += len(line)
                if line.endswith(b"\n") and _ends_something(line):
                    end = file, offset
    for file in files:
        if end is None or files.index(file) > files.index(end[0]):
            file.unlink()
    if end is not None and end[0].stat().st_size > end[1]:
        os.truncate(*end)


def _ends_something(line: bytes) -> bool:
    if b'"multitrack"' not in line:
        return False
    operation = orjson.loads(line)["obj"]
    return bool(_COMMITS.get("/".join(operation["path"])) == operation["type"])


def _known(log: Log, there: Survey) -> Known:
    """Return what the log leaves standing, for the encoder."""
    known = Known(types={key.path: key.type for key in (*there.scalars, *there.series)} | dict.fromkeys(there.files, "file"))
    for key, value in there.scalars.items():
        if key.path == "sys/tags":
            known.tags = set(value)
        elif key.path == names.BATCHES:
            known.batches = value
        elif key.path.startswith(names.WRITERS):
            known.writers[key.path.removeprefix(names.WRITERS)] = value
    for block in blocks(log, there, types=("float_series",)):
        known.last[block.key.path] = block.steps[-1]
    known.concluded = names.CONCLUSION in there.files
    return known


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TransientError(f"{error.filename or 'the folder'}: {error.strerror or error}") from error

"""neptune-scale's `run_operations.sqlite3`: what its client has written and a server may not have seen.

    run_operations(sequence_id, timestamp, operation_type, operation BLOB, operation_size_bytes)   type 1: Run, 0: UpdateRunSnapshot
    metadata(id, version, project, run_id)
    file_upload_requests(id, source_path, destination, mime_type, size_bytes, is_temporary)

The database is never written to. Operations that a server has acknowledged are deleted from it by the client: what is left is told by the
numbers that are missing at the beginning.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from multitrack.errors import PermanentError

from .messages import ADD, Bins, Creation, FileRef, ScaleValue, Timestamp, Update, read_creation, read_update
from .replay import CHUNK, Block, Key
from .wire import WireError

VERSIONS = ("v1", "v2", "v3", "v4", "v5")
"""Of the database, by its own words: neptune-scale 0.11 to 0.30. The tables are the same in all; v1 knows no files."""
_RUN = 1
_FETCH = 1000

_SERIES = {float: "float_series", int: "float_series", str: "string_series", Bins: "histogram_series", FileRef: "file_series"}
_SCALARS = {float: "float", int: "int", bool: "bool", str: "string", Timestamp: "datetime", tuple: "string_set", FileRef: "file"}


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Where the content of a file is on the machine of the run."""

    place: Path
    is_temporary: bool
    """The client's own copy, beside the database."""


@dataclass(slots=True)
class ScaleSurvey:
    """What stands at the end."""

    creation: Creation = Creation()  # noqa: RUF009 - frozen
    scalars: dict[Key, ScaleValue] = field(default_factory=dict)
    series: set[Key] = field(default_factory=set)
    last: int | None = None
    """Microseconds since the epoch, of the last operation."""
    first_id: int | None = None
    operations: int = 0
    damaged: int = 0
    last_steps: dict[Key, int | float] = field(default_factory=dict)
    """Of each series, the last step of a point that is not provisional."""


class ScaleFile:
    """One run's database.

    Raises:
        PermanentError: it is none, is damaged, or comes from a version that is not known here.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._copy: TemporaryDirectory[str] | None = None
        self._place = self._where_to_read()
        with self._rows("SELECT version, project, run_id FROM metadata ORDER BY id LIMIT 1") as rows:
            found = next(rows, None)
        if found is None:
            raise PermanentError(f"{path}: it does not say whose run it is; the client was killed while it made the file")
        self._version, self.project, self.run_id = map(str, found)
        if self._version not in VERSIONS:
            raise PermanentError(f"{path}: written in version {self._version!r} of the format, and {', '.join(VERSIONS)} are known")

    def _where_to_read(self) -> Path:
        """Return the database, or a copy of it with its write-ahead log.

        To read that log, sqlite wants to write beside it, which is not for us to do, nor possible on a disk that is read-only.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        try:
            if not log.exists() or log.stat().st_size == 0:
                return self.path
            self._copy = TemporaryDirectory(prefix="multitrack-neptune-")
            for file in (self.path, log):
                shutil.copyfile(file, Path(self._copy.name) / file.name)
        except OSError as error:
            raise PermanentError(f"{self.path} cannot be read: {error.strerror or error}") from None
        return Path(self._copy.name) / self.path.name

    @contextmanager
    def _rows(self, query: str) -> Iterator[Iterator[tuple[object, ...]]]:
        try:
            how = "immutable=1" if self._copy is None else "mode=rw"
            with closing(sqlite3.connect(f"file:{quote(str(self._place))}?{how}", uri=True)) as connection:
                yield iter(connection.execute(query))
        except sqlite3.Error as error:
            raise PermanentError(f"{self.path} cannot be read: {error}") from error

    def uploads(self) -> dict[str, Uploaded]:
        """Return the files that were to be uploaded, by their names in the server's store."""
        if self._version == "v1":
            return {}
        with self._rows("SELECT destination, source_path, is_temporary FROM file_upload_requests") as rows:
            return {str(destination): Uploaded(Path(str(place)), bool(temporary)) for destination, place, temporary in rows}

    def operations(self) -> Iterator[tuple[int, int, Creation | Update | None]]:
        """Yield (number, microseconds since the epoch, operation) for each operation; None for one that cannot be read."""
        with self._rows("SELECT sequence_id, timestamp, operation_type, operation FROM run_operations ORDER BY sequence_id") as rows:
            for number, milliseconds, kind, data in rows:
                yield int(number), int(milliseconds) * 1000, _read(kind, data)  # type: ignore[call-overload]

    def survey(self) -> ScaleSurvey:
        """Return what the operations leave standing."""
        found = ScaleSurvey()
        for number, time, operation in self.operations():
            found.first_id = number if found.first_id is None else found.first_id
            found.operations += 1
            found.last = time if found.last is None else max(found.last, time)
            if operation is None:
                found.damaged += 1
            elif isinstance(operation, Creation):
                found.creation = operation
            else:
                _apply(found, operation)
        return found

    def blocks(self, found: ScaleSurvey, *, chunk: int = CHUNK) -> Iterator[Block]:
        """Yield the points of every series, each in its order. Of provisional points those stay that no later point has replaced."""
        reading: dict[Key, Block] = {}
        for _, time, operation in self.operations():
            if not isinstance(operation, Update):
                continue
            for name, value in operation.append.items():
                key = Key(name, _SERIES[type(value)])
                if operation.preview and (operation.step or 0) <= found.last_steps.get(key, -1):
                    continue
                block = reading.setdefault(key, Block(key, 0))
                block.steps.append(operation.step if operation.step is not None else block.first + len(block.times))
                block.times.append(operation.time if operation.time is not None else time)
                block.values.append(value)
                if len(block.times) >= chunk:
                    yield block
                    reading[key] = Block(key, block.first + len(block.times))
        yield from (block for block in reading.values() if block.times)


def _read(kind: object, data: object) -> Creation | Update | None:
    try:
        return read_creation(bytes(data)) if kind == _RUN else read_update(bytes(data))  # type: ignore[call-overload]
    except WireError:
        return None


def _apply(found: ScaleSurvey, update: Update) -> None:
    for name, value in update.assign.items():
        kind = _SCALARS.get(type(value))
        if kind is not None:
            found.scalars[Key(name, kind)] = value
    for name, changes in update.sets.items():
        key = Key(name, "string_set")
        before = found.scalars.get(key, ())
        after = set(before if isinstance(before, tuple) else ())
        for text, change in changes.items():
            (after.add if change == ADD else after.discard)(text)
        found.scalars[key] = tuple(sorted(after))
    for name, value in update.append.items():
        key = Key(name, _SERIES[type(value)])
        found.series.add(key)
        if not update.preview and update.step is not None:
            found.last_steps[key] = max(update.step, found.last_steps.get(key, update.step))

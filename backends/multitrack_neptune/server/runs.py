"""One run at a server, read: whoever wrote it, unsampled."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from multitrack.backend import derive_run_id
from multitrack.errors import PermanentError
from multitrack.records import RUN_ID, Artifact, RunStatus, derive_writer_id

from .. import names
from ..attributes import Attributes
from ..offline.files import Kept
from ..offline.replay import Block, Key, whole
from ..offline.runs import OfflineRun
from ..own import OwnRun
from .client import translated

PAGE = 1000
"""Points of one request; the server gives no more."""
TYPES = {
    "float": "float",
    "int": "int",
    "bool": "bool",
    "string": "string",
    "datetime": "datetime",
    "stringSet": "string_set",
    "floatSeries": "float_series",
    "stringSeries": "string_series",
    "imageSeries": "file_series",
    "file": "file",
    "fileSet": "file_set",
    "artifact": "artifact",
}
"""The server's words for types, and neptune-exporter's, which are ours."""
_VALUES = frozenset({"float", "int", "bool", "string", "datetime", "string_set"})
_READ = {"float_series": "get_float_series_values", "string_series": "get_string_series_values"}
_UNREAD = ("file_series", "file_set", "artifact")


@dataclass
class Found:
    """The attributes of a run."""

    values: dict[tuple[str, str], Any] = field(default_factory=dict)
    """Single values, by path and type: datetimes in microseconds."""
    types: dict[str, str] = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """The paths of the files."""
        return [path for path, kind in self.types.items() if kind == "file"]


def read_attributes(connection: Any, run_id: str) -> Found:
    """Return a run's attributes; those of types that multitrack knows nothing of are left out."""
    from neptune.internal.container_type import ContainerType

    found = Found()
    with translated("reading the attributes"):
        told = connection.fetch_atom_attribute_values(run_id, ContainerType.RUN, [])
    for path, name, value in told:
        kind = TYPES.get(getattr(name, "value", name))
        if kind is not None:
            found.types[path] = kind
        if kind in _VALUES and value is not None:
            found.values[path, kind] = _plain(kind, value)
    return found


def _plain(kind: str, value: Any) -> Any:
    if kind == "datetime":
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1_000_000)
    return sorted(value) if kind == "string_set" else value


def download(connection: Any, run_id: str, path: str) -> bytes:
    """Return a file's content."""
    with tempfile.TemporaryDirectory(prefix="multitrack-neptune-") as folder:
        place = Path(folder) / "content"
        save(connection, run_id, path, place)
        return place.read_bytes()


def save(connection: Any, run_id: str, path: str, to: Path) -> None:
    """Write a file's content to the file `to`.

    Raises:
        PermanentError: the server does not have it.
    """
    from neptune.internal.container_type import ContainerType

    with translated(f"downloading {path}"):
        connection.download_file(run_id, ContainerType.RUN, path.split("/"), str(to), progress_bar=False)


@dataclass(frozen=True)
class Remote(Kept):
    """A file at the server."""

    connection: Any = None
    run_id: str = ""
    path: str = ""

    def read(self) -> bytes:
        """Download the content."""
        return download(self.connection, self.run_id, self.path)

    def copy(self, to: Path) -> None:
        """Download the content into a file."""
        save(self.connection, self.run_id, self.path, to)


def read_blocks(connection: Any, run_id: str, types: dict[str, str], wanted: Sequence[str]) -> Iterator[Block]:
    """Yield all points of the series of these types, a page at a time."""
    from neptune.internal.container_type import ContainerType

    for path, kind in types.items():
        if kind not in wanted or kind not in _READ:
            continue
        block = Block(Key(path, kind), 0)
        while True:
            with translated(f"reading {path}"):
                page = getattr(connection, _READ[kind])(run_id, ContainerType.RUN, path.split("/"), block.first, PAGE)
            for point in page.values:
                block.steps.append(whole(point.step))
                block.times.append(int(point.timestampMillis) * 1000)
                block.values.append(point.value)
            if block.times:
                yield block
            block = Block(block.key, block.first + len(block.times))
            if not page.values or block.first >= page.totalItemCount:
                break


class OwnServerRun(OwnRun):
    """A run that multitrack wrote."""

    def __init__(self, connection: Any, entry: str, project: str, found: Found) -> None:
        self._connection = connection
        self.native_id = entry
        self.project = project
        self._found = found

    def fingerprint(self) -> object:
        return sorted((path, str(value)) for (path, _), value in self._found.values.items() if not path.startswith("sys/"))

    def paths(self) -> Iterable[str]:
        return self._found.files

    def file(self, path: str) -> Kept | None:
        if path not in self._found.files:
            return None
        return Remote(path, connection=self._connection, run_id=self.native_id, path=path)

    def blocks(self, types: Sequence[str]) -> Iterator[Block]:
        start = (*names.WRITTEN,)
        wanted = {path: kind for path, kind in self._found.types.items() if path.startswith(names.STEPS) or not path.startswith(start)}
        return read_blocks(self._connection, self.native_id, wanted, types)


class ServerRun(OfflineRun):
    """A run that somebody else wrote."""

    in_pieces = True

    def __init__(self, connection: Any, entry: str, project: str, found: Found) -> None:
        self._connection = connection
        self._found = found
        self.native_id = entry
        self.project = project
        own = str(found.values.get(("sys/custom_run_id", "string")) or "")
        short = str(found.values.get(("sys/id", "string")) or entry)
        self.id = own if RUN_ID.fullmatch(own) else derive_run_id(names.SERVICE, project, short)

    def version(self) -> str:
        told = {path: value for (path, _), value in self._found.values.items() if path not in ("sys/ping_time", "sys/monitoring_time")}
        return derive_writer_id(self.id, repr((names.MAPPING, sorted(self._found.types.items()), sorted(told.items(), key=str))))

    @cached_property
    def attributes(self) -> Attributes:
        values = {**self._found.values, **{(path, "file"): path for path in self._found.files}}
        return Attributes(self.project, str(values.get(("sys/id", "string")) or self.native_id), values=values)

    @property
    def status(self) -> RunStatus:
        return self.attributes.status

    @property
    def problems(self) -> list[str]:
        unread = [f"{path} ({kind})" for path, kind in sorted(self._found.types.items()) if kind in _UNREAD]
        return [f"not read from a server: {', '.join(unread)}; neptune-exporter takes them along"] if unread else []

    @property
    def series(self) -> set[Key]:
        return {Key(path, kind) for path, kind in self._found.types.items() if kind in _READ}

    def blocks(self) -> Iterator[Block]:
        return read_blocks(self._connection, self.native_id, self._found.types, tuple(_READ))

    def files(self) -> Iterator[Kept]:
        return (Remote(path, connection=self._connection, run_id=self.native_id, path=path) for path in sorted(self._found.files))

    def stepped_files(self) -> Iterator[tuple[Artifact, Kept, str]]:
        return iter(())


def make_run(connection: Any, entry: str, project: str) -> OwnServerRun | ServerRun:
    """Return a run by the server's id.

    Raises:
        PermanentError: the server does not have it.
    """
    found = read_attributes(connection, entry)
    if not found.types:
        raise PermanentError(f"run {entry} has no attributes")
    kind = OwnServerRun if (names.RUN_ID, "string") in found.values else ServerRun
    return kind(connection, entry, project, found)

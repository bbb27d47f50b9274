"""A run, read from the files of all its writers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import orjson

from ..backend import Entry
from ..errors import RecordError
from ..messages import host_name
from ..records import FORMAT_VERSION, Artifact, Ending, Record, RunFinished, RunStarted, RunStatus, RunUpdated, decode
from .layout import RunFolder
from .locks import is_locked
from .write import HEARTBEAT

_CHUNK = 1 << 20
_ENDINGS: tuple[Ending, ...] = get_args(Ending)


@dataclass(frozen=True, slots=True)
class Lines:
    """Whole lines of one writer, without their line ends, and where they lie in its file."""

    writer: str
    start: int
    end: int
    lines: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run stands. `crashed` is derived here: it has no end and nobody who lives."""

    status: RunStatus
    ended: int | None
    error: str | None
    deleted: bool


class WriterFile:
    """One writer's file."""

    def __init__(self, run: RunFolder, writer: str) -> None:
        self.id = writer
        self.path = run.records_of(writer)
        self._lock = run.lock_of(writer)
        self._header: dict[str, object] | None = None

    @property
    def header(self) -> dict[str, object]:
        """What the first line tells about the writer; empty while it is not there, or if it was damaged: the records tell enough.

        Raises:
            RecordError: the file was written by a newer multitrack.
        """
        if self._header is None:
            with self.path.open("rb") as file:
                line = file.readline()
            if not line.endswith(b"\n"):
                return {}
            self._header = self._parse_header(line)
        return self._header

    def _parse_header(self, line: bytes) -> dict[str, object]:
        try:
            header = orjson.loads(line)
        except orjson.JSONDecodeError:
            header = None
        if not isinstance(header, dict) or header.get("kind") != "journal" or type(version := header.get("format")) is not int:
            return {}
        if version > FORMAT_VERSION:
            raise RecordError(
                f"{self.path}: written by a newer multitrack (journal format {version}, this one reads up to {FORMAT_VERSION}); "
                "upgrade with: pip install -U multitrack"
            )
        return header

    def damage_of_header(self) -> str | None:
        """Return what is wrong with the first line, None if nothing is."""
        line = self.header_line()
        if self.header or not line.endswith(b"\n"):
            return None
        return f"{self.path.name}: the first line is no journal header: {line[:60]!r}"

    def is_alive(self) -> bool:
        """Return whether the process that writes this file lives: it holds its lock, or gives signs of life from another host."""
        if is_locked(self._lock):
            return True
        if self.header.get("host") in (None, host_name()):
            return False
        try:
            return time.time() - self._lock.stat().st_mtime < 3 * HEARTBEAT
        except FileNotFoundError:
            return False

    def header_line(self) -> bytes:
        """Return the first line, with its line end."""
        with self.path.open("rb") as file:
            return file.readline()

    def last_time(self) -> int | None:
        """Return the time of the last record, in microseconds; None if there is none."""
        size = self.size()
        part = self.read(max(0, self._line_start(size)), end=size)
        entries = list(decode_lines(part, self.path))
        return entries[-1].record.time if entries else None

    def _line_start(self, size: int) -> int:
        """Return where the last few whole lines start."""
        with self.path.open("rb") as file:
            window = 1 << 16
            while True:
                start = max(0, size - window)
                file.seek(start)
                data = file.read(size - start)
                if start == 0:
                    return 0
                if data.count(b"\n") > 1:
                    return start + data.index(b"\n") + 1
                window *= 4

    def size(self) -> int:
        """Return the file's size in bytes; a torn last line counts."""
        return self.path.stat().st_size

    def read(self, start: int = 0, *, max_bytes: int | None = None, end: int | None = None) -> Lines:
        """Return whole lines from byte `start` on: at most about `max_bytes` of them, or those up to byte `end`; the header is left out.

        Whatever follows the last line end is not there yet, or never will be.
        """
        self.header  # noqa: B018 - refuses a file that we cannot read
        with self.path.open("rb") as file:
            file.seek(start)
            data = file.read(end - start if end is not None else -1 if max_bytes is None else max_bytes)
            if end is None and max_bytes is not None and b"\n" not in data:
                data += file.readline()  # a line longer than the limit
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].split(b"\n")[:-1]
        return Lines(self.id, start, start + whole, tuple(lines[1:] if start == 0 else lines))

    def entries(self, damaged: list[str] | None = None) -> Iterator[Entry]:
        """Yield the records in the order in which they were written.

        A line that is no record (cut by a full disk, say) is passed over, and named in `damaged` where that is given.
        """
        if damaged is not None and (damage := self.damage_of_header()):
            damaged.append(damage)
        position = 0
        while True:
            part = self.read(position, max_bytes=_CHUNK)
            yield from decode_lines(part, self.path, damaged)
            if part.end == position:
                return
            position = part.end


def decode_lines(part: Lines, path: Path, damaged: list[str] | None = None) -> Iterator[Entry]:
    """Yield the entries of whole lines; name in `damaged` those that are none."""
    for line in part.lines:
        try:
            seq, record = decode(line)
        except RecordError as error:
            if damaged is not None and line.strip():
                damaged.append(f"{path.name}: {error}")
        else:
            yield Entry(part.writer, seq, record)


def _began(file: WriterFile) -> tuple[int, str]:
    time = file.header.get("time")
    return (time if isinstance(time, int) else 0), file.id


class Journal:
    """One run."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._writers: dict[str, WriterFile] = {}

    def writers(self) -> list[WriterFile]:
        """Return the writers, the first to have started first."""
        for name in os.listdir(self.run.records):  # noqa: PTH208 - names are all that is wanted, many times a second
            writer = name.removesuffix(".jsonl")
            if writer != name and writer not in self._writers:
                self._writers[writer] = WriterFile(self.run, writer)
        return sorted(self._writers.values(), key=_began)

    def entries(self, damaged: list[str] | None = None) -> Iterator[Entry]:
        """Yield every record of the run, writer by writer."""
        for writer in self.writers():
            yield from writer.entries(damaged)

    def records(self) -> Iterator[Record]:
        """Yield every record of the run without its name."""
        for entry in self.entries():
            yield entry.record

    def records_but(self, take: Callable[[bytes], bool]) -> Iterator[Record]:
        """Yield every record, except of those lines that `take`, which sees each in its turn, returns True for."""
        for writer in self.writers():
            position = 0
            while (part := writer.read(position, max_bytes=_CHUNK)).end > position:
                position = part.end
                for line in part.lines:
                    if not take(line):
                        yield from (entry.record for entry in decode_lines(replace(part, lines=(line,)), writer.path))

    def started(self) -> RunStarted:
        """Return the record that opens the run.

        Raises:
            RecordError: there is none.
        """
        for record in self.life():
            if isinstance(record, RunStarted):
                return record
        raise RecordError(f"{self.run.path}: no run_started record; the run's files were removed or never finished being made")

    def is_alive(self) -> bool:
        """Return whether any writer lives."""
        return any(writer.is_alive() for writer in self.writers())

    def sizes(self) -> Mapping[str, int]:
        """Return each file's size in bytes."""
        return {writer.id: writer.size() for writer in self.writers()}

    def version(self) -> str:
        """Return a text that changes whenever something is appended."""
        return hashlib.sha256(orjson.dumps(dict(self.sizes()), option=orjson.OPT_SORT_KEYS)).hexdigest()

    def content(self, artifact: Artifact) -> Path:
        """Return the file that holds an artifact's content."""
        return self.run.content(artifact.sha256 or "")

    def verdict(self) -> Verdict:
        """Return how the run stands, from the records of its life and from who is alive."""
        alive = self.is_alive()
        status: RunStatus = "running"
        recorded: RunStatus | None = None
        ended = error = None
        deleted = foreign = False
        for record in self.life():
            if isinstance(record, RunStarted):
                foreign = foreign or record.origin is not None
            elif isinstance(record, RunFinished):
                status = recorded = record.status
                ended, error = record.time, record.error
            elif isinstance(record, RunUpdated):
                deleted = deleted if record.deleted is None else record.deleted
                if record.status is not None:
                    status, recorded = record.status, None
                    ended = error = None
        # A run that was recorded elsewhere has no writers here: what its records say is all there is to know.
        if recorded is None and not alive and not foreign:
            return Verdict(self._end_of_part() or "crashed", self._last_time(), None, deleted)
        return Verdict(status, ended, error, deleted)

    def is_part(self) -> bool:
        """Return whether the run began on another disk, and ends there: only some of its ranks record here."""
        return self.run.part.exists()

    def _end_of_part(self) -> RunStatus | None:
        with contextlib.suppress(FileNotFoundError):
            text = self.run.part.read_text()
            return next((ending for ending in _ENDINGS if ending == text), None)
        return None

    def life(self) -> Iterator[Record]:
        """Yield the records of the run's life; the others, nearly all, are passed over without being decoded."""
        for writer in self.writers():
            position = 0
            while (part := writer.read(position, max_bytes=_CHUNK)).end > position:
                position = part.end
                chosen = tuple(line for line in part.lines if b'"run_' in line)
                for entry in decode_lines(Lines(part.writer, part.start, part.end, chosen), writer.path):
                    if isinstance(entry.record, RunStarted | RunUpdated | RunFinished):
                        yield entry.record

    def _last_time(self) -> int | None:
        times = [time for writer in self.writers() if (time := writer.last_time()) is not None]
        return max(times, default=None)

"""What travels with a concluded run: its neutral records, compressed, and the marker that says that it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from ..backend import ATTACHED_RECORDS, TAG_COMPLETE, Entry
from ..config.filters import Filters
from ..errors import RecordError
from ..journal import Journal, Verdict
from ..journal.layout import folder_name
from ..journal.read import decode_lines
from ..records import FORMAT_VERSION, Record, decode, encode
from .ledger import Ledger

MAPPING_VERSION = 1
"""Of the way in which runs are mapped onto services. A run that an older mapping delivered is delivered again by a migration."""


def filtered(entries: Iterable[Entry], filters: Filters) -> Iterator[Entry]:
    """Yield what passes the filters."""
    if not filters:  # the most frequent case, a million times over
        yield from entries
        return
    for entry in entries:
        record = filters.apply(entry.record)
        if record is not None:
            yield entry if record is entry.record else Entry(entry.writer, entry.seq, record)


class Attachment:
    """The run's records in one compressed file, made on entering and removed on leaving.

    It is the journal in the order in which the target got it, filtered as the target is: a writer's header line, some of its records,
    another writer's, and so on. The order matters to whoever adapts it again: of two clashing names the first one delivered keeps its own.
    """

    def __init__(self, journal: Journal, ledger: Ledger, filters: Filters, *, enabled: bool = True) -> None:
        self._journal = journal
        self._ledger = ledger
        self._name = f"{folder_name(ledger.target)}.records.zst"
        self._filters = filters
        self._enabled = enabled
        self._path: Path | None = None
        self._sha256 = ""

    def __enter__(self) -> Self:
        if self._enabled:
            self._path = self._journal.run.delivery / self._name  # one name: what a killed process leaves is written over
            self._sha256 = _write(self._path, self._lines())
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    @property
    def files(self) -> Mapping[str, Path]:
        """The files to put beside the run: name to local file."""
        return {} if self._path is None else {ATTACHED_RECORDS: self._path}

    def marker(self, *, records: int, points: int, verdict: Verdict, version: str | None = None) -> dict[str, str]:
        """Return the tag that says that the run is whole: counts, the attached records' SHA-256, and the source's version of the run."""
        marker: dict[str, Any] = {
            "mapping": MAPPING_VERSION,
            "status": verdict.status,
            "ended": verdict.ended,
            "records": records,
            "points": points,
            "sha256": self._sha256 or None,
            "version": version,
        }
        return {TAG_COMPLETE: json.dumps({key: value for key, value in marker.items() if value is not None})}

    def _lines(self) -> Iterator[bytes]:
        writers = {writer.id: writer for writer in self._journal.writers()}
        current = None
        for batch in self._ledger.batches():
            for writer_id, (start, end) in batch.ranges.items():
                writer = writers[writer_id]
                if writer is not current:
                    yield writer.header_line() if writer.header else self._header_for(writer.id)
                    current = writer
                part = writer.read(start, end=end)
                if self._filters:
                    yield from (encode(entry.record, entry.seq) for entry in filtered(decode_lines(part, writer.path), self._filters))
                else:
                    yield from (line + b"\n" for line in part.lines)

    def _header_for(self, writer: str) -> bytes:
        """Return a first line for a file that has lost its own: whose the records are must be told."""
        return (
            json.dumps(
                {"kind": "journal", "format": FORMAT_VERSION, "run": self._journal.run.id, "writer": writer}, separators=(",", ":")
            ).encode()
            + b"\n"
        )


def _write(path: Path, lines: Iterator[bytes]) -> str:
    import zstandard

    digest = hashlib.sha256()
    with path.open("wb") as file, zstandard.ZstdCompressor(write_checksum=True).stream_writer(file) as compressed:
        for line in lines:
            digest.update(line)
            compressed.write(line)
    return digest.hexdigest()


def read_attachment(path: Path) -> Iterator[Entry]:
    """Yield the entries of an attached file.

    Raises:
        RecordError: it is damaged, or was written by a newer multitrack.
    """
    writer = ""
    for line in _read_lines(path):
        if line.startswith(b'{"kind":"journal"'):
            writer = _read_header(line)
        else:
            try:
                seq, record = decode(line)
            except RecordError:  # no record in the journal either; what travelled is under a checksum
                continue
            yield Entry(writer, seq, record)


def _read_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a compressed file, without their ends; one that was cut off is damaged."""
    import zstandard

    stream = zstandard.ZstdDecompressor().decompressobj()
    rest = b""
    try:
        with path.open("rb") as file:
            while not stream.eof and (chunk := file.read(1 << 15)):
                *lines, rest = (rest + stream.decompress(chunk)).split(b"\n")
                yield from lines
    except zstandard.ZstdError as error:
        raise RecordError(f"the attached records are damaged: {error}") from None
    if not stream.eof or rest:
        raise RecordError("the attached records are damaged: their end is missing")


def _read_header(line: bytes) -> str:
    header = json.loads(line)
    if header["format"] > FORMAT_VERSION:
        raise RecordError(f"the attached records were written by a newer multitrack (format {header['format']}); pip install -U multitrack")
    return str(header["writer"])


def attached_records(path: Path) -> Iterator[Record]:
    """Yield the records of an attached file without their names."""
    for entry in read_attachment(path):
        yield entry.record

"""W&B's transaction log, `run-ID.wandb`: how it is framed. Reads what can be read of a damaged one, and writes whole ones.

    7 bytes     `:W&B`, 0xBEE1 (little-endian), version 0
    then blocks of 32 KiB (the first one counts from the beginning of the file), each a sequence of
    7 bytes     CRC-32 of type and data, length of the data, type: 1 whole, 2 first, 3 middle, 4 last part of a record
    data        a part of a record; a record is a message of W&B's own

Fewer than 7 bytes at the end of a block are zeros. The format is W&B's, of LevelDB's kind; the version that it was read from: wandb 0.31.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

MAGIC = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
_BLOCK = 32 * 1024
_FRAME = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class NotALogError(ValueError):
    """The file does not begin as a transaction log does."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of the file that cannot be read."""

    offset: int
    """Of its first byte in the file."""
    length: int
    """Bytes that are skipped; whatever records they held are lost."""
    reason: str
    at_end: bool = False
    """The file ends in it, as that of a process that was killed does."""

    def __str__(self) -> str:
        return f"{self.length:,} bytes from byte {self.offset:,} on: {self.reason}"


@dataclass(frozen=True, slots=True)
class _Frame:
    """A part of a record, or a whole one."""

    offset: int
    kind: int
    data: bytes


def read_log(file: BinaryIO) -> Iterator[bytes | Damage]:
    """Yield the records of a log, and where something cannot be read, the damage in its place.

    After a damage reading goes on with the next block: only what it holds itself is lost.

    Raises:
        NotALogError: the file is no transaction log, or one of another version.
    """
    return (one for _, one in read_placed(file))


def read_placed(file: BinaryIO) -> Iterator[tuple[int, bytes | Damage]]:
    """Yield what `read_log` does, each with the offset of the first byte behind it."""
    if file.read(len(MAGIC)) != MAGIC:
        raise NotALogError("it does not begin as a transaction log of W&B does")
    parts: list[bytes] = []
    started = 0  # where the record that `parts` belong to begins
    for frame in _frames(file):
        if parts and (isinstance(frame, Damage) or frame.kind in (_WHOLE, _FIRST)):
            if isinstance(frame, Damage):
                frame = replace(frame, offset=started, length=frame.offset + frame.length - started)  # noqa: PLW2901
            else:
                yield frame.offset, Damage(started, frame.offset - started, "a record breaks off")
            parts = []
        if isinstance(frame, Damage):
            yield frame.offset + frame.length, frame
            continue
        if frame.kind in (_WHOLE, _FIRST):
            started = frame.offset
        elif not parts:
            continue  # what it continues was lost in a damage that is told already
        parts.append(frame.data)
        if frame.kind in (_WHOLE, _LAST):
            yield frame.offset + _FRAME.size + len(frame.data), b"".join(parts)
            parts = []
    if parts:
        yield file.tell(), Damage(started, file.tell() - started, "the file ends within a record", at_end=True)


def _frames(file: BinaryIO) -> Iterator[_Frame | Damage]:
    """Yield the frames of all blocks; what a fault in one leaves unread of its block is a damage."""
    offset, place = 0, len(MAGIC)
    block = MAGIC + file.read(_BLOCK - len(MAGIC))
    while len(block) > place:
        is_last = len(block) < _BLOCK
        while len(block) - place >= _FRAME.size:
            fault, kind, data = _frame_at(block, place)
            if fault is not None:
                yield Damage(offset + place, len(block) - place, fault, at_end=is_last)
                break
            yield _Frame(offset + place, kind, data)
            place += _FRAME.size + len(data)
        else:
            if is_last and any(block[place:]):
                yield Damage(offset + place, len(block) - place, "the file ends within the head of a frame", at_end=True)
        if is_last:
            return
        offset, place = offset + _BLOCK, 0
        block = file.read(_BLOCK)


def _frame_at(block: bytes, place: int) -> tuple[str | None, int, bytes]:
    """Return what is wrong with the frame at a place, or None, its type and its data."""
    crc, length, kind = _FRAME.unpack_from(block, place)
    data = block[place + _FRAME.size : place + _FRAME.size + length]
    if not _WHOLE <= kind <= _LAST:
        return ("zeros" if not any(block[place:]) else f"a frame of type {kind}"), kind, data
    if len(data) < length:
        return ("the file ends within a frame" if len(block) < _BLOCK else "a frame that leads out of its block"), kind, data
    if crc != zlib.crc32(data, zlib.crc32(bytes([kind]))):
        return "a checksum that does not fit", kind, data
    return None, kind, data


class LogWriter:
    """Writes a log, record by record."""

    def __init__(self, file: BinaryIO, place: int = 0) -> None:
        """`file` ends at `place`, behind a record; it is empty by default."""
        self._file = file
        self._place = place
        if not place:
            self._put(MAGIC)

    def write(self, record: bytes) -> None:
        """Append a record, of any length.

        Raises:
            OSError: the disk refuses.
        """
        rest, kind = memoryview(record), _FIRST
        while True:
            room = _BLOCK - self._place % _BLOCK
            if room < _FRAME.size:
                self._put(bytes(room))
                continue
            data = bytes(rest[: room - _FRAME.size])
            rest = rest[len(data) :]
            if not rest:
                kind = _WHOLE if kind == _FIRST else _LAST
            self._put(_FRAME.pack(zlib.crc32(data, zlib.crc32(bytes([kind]))), len(data), kind) + data)
            if not rest:
                return
            kind = _MIDDLE

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._place += len(data)

"""The operation log of the neptune 1.x client, as it lies on the disk.

A folder of a run holds `data-<first version>.log` (a new file each 64 MiB), concatenated JSON objects, mostly one a line:

    {"obj": {"type": "LogFloats", "path": ["metrics", "loss"], "values": [...]}, "version": 23, "at": 1700000001.5}

Versions count 1, 2, 3, ... through all files. `last_put_version` is written at once, the log through a buffer: after a `kill -9` the
difference is what was lost. `last_ack_version` is what a server has acknowledged; files below it are deleted by the client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = re.compile(r"data-(\d+)\.log")
_DECODER = json.JSONDecoder(strict=False)  # the client's own reader takes raw control characters too


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as the client wrote it."""

    version: int
    at: float | None
    """Seconds since the epoch; old clients wrote none."""
    type: str
    path: str
    """With slashes."""
    body: Mapping[str, Any]


@dataclass(slots=True)
class Shortfall:
    """What a log does not hold, in operations. Counted while it is read."""

    put: int = 0
    """Operations that the client had accepted."""
    read: int = 0
    first: int | None = None
    last: int = 0
    gaps: int = 0
    """Versions missing between two that are there."""
    damaged: int = 0
    """Pieces of text that are no operation; a torn end is one."""

    @property
    def sent(self) -> int:
        """Operations before the first one that is there: the client deletes what a server has acknowledged."""
        return (self.first or self.put + 1) - 1

    @property
    def lost(self) -> int:
        """Operations that were accepted and are not there: what the process had not yet written when it was killed, and gaps."""
        return max(self.put - max(self.last, self.sent), 0) + self.gaps

    def lines(self, where: str) -> Iterator[str]:
        """Yield what is missing in words, a line each; nothing for a log that is whole."""
        if self.lost:
            yield f"{self.lost:,} of {self.put:,} operations that the client had accepted never reached {where}: the process was killed"
        if self.sent:
            yield f"the first {self.sent:,} operations are not in {where} any more: the client deletes what the server has acknowledged"
        if self.damaged > bool(self.lost):  # a torn end is one of those that were lost
            yield f"{self.damaged:,} pieces of {where} cannot be read"


class Log:
    """The log in one folder. May be read any number of times, streaming; `shortfall` is that of the last whole reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shortfall = Shortfall()

    def files(self) -> list[Path]:
        """Return the log's files in their order."""
        found = [(int(match[1]), path) for path in self.folder.iterdir() if (match := _FILE.fullmatch(path.name))]
        return [path for _, path in sorted(found)]

    def __iter__(self) -> Iterator[Operation]:
        shortfall = Shortfall(put=read_offset(self.folder / "last_put_version"))
        for file in self.files():
            for value in read_objects(file):
                operation = None if value is None else _operation(value)
                if operation is None:
                    shortfall.damaged += 1
                    continue
                if operation.version <= shortfall.last:  # a file that was copied twice
                    continue
                if shortfall.first is None:
                    shortfall.first = operation.version
                else:
                    shortfall.gaps += operation.version - shortfall.last - 1
                shortfall.last = operation.version
                shortfall.read += 1
                yield operation
        shortfall.put = max(shortfall.put, shortfall.last)
        self.shortfall = shortfall


def read_offset(file: Path) -> int:
    """Return the version that an offset file holds; 0 for one that is missing, empty or damaged."""
    try:
        return int(file.read_bytes().strip() or b"0")
    except (FileNotFoundError, ValueError):
        return 0


def read_objects(file: Path) -> Iterator[Any]:
    """Yield every JSON value of the file; None for a piece of text that is none. One that spans lines is put together."""
    rest = ""
    with file.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for line in lines:
            if rest and line.startswith('{"obj"'):  # what was begun before is never finished
                yield None
                rest = ""
            values, rest = _split(rest + line)
            yield from values
    if rest.strip():
        yield None


def _split(text: str) -> tuple[list[Any], str]:
    """Return the JSON objects at the beginning of a text, and what is left of it."""
    values: list[Any] = []
    start = text.find("{")
    while start >= 0:
        try:
            value, end = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError:
            return values, text[start:]
        values.append(value)
        start = text.find("{", end)
    return values, ""


def _operation(value: Any) -> Operation | None:
    """Return the operation that a JSON value spells; None if it spells none."""
    body = value.get("obj") if isinstance(value, dict) else None
    version = value.get("version") if body is not None else None
    if not isinstance(body, dict) or not isinstance(version, int):
        return None
    kind, path = body.get("type"), body.get("path")
    if not isinstance(kind, str) or not isinstance(path, list) or not all(isinstance(part, str) for part in path):
        return None
    at = value.get("at")
    return Operation(version, at if isinstance(at, int | float) else None, kind, "/".join(path), body)

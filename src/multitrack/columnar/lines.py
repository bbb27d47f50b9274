"""The lines of a writer's file, told apart: points, and everything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..journal import Lines, WriterFile
from ..journal.read import decode_lines
from ..records import Metrics, Points, Record
from ..state import RunState, fold, take_line

READ = 1 << 20
"""Bytes that are read at a time."""


def parts(file: WriterFile, start: int, end: int) -> Iterator[Lines]:
    """Yield the lines between two bytes, some at a time."""
    while start < end and (part := file.read(start, max_bytes=min(READ, end - start))).end > start:
        yield part
        start = part.end


def sort_out(part: Lines, path: Path, points: RunState) -> Iterator[tuple[int, int, Record]]:
    """Bring points into `points`; yield every other record, and the bytes that its line stands between. Damaged lines are passed over."""
    end = part.end - sum(map(len, part.lines)) - len(part.lines)
    for line in part.lines:
        start, end = end, end + len(line) + 1
        if take_line(points, line):
            continue
        for entry in decode_lines(Lines(part.writer, start, end, (line,)), path):
            if isinstance(entry.record, Metrics | Points):
                fold((entry.record,), points)
            else:
                yield start, end, entry.record

"""A run's side files: which there are, which can be trusted, and the making of those that are missing.

    RUN/columns/WRITER.START-END.CRC.parquet    what stands between two bytes of records/WRITER.jsonl, see `segment`
    RUN/columns/.lock                           held by whoever is writing such files

Side files are made by whoever reads a run that is large, of what has come since, and never changed. The lines stay the truth: a side file
whose journal is not the one that it was made from counts nothing, and neither does one that is damaged, or of another version.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from ..journal import FileLock, RunFolder, WriterFile
from ..state import RunState
from .lines import READ, parts, sort_out
from .places import Place
from .segment import Covered, Segment, SideFileError, crc_of, writing

WORTH_OF_WRITER = 1 << 20
"""As many of one writer: what is less stays with its lines."""
_SHARE = 16
"""A side file covers at least this fraction of what is covered already, so that there are never many."""
_FLUSH = 1 << 19
"""Points in memory while a side file is made."""
_GAP = 1 << 14
"""Bytes of points that are read along between two lines of another kind: fewer places to note."""
_NAME = re.compile(r"(?P<writer>[^.]+)\.(?P<start>\d+)-(?P<end>\d+)\.[0-9a-f]{8}\.parquet")


def folder_of(run: RunFolder) -> Path:
    """Return where a run's side files are."""
    return run.path / "columns"


def find_places(run: RunFolder, files: list[WriterFile], worth: int) -> list[Place]:
    """Return the stretches that make up the run, in reading order. From `worth` bytes on, what has no side file gets one first."""
    chains = {file.id: _chain(run, file) for file in files}
    ends = {writer: chain[-1].covered.end if chain else 0 for writer, chain in chains.items()}
    sizes = {file.id: file.size() for file in files}
    missing = sum(sizes.values()) - sum(ends.values())
    if missing >= max(worth, sum(ends.values()) // _SHARE):
        with suppress(OSError):
            _make_missing(run, [file for file in files if sizes[file.id] - ends[file.id] >= WORTH_OF_WRITER], chains)
    places = []
    for file in files:
        for segment in chains[file.id]:
            places.append(Place(file, segment.covered.start, segment.covered.end, segment))
        end = chains[file.id][-1].covered.end if chains[file.id] else 0
        if sizes[file.id] > end:
            places.append(Place(file, end, sizes[file.id]))
    return places


def _chain(run: RunFolder, file: WriterFile) -> list[Segment]:
    """Return side files that cover a writer's file from its beginning on, one after the other."""
    found: dict[int, list[tuple[int, Path]]] = {}
    for path in folder_of(run).glob(f"{file.id}.*.parquet"):
        if match := _NAME.fullmatch(path.name):
            found.setdefault(int(match["start"]), []).append((int(match["end"]), path))
    chain: list[Segment] = []
    end = 0
    while segment := next((one for _, path in sorted(found.get(end, ()), reverse=True) if (one := _open(run, file, path, end))), None):
        chain.append(segment)
        end = segment.covered.end
    while chain and not _is_of(chain, file):
        chain.pop()
    return chain


def _open(run: RunFolder, file: WriterFile, path: Path, start: int) -> Segment | None:
    with suppress(SideFileError):
        segment = Segment(path)
        covered = segment.covered
        if (covered.run, covered.writer, covered.start) == (run.id, file.id, start) and covered.end > start:
            return segment
    return None


def _is_of(chain: list[Segment], file: WriterFile) -> bool:
    """Return whether the last of a chain was made from this file; if that has not been touched since, so were the others."""
    last = chain[-1].covered
    if stamp_of(file.path) == last.stamp:
        return True
    return file.size() >= last.end and all(crc_of(file.path, one.covered.start, one.covered.end) == one.covered.crc for one in chain)


def stamp_of(path: Path) -> tuple[int, int, int]:
    """Return what changes whenever a file is written to or replaced: its inode, size and time of change in ns."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


# -- making them


def _make_missing(run: RunFolder, files: list[WriterFile], chains: dict[str, list[Segment]]) -> None:
    """Make what is missing, and bring `chains` up to date.

    Raises:
        OSError: the disk refuses; it may be read-only.
    """
    folder_of(run).mkdir(exist_ok=True)
    lock = FileLock(folder_of(run) / ".lock")
    if not lock.acquire():
        return  # somebody else is at it
    with lock:
        for path in folder_of(run).glob("[!.]*.parquet"):
            if path.name.partition(".")[0] not in chains:  # its writer's file was replaced by another's
                path.unlink(missing_ok=True)
        for file in files:
            chain = chains[file.id] = _chain(run, file)  # somebody else may have made some meanwhile
            _remove_useless(run, file, chain)
            start = chain[-1].covered.end if chain else 0
            if file.size() - start >= WORTH_OF_WRITER and (made := make(run, file, start)):
                chain.append(made)


def _remove_useless(run: RunFolder, file: WriterFile, chain: list[Segment]) -> None:
    used = {segment.path for segment in chain}
    for path in folder_of(run).glob(f"{file.id}.*.parquet"):
        if path not in used:
            path.unlink(missing_ok=True)


def make(run: RunFolder, file: WriterFile, start: int) -> Segment | None:
    """Make the side file of what a writer's file holds from byte `start` on; None if there is no whole line.

    Raises:
        OSError: the disk refuses.
    """
    stamp = stamp_of(file.path)
    end = _last_line_end(file.path, start, stamp[1])
    if end <= start:
        return None
    covered = Covered(run.id, file.id, start, end, stamp, crc_of(file.path, start, end), [])
    with writing(folder_of(run)) as side:
        points = RunState()
        for part in parts(file, start, end):
            for first, last, _ in sort_out(part, file.path, points):
                _note_other(covered.others, first, last)
            if sum(map(len, points.metrics.values())) >= _FLUSH:
                side.add(points.metrics)
                points = RunState()
        side.add(points.metrics)
        side.finish(covered)
    with suppress(SideFileError):
        return Segment(folder_of(run) / side.name) if side.name else None
    return None


def _note_other(others: list[tuple[int, int]], first: int, last: int) -> None:
    if others and first - others[-1][1] <= _GAP:
        others[-1] = (others[-1][0], last)
    else:
        others.append((first, last))


def _last_line_end(path: Path, start: int, size: int) -> int:
    """Return the byte after the last line end between two bytes; `start` if there is none."""
    with path.open("rb") as file:
        while size > start:
            first = max(start, size - READ)
            file.seek(first)
            if (found := file.read(size - first).rfind(b"\n")) >= 0:
                return first + found + 1
            size = first
    return start

"""Hashing files: in pieces, on all cores, only once, and with an eye on whether they change meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from .cache import HashCache, Stamp
from .lfs import POINTER_ONLY, POINTER_SIZE, parse_pointer
from .progress import ReadingProgress

_PIECE = 1 << 20
_TRIES = 2


class LocalFile(NamedTuple):
    """A file to be hashed."""

    file: str
    """Where it lies, absolute."""
    path: str
    """What the data set calls it: relative, with forward slashes."""


class HashedFile(NamedTuple):
    """What came of it."""

    path: str
    size: int
    digest: str | None
    problem: str | None = None
    """Why there is no digest, or what is wrong with it."""
    note: str | None = None
    """What else is to be said of it."""


def hash_files(
    files: Sequence[LocalFile], *, cache: HashCache, progress: ReadingProgress, algorithm: str = "sha256", pointers: bool = True
) -> list[HashedFile]:
    """Hash files, in the order given. Never raises for a file that cannot be read: its `problem` says why.

    Args:
        files: which.
        cache: hashes that are known already, and that will be.
        progress: told of every piece.
        algorithm: one of hashlib's.
        pointers: whether a Git LFS pointer counts as the file that it stands for.
    """
    with ThreadPoolExecutor(cores(), thread_name_prefix="multitrack-hash") as pool:
        stamps = list(pool.map(_stamp, files, chunksize=256))
        # What is as small as a pointer is read in any case: that takes no longer than to ask.
        known = cache.find([it for it in stamps if isinstance(it, Stamp) and it.size > POINTER_SIZE], algorithm)
        progress.expect(sum(_size(it) for it in stamps if it not in known))
        reader = _Reader(algorithm, progress, known, pointers=pointers)
        try:
            # The largest ones first, or one of them may be left to one thread at the end.
            order = sorted(range(len(files)), key=lambda place: -_size(stamps[place]))
            done = dict(zip(order, pool.map(lambda place: reader.hash(files[place], stamps[place]), order), strict=True))
            return [done[place] for place in range(len(files))]
        except BaseException:  # Ctrl-C
            progress.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            cache.keep({stamp: digest for stamp, digest in reader.fresh.items() if stamp.size > POINTER_SIZE}, algorithm)


def hash_stream(stream: Any, digest: Any, progress: ReadingProgress, most: int | None = None) -> int:
    """Update a digest of hashlib's with a stream, `most` bytes at most; return how many there were."""
    buffer = memoryview(bytearray(_PIECE))
    done = 0
    while count := stream.readinto(buffer if most is None else buffer[: most - done]):
        digest.update(buffer[:count])
        done += count
        progress.advance(count)
    return done


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _stamp(file: LocalFile) -> Stamp | str:
    try:
        status = os.stat(file.file)  # noqa: PTH116 - a Path for each of millions costs more than the call
    except OSError as error:
        return error.strerror or str(error)
    return Stamp.of(file.file, status) if stat.S_ISREG(status.st_mode) else "it is no file any more"


def _size(stamp: Stamp | str) -> int:
    return stamp.size if isinstance(stamp, Stamp) else 0


class _Reader:
    """Hashes files, several at a time."""

    def __init__(self, algorithm: str, progress: ReadingProgress, known: Mapping[Stamp, str], *, pointers: bool) -> None:
        self._algorithm = algorithm
        self._progress = progress
        self._known = known
        self._pointers = pointers
        self.fresh: dict[Stamp, str] = {}
        """What was hashed, and did not change meanwhile."""

    def hash(self, file: LocalFile, stamp: Stamp | str) -> HashedFile:
        """Hash a file as it is when nobody writes to it; of one that changes again and again, what was read last, with a word on that."""
        if isinstance(stamp, str):
            return HashedFile(file.path, 0, None, stamp)
        if stamp in self._known:
            return HashedFile(file.path, stamp.size, self._known[stamp])
        for _ in range(_TRIES):
            try:
                stamp = Stamp.of(file.file, os.stat(file.file))  # noqa: PTH116
                seen = self._read(file, stamp)
                after = Stamp.of(file.file, os.stat(file.file))  # noqa: PTH116
            except OSError as error:
                return HashedFile(file.path, stamp.size, None, error.strerror or str(error))
            if after == stamp:
                if seen.digest is not None:
                    self.fresh[stamp] = seen.digest
                return seen
        return seen._replace(problem="it changed while it was read: its digest may fit no state that it was in")

    def _read(self, file: LocalFile, stamp: Stamp) -> HashedFile:
        digest = hashlib.new(self._algorithm, usedforsecurity=False)
        with open(file.file, "rb", buffering=0) as stream:  # noqa: PTH123
            if self._pointers and stamp.size < POINTER_SIZE:
                return self._read_small(file, stream.read(POINTER_SIZE))
            # No further than it reached at the start: one that grows as fast as it is read would have no end.
            size = hash_stream(stream, digest, self._progress, stamp.size)
        return HashedFile(file.path, size, digest.hexdigest())

    def _read_small(self, file: LocalFile, content: bytes) -> HashedFile:
        self._progress.advance(len(content))
        pointer = parse_pointer(content)
        if pointer is not None and pointer.algorithm == self._algorithm:
            return HashedFile(file.path, pointer.size, pointer.digest, note=POINTER_ONLY)
        return HashedFile(file.path, len(content), hashlib.new(self._algorithm, content, usedforsecurity=False).hexdigest())

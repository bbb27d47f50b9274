"""Hashing files: in pieces, on all cores, only once, and with an eye on whether they change meanwhile."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

from .cache import HashCache, Stamp
from .lfs import POINTER_ONLY, POINTER_SIZE, parse_pointer
from .progress import ReadingProgress

T = TypeVar("T")

_PIECE = 1 << 20
_TRIES = 2
_TASK_FILES, _TASK_SIZE = 256, 4 << 20
"""Of one task for a thread: as many files, or as many bytes."""
_LOOK = 0.5
"""Seconds that the main thread sleeps at a time. A signal that comes just as it falls asleep does not wake it."""


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
        # A task for each of a hundred thousand small files would cost more than hashing them.
        stamps = [stamp for some in _results(pool.submit(_stamp_all, part) for part in _parts(files)) for stamp in some]
        # What is as small as a pointer is read in any case: that takes no longer than to ask.
        known = cache.find([it for it in stamps if isinstance(it, Stamp) and it.size > POINTER_SIZE], algorithm)
        reader = _Reader(algorithm, progress, pointers=pointers)
        done = {place: hashed for place, hashed in enumerate(map(_without_reading, files, stamps, repeat(known))) if hashed is not None}
        todo = [(place, stamp) for place, stamp in enumerate(stamps) if place not in done and isinstance(stamp, Stamp)]
        progress.expect(sum(stamp.size for _, stamp in todo))
        try:
            for some in _results(pool.submit(reader.hash_all, files, task) for task in _tasks(todo)):
                done.update(some)
        except BaseException:  # Ctrl-C
            progress.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            cache.keep({stamp: digest for stamp, digest in reader.fresh.items() if stamp.size > POINTER_SIZE}, algorithm)
    return [done[place] for place in range(len(files))]


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


def _results(tasks: Iterable[Future[T]]) -> Iterator[T]:
    """Yield what each task returns, in their order. Ctrl-C is heard."""
    for task in list(tasks):
        while not task.done():
            wait([task], timeout=_LOOK)
        yield task.result()


def _parts(files: Sequence[LocalFile]) -> Iterator[Sequence[LocalFile]]:
    for start in range(0, len(files), _TASK_FILES):
        yield files[start : start + _TASK_FILES]


def _tasks(todo: list[tuple[int, Stamp]]) -> Iterator[list[tuple[int, Stamp]]]:
    """Yield what one thread is to read at a time: a large file, or many small ones. The largest ones first, or one of them may be left to
    one thread at the end.
    """
    task: list[tuple[int, Stamp]] = []
    size = 0
    for item in sorted(todo, key=lambda item: -item[1].size):
        if task and (size + item[1].size > _TASK_SIZE or len(task) == _TASK_FILES):
            yield task
            task, size = [], 0
        task.append(item)
        size += item[1].size
    if task:
        yield task


def _stamp_all(files: Sequence[LocalFile]) -> list[Stamp | str]:
    return [_stamp(file) for file in files]


def _stamp(file: LocalFile) -> Stamp | str:
    """Return by what a file is known again, or why it cannot be read."""
    try:
        status = os.stat(file.file)  # noqa: PTH116 - a Path for each of millions costs more than the call
    except OSError as error:
        return error.strerror or str(error)
    return Stamp.of(file.file, status) if stat.S_ISREG(status.st_mode) else "it is no file any more"


def _without_reading(file: LocalFile, stamp: Stamp | str, known: Mapping[Stamp, str]) -> HashedFile | None:
    if isinstance(stamp, str):
        return HashedFile(file.path, 0, None, stamp)
    digest = known.get(stamp)
    return None if digest is None else HashedFile(file.path, stamp.size, digest)


class _Reader:
    """Hashes files, several at a time."""

    def __init__(self, algorithm: str, progress: ReadingProgress, *, pointers: bool) -> None:
        self._algorithm = algorithm
        self._progress = progress
        self._pointers = pointers
        self.fresh: dict[Stamp, str] = {}
        """What was hashed, and did not change meanwhile."""

    def hash_all(self, files: Sequence[LocalFile], task: Sequence[tuple[int, Stamp]]) -> list[tuple[int, HashedFile]]:
        """Hash the files of one task, each with its place in `files`."""
        return [(place, self.hash(files[place], stamp)) for place, stamp in task]

    def hash(self, file: LocalFile, stamp: Stamp) -> HashedFile:
        """Hash a file as it is when nobody writes to it; of one that changes again and again, what was read last, with a word on that."""
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

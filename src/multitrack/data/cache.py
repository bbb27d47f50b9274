"""The hashes of files that have not changed since, in the user's cache folder.

A file is known again by path, size, modification time, change time and inode. The change time is the kernel's own and cannot be set
back, so that a file that was edited and given its old time again (`rsync --times`, `touch -r`) is read again. A file that changed
within the last two seconds is not kept: clocks of file systems are coarse, and it might change once more within the same tick.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SETTLED = 2.0
"""Seconds that a file must have been left alone."""
_KEPT_FOR = 180
"""Days since it was last of use."""
_AT_A_TIME = 500
"""Questions in one statement. SQLite: 999 variables in older builds."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS hashes (
    path BLOB, algorithm TEXT, size INTEGER, mtime INTEGER, ctime INTEGER, inode TEXT, digest TEXT, used INTEGER,
    PRIMARY KEY (path, algorithm)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS hashes_by_use ON hashes (used);
"""


class Stamp(NamedTuple):
    """By which a file is known again. Times are in nanoseconds."""

    path: str
    """Absolute."""
    size: int
    mtime: int
    ctime: int
    inode: int

    @classmethod
    def of(cls, path: str, status: os.stat_result) -> Stamp:
        """Return the stamp of a file with this status."""
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class HashCache:
    """Hashes by stamp. It only ever saves time: where its file cannot be used, nothing is known and nothing is kept.

    Processes may use it at the same time: SQLite locks, and nobody waits long.
    """

    def __init__(self, file: Path | None = None, *, settled: float = SETTLED) -> None:
        """`file` is in the user's cache folder if left out."""
        self._file = file
        self._settled = settled

    def find(self, stamps: Sequence[Stamp], algorithm: str) -> dict[Stamp, str]:
        """Return the hashes that are known."""
        found: dict[Stamp, str] = {}
        if not stamps:
            return found
        with self._open() as base:
            if base is None:
                return found
            today, stale = _today(), []
            for start in range(0, len(stamps), _AT_A_TIME):
                asked = {os.fsencode(stamp.path): stamp for stamp in stamps[start : start + _AT_A_TIME]}
                for path, digest, used, *kept in base.execute(_question(len(asked)), (algorithm, *asked)):
                    stamp = asked[path]
                    if kept == [stamp.size, stamp.mtime, stamp.ctime, str(stamp.inode)]:
                        found[stamp] = digest
                        if used < today - _KEPT_FOR // 4:
                            stale.append((today, path, algorithm))
            base.executemany("UPDATE hashes SET used = ? WHERE path = ? AND algorithm = ?", stale)
        return found

    def keep(self, hashes: Mapping[Stamp, str], algorithm: str) -> None:
        """Keep hashes that were just made."""
        settled = (time.time() - self._settled) * 1e9
        rows = [
            (os.fsencode(stamp.path), algorithm, stamp.size, stamp.mtime, stamp.ctime, str(stamp.inode), digest, _today())
            for stamp, digest in hashes.items()
            if max(stamp.mtime, stamp.ctime) < settled
        ]
        if not rows:
            return
        with self._open() as base:
            if base is not None:
                base.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
                base.execute("DELETE FROM hashes WHERE used < ?", (_today() - _KEPT_FOR,))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """Yield the base within a transaction, None where there can be none. What goes wrong in SQLite ends the block, and is let be."""
        base = None
        file = None
        try:
            file = cache_folder() / "hashes.sqlite" if self._file is None else self._file
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            base = sqlite3.connect(file, timeout=5)
            base.execute("PRAGMA synchronous = OFF")  # what a power failure takes can be made again
            base.executescript(_SCHEMA)
        except (OSError, RuntimeError, sqlite3.Error) as error:
            _close(base)
            _discard(file, error)
            base = None
        try:
            with contextlib.suppress(sqlite3.Error), base or contextlib.nullcontext():
                yield base
        finally:
            _close(base)


def cache_folder() -> Path:
    """Return this user's cache folder for multitrack.

    Raises:
        RuntimeError: the user has no home.
    """
    if home := os.environ.get("XDG_CACHE_HOME"):  # on macOS as well, where platformdirs would not look
        return Path(home) / "multitrack"
    import platformdirs

    return platformdirs.user_cache_path("multitrack", appauthor=False)


def _question(count: int) -> str:
    marks = ", ".join("?" * count)
    return f"SELECT path, digest, used, size, mtime, ctime, inode FROM hashes WHERE algorithm = ? AND path IN ({marks})"  # noqa: S608 - marks


def _close(base: sqlite3.Connection | None) -> None:
    if base is not None:
        with contextlib.suppress(sqlite3.Error):
            base.close()


def _discard(file: Path | None, error: Exception) -> None:
    """Remove a file that is no database, so that the next one can be made."""
    if file is not None and isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        with contextlib.suppress(OSError):
            file.unlink()


def _today() -> int:
    return int(time.time() // 86_400)

"""How digests are made of digests. Pure, and fixed for ever: runs are compared by them.

    one file        `sha256`        SHA-256 of its content
    several files   `sha256-tree`   SHA-256 over the files, sorted by the UTF-8 bytes of their paths; each as `DIGEST SIZE PATH` and a zero
                                    byte, DIGEST being the SHA-256 of its content, `-` for a file that could not be read
    a table         `sha256-table`  SHA-256 over `ROWS` and a zero byte, then each column in order as `DIGEST NAME` and a zero byte

Neither order on the disk, nor times, owners, modes, or the name of the folder count; empty folders do not either, as in git.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ..records import DataColumn
from .found import Entry

FILE = "sha256"
TREE = "sha256-tree"
TABLE = "sha256-table"
ARRAY = "sha256-array"
NAMES = "names-and-sizes"
"""Of files whose content was not to be read: as `sha256-tree`, with `-` for every digest."""


def tree_digest(files: Iterable[Entry]) -> str:
    """Return the digest of several files."""
    whole = hashlib.sha256()
    for path, file in sorted((to_bytes(file.path), file) for file in files):
        whole.update(f"{file.digest or '-'} {file.size} ".encode() + path + b"\0")
    return whole.hexdigest()


def table_digest(rows: int, columns: Iterable[DataColumn]) -> str | None:
    """Return the digest of a table; None if a column has none."""
    whole = hashlib.sha256(f"{rows}\0".encode())
    for column in columns:
        if column.digest is None:
            return None
        whole.update(f"{column.digest} ".encode() + to_bytes(column.name) + b"\0")
    return whole.hexdigest()


def to_bytes(text: str) -> bytes:
    """Return a text as digests take it: UTF-8, lone surrogates (names of files that are no UTF-8) included."""
    return text.encode("utf-8", "surrogatepass")

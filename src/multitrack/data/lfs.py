"""Git LFS pointers: what stands in a working tree for a file that was not fetched. Its digest is the file's own SHA-256.

https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md: UTF-8, fewer than 1024 bytes, one `key value` a line, `version` first.
"""

from __future__ import annotations

import re
from typing import NamedTuple

POINTER_SIZE = 1024
"""Bytes; a pointer has fewer."""
POINTER_ONLY = "only its Git LFS pointer is here: `git lfs pull` fetches the file"
_OID = re.compile(r"(?P<algorithm>[a-z0-9]+):(?P<digest>[0-9a-f]+)")


class Pointer(NamedTuple):
    """The file that a pointer stands for."""

    algorithm: str
    digest: str
    size: int
    """Bytes."""


def parse_pointer(content: bytes) -> Pointer | None:
    """Return what a pointer says; None if this is none."""
    if len(content) >= POINTER_SIZE or not content.startswith(b"version https://git-lfs.github.com/spec/"):
        return None
    fields = dict(line.partition(" ")[::2] for line in content.decode("utf-8", "replace").splitlines())
    oid = _OID.fullmatch(fields.get("oid", ""))
    size = fields.get("size", "")
    return Pointer(oid["algorithm"], oid["digest"], int(size)) if oid and size.isdecimal() else None

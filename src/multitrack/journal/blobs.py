"""The contents of artifacts, by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from pathlib import Path

_CHUNK = 1 << 20


def hash_file(path: Path) -> tuple[str, int]:
    """Return a file's SHA-256 (hexadecimal) and size in bytes, reading it in pieces."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def store_file(source: Path, folder: Path, *, move: bool = False) -> tuple[str, int]:
    """Put a file's content into `folder` under its SHA-256; return the hash and the size in bytes.

    The copy is made first and hashed afterwards, so that what is stored is what was hashed even if somebody writes to the
    source meanwhile. `move=True` gives the source up instead of copying it.

    Raises:
        OSError: the file cannot be read, or the disk refuses.
    """
    temporary = folder / f".incoming-{secrets.token_hex(8)}"
    try:
        if move:
            os.replace(source, temporary)
        elif not _clone(source, temporary):
            shutil.copyfile(source, temporary)
        sha256, size = hash_file(temporary)
        content = folder / sha256
        if content.exists():
            temporary.unlink()
        else:
            temporary.chmod(0o444)
            os.replace(temporary, content)
        return sha256, size
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file (btrfs, XFS)


def _clone(source: Path, target: Path) -> bool:
    """Copy by reference where the file system can; return whether it did."""
    if not hasattr(os, "copy_file_range"):
        return False
    import fcntl

    with source.open("rb") as old, target.open("wb") as new:
        try:
            fcntl.ioctl(new, _FICLONE, old.fileno())
        except OSError:
            return False
    return True

"""The contents of artifacts, by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from pathlib import Path

_CHUNK = 1 << 20


def list_files(folder: Path) -> list[tuple[Path, str]]:
    """Return every file below a folder and its path relative to it, with forward slashes, sorted. Symbolic links are followed.

    Raises:
        FileNotFoundError: a link leads nowhere, or there is no file at all.
        OSError: a folder cannot be read, or a link leads back to a folder that it lies in.
    """
    found: list[tuple[Path, str]] = []
    _collect(folder, "", (folder.resolve(),), found)
    if not found:
        raise FileNotFoundError(f"the folder {str(folder)!r} holds no file")
    return found


def _collect(folder: Path, prefix: str, above: tuple[Path, ...], found: list[tuple[Path, str]]) -> None:
    for item in sorted(folder.iterdir()):
        if item.is_dir():
            inside = item.resolve()
            if inside in above:
                raise OSError(f"the link {str(item)!r} leads back to a folder that it lies in")
            _collect(item, f"{prefix}{item.name}/", (*above, inside), found)
        elif item.is_file():
            found.append((item, prefix + item.name))
        elif item.is_symlink():
            raise FileNotFoundError(f"the link {str(item)!r} leads nowhere")


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
            source.replace(temporary)
        elif not _clone(source, temporary):
            shutil.copyfile(source, temporary)
        sha256, size = hash_file(temporary)
        content = folder / sha256
        if content.exists():
            temporary.unlink()
        else:
            temporary.chmod(0o444)
            temporary.replace(content)
        return sha256, size
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def store_bytes(content: bytes, sha256: str, folder: Path) -> None:
    """Put content into `folder` under its SHA-256.

    Raises:
        OSError: the disk refuses.
    """
    if (folder / sha256).exists():
        return
    temporary = folder / f".incoming-{secrets.token_hex(8)}"
    try:
        temporary.write_bytes(content)
        temporary.chmod(0o444)
        temporary.replace(folder / sha256)
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

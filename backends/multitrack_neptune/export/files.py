"""The files of an export: found below its folder and nowhere else, file sets taken out of their archives."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from multitrack.errors import PermanentError

_BLOCK = 1 << 20
_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", "png", "image/png"),
    (b"\xff\xd8\xff", "jpg", "image/jpeg"),
    (b"GIF8", "gif", "image/gif"),
    (b"RIFF", "webp", "image/webp"),
)
MOST_TEXT = 64 * 1024 * 1024
"""Bytes of a file that is taken into a record."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the content of an artifact is: a file, or a member of a zip archive."""

    file: Path
    member: str | None = None

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the content for reading.

        Raises:
            PermanentError: it cannot be read.
        """
        try:
            if self.member is None:
                with self.file.open("rb") as file:
                    yield file
            else:
                with zipfile.ZipFile(self.file) as archive, archive.open(self.member) as file:
                    yield file
        except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError, NotImplementedError, KeyError, EOFError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise PermanentError(f"{self.file.name} cannot be read: {reason}") from None

    def copy(self, to: Path) -> None:
        """Write the content to a file.

        Raises:
            PermanentError: it cannot be read.
        """
        with to.open("wb") as target, self.open() as content:
            shutil.copyfileobj(content, target, _BLOCK)

    def digest(self) -> tuple[str, int]:
        """Return the content's SHA-256 and its size."""
        whole, size = hashlib.sha256(), 0
        with self.open() as content:
            while block := content.read(_BLOCK):
                whole.update(block)
                size += len(block)
        return whole.hexdigest(), size

    def size(self) -> int | None:
        """Return the content's size; None where that takes reading it."""
        return self.file.stat().st_size if self.member is None else None

    def read(self) -> bytes:
        """Return the content.

        Raises:
            PermanentError: it cannot be read, or is too large to be a text.
        """
        with self.open() as content:
            found = content.read(MOST_TEXT + 1)
        if len(found) > MOST_TEXT:
            raise PermanentError(f"{self.file.name} is larger than {MOST_TEXT >> 20} MiB, too large for a record")
        return found

    def image(self) -> tuple[str, str] | None:
        """Return an image's ending and media type; None if the content is none."""
        with self.open() as content:
            start = content.read(12)
        for magic, suffix, media_type in _IMAGES:
            if start.startswith(magic) and (suffix != "webp" or start.endswith(b"WEBP")):
                return suffix, media_type
        return None


def locate(folder: Path, path: str) -> Path:
    """Return the file or folder of an export that a path in it means.

    Args:
        folder: what paths are relative to.
        path: as the exporter wrote it, on Windows with backslashes.

    Raises:
        PermanentError: it is not there, or it leads out of the folder, by `..`, by a root or by a link.
    """
    if not (folder / path).exists() and "\\" in path:
        path = path.replace("\\", "/")
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts:
        raise PermanentError(f"{path!r} leads out of the export's folder: not read")
    found = folder / pure
    real = Path(os.path.realpath(found))
    if not real.is_relative_to(os.path.realpath(folder)):
        raise PermanentError(f"{path!r} is a link that leads out of the export's folder: not read")
    if not (real.is_file() or real.is_dir()):
        raise PermanentError(f"{path!r} is not among the export's files")
    return found


def members(folder: Path, path: str) -> dict[str, Place]:
    """Return the files of a file set, by their names in it: those in its archive, or those that lie in its folder.

    An archive that is damaged, or that holds a name that is no path below it, stays one file.

    Raises:
        PermanentError: as `locate`; or a file of the set is a link that leads out of the folder.
    """
    found = locate(folder, path)
    if found.is_file():
        return _in_archive(found) or {found.name: Place(found)}
    files = [file for file in sorted(found.rglob("*")) if file.is_file()]
    for file in files:
        locate(folder, file.relative_to(folder).as_posix())
    if len(files) == 1 and (inside := _in_archive(files[0])):
        return inside
    return {file.relative_to(found).as_posix(): Place(file) for file in files}


def _in_archive(file: Path) -> dict[str, Place]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError):
        return {}
    inside = {entry.filename: Place(file, entry.filename) for entry in entries}
    is_plain = len(inside) == len(entries) and not any(entry.flag_bits & 1 for entry in entries) and all(map(_is_below, inside))
    return inside if is_plain else {}


def _is_below(name: str) -> bool:
    pure = PurePosixPath(name)
    return not pure.is_absolute() and ".." not in pure.parts and "\\" not in name and "\0" not in name

"""The files that an offline folder names: found again on this machine, as far as they are still there."""

from __future__ import annotations

import base64
import binascii
import glob
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from multitrack.errors import PermanentError

from .replay import FileSet, Upload

_MAGIC = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp"}


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of a run: where its content is now, or why it is nowhere."""

    name: str
    """The artifact's."""
    place: Path | None = None
    content: str | None = None
    """In base64, where the log itself holds it."""
    lost: str | None = None

    @property
    def size(self) -> int | None:
        """Bytes, where that is known without reading it."""
        return self.place.stat().st_size if self.place is not None else None

    def read(self) -> bytes:
        """Return the content.

        Raises:
            PermanentError: it is lost.
        """
        if self.content is not None:
            try:
                return base64.b64decode(self.content)
            except (binascii.Error, ValueError):
                raise PermanentError("its content in the log is damaged") from None
        if self.place is None:
            raise PermanentError(self.lost or "its content is nowhere")
        try:
            return self.place.read_bytes()
        except OSError as error:
            raise PermanentError(f"{self.place}: {error.strerror or error}") from None

    def copy(self, to: Path) -> None:
        """Write the content to a file.

        Raises:
            PermanentError: it is lost.
        """
        if self.place is None:
            to.write_bytes(self.read())
            return
        try:
            shutil.copyfile(self.place, to)
        except OSError as error:
            raise PermanentError(f"{self.place}: {error.strerror or error}") from None


def find_upload(path: str, upload: Upload, kept: Path, *, look: bool) -> Kept:
    """Return the file of an attribute. It is called as the attribute, with the file's ending.

    Args:
        kept: the folder's `upload_path`.
        look: whether files elsewhere on this machine may be read.
    """
    ending = f".{upload.extension}" if upload.extension else ""
    name = path if not ending or path.endswith(ending) else path + ending
    if upload.content is not None:
        return Kept(name, content=upload.content)
    if upload.kept_as:
        place = kept / Path(upload.kept_as).name  # nothing outside the folder is the client's own copy
        return Kept(name, place) if place.is_file() else Kept(name, lost=f"the client's copy of it, {place}, is gone")
    if not upload.place:
        return Kept(name, lost="the log does not say where it was")
    return _elsewhere(name, Path(upload.place), look=look)


def find_set(path: str, files: FileSet, *, look: bool) -> Iterator[Kept]:
    """Yield the files of a file set, called `PATH/FILE` as the client would call them; what is not there any more as one lost file."""
    deleted = set(files.deleted)
    for pattern in files.patterns:
        found = sorted(map(os.path.abspath, glob.glob(pattern, recursive=True))) if look else []  # noqa: PTH207 - absolute patterns
        if not found:
            reason = _missing(pattern) if look else _kept_away(pattern)
            yield Kept(f"{path}/{Path(pattern).name}", lost=reason)
            continue
        root = os.path.commonpath(found)
        root = os.path.dirname(root) if Path(root).is_file() else root  # noqa: PTH120
        for place in _files_below(found):
            name = os.path.relpath(place, root).replace(os.sep, "/")
            if name not in deleted:
                yield Kept(f"{path}/{name}", place)


def _files_below(found: list[str]) -> Iterator[Path]:
    places = [inner for place in map(Path, found) for inner in ([place] if place.is_file() else sorted(place.rglob("*")))]
    return (place for place in dict.fromkeys(places) if place.is_file())


def _elsewhere(name: str, place: Path, *, look: bool) -> Kept:
    if not look:
        return Kept(name, lost=_kept_away(str(place)))
    return Kept(name, place) if place.is_file() else Kept(name, lost=_missing(str(place)))


def _missing(place: str) -> str:
    return f"{place} is not on this machine: of a file's content the client notes only where it was"


def _kept_away(place: str) -> str:
    return f"{place} is left alone, as the setting local_files says"


def image_suffix(data: bytes) -> str:
    """Return the ending of an image's file; `png` for one that is not known."""
    return next((suffix for magic, suffix in _MAGIC.items() if data.startswith(magic)), "png")


def sha256_of(kept: Kept) -> str | None:
    """Return the content's SHA-256; None where it is lost."""
    try:
        if kept.place is None:
            return hashlib.sha256(kept.read()).hexdigest()
        with kept.place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (PermanentError, OSError):
        return None

"""Archives of offline experiments on the disk: `KEY.zip`, or the folder that one is made of. Read where they are, never unpacked.

    experiment.json   key, project, workspace, start and end, tags; written last, so that it is missing where the process was killed
    messages.json     a line a message: {"type": ..., "payload": {...}}
    <others>          contents of assets, which messages name

A folder of ours has `started.json` besides, which says the same as `experiment.json` as far as it is known at the start.

An archive comes from somewhere. So a name in it that leads out of it is refused, and so is one that would unpack to very much more than it
has itself: Comet's SDK packs without compression.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from multitrack.errors import PermanentError

EXPERIMENT = "experiment.json"
MESSAGES = "messages.json"
STARTED = "started.json"

_RATIO = 100
_UNSUSPICIOUS = 16 << 20
"""Bytes; what unpacks to no more than this may have been packed however well."""
_METADATA_LENGTH = 16 << 20
_BUFFER = 1 << 18


class Archive(ABC):
    """One archive. `path` is where it is, `key` the experiment's key as far as the path tells it."""

    def __init__(self, path: Path, key: str | None) -> None:
        self.path = path
        self.key = key

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return the bytes of one of its files; None where there is no such file."""

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Open one of its files for reading.

        Raises:
            PermanentError: it is not there, or damaged.
        """

    @abstractmethod
    def version(self) -> str:
        """Return a text that changes when the archive does."""

    def metadata(self) -> Mapping[str, Any] | None:
        """Return what `experiment.json` says; None where it is missing, because the process was killed.

        Raises:
            PermanentError: it is there and says nothing.
        """
        return self._json(EXPERIMENT)

    def beginning(self) -> Mapping[str, Any] | None:
        """Return what `started.json` says; None where it is missing, as it is in everybody else's archives."""
        return self._json(STARTED)

    def _json(self, name: str) -> Mapping[str, Any] | None:
        if self.size(name) is None:
            return None
        with self.reading(name) as file:
            try:
                found = json.loads(file.read(_METADATA_LENGTH))
            except ValueError:
                raise PermanentError(f"{self.path}: {name} is damaged") from None
        if not isinstance(found, dict):
            raise PermanentError(f"{self.path}: {name} is damaged")
        return found

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of `messages.json`; what is behind the last line end was never written whole.

        Raises:
            PermanentError: there is none, or it is damaged.
        """
        with self.reading(MESSAGES) as file:
            for line in io.BufferedReader(cast(io.RawIOBase, file), _BUFFER):  # a zip's own lines are slow
                if line.endswith(b"\n"):
                    yield line

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file, and say in one line what is wrong with it."""
        try:
            with self.open(name) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise PermanentError(f"{self.path}: {name} cannot be read: {error}") from None


class FolderArchive(Archive):
    """A folder that was not packed yet: that of a run that goes on, or was killed."""

    def size(self, name: str) -> int | None:
        """Return the bytes of a file of the folder itself."""
        file = self.path / name
        return file.stat().st_size if _is_plain(name) and file.is_file() and not file.is_symlink() else None

    def open(self, name: str) -> IO[bytes]:
        """Open a file of the folder itself."""
        if self.size(name) is None:
            raise PermanentError(f"{self.path}: there is no file {name!r} in it")
        return (self.path / name).open("rb")

    def version(self) -> str:
        """Return size and time of its messages."""
        files = [self.path / name for name in (MESSAGES, EXPERIMENT)]
        return "/".join(f"{found.st_size}.{found.st_mtime_ns}" for file in files if file.exists() and (found := file.stat()))


class ZippedArchive(Archive):
    """A zip.

    Raises:
        PermanentError: it is none, or a name or size in it is not what an archive of Comet's has.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, key_of(path))
        try:
            with zipfile.ZipFile(path) as file:
                self._members = {member.filename: member for member in file.infolist()}
        except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
            raise PermanentError(f"{path} is no archive of Comet's: {error}") from None
        for member in self._members.values():
            self._check(member)
        if not self._members:
            raise PermanentError(
                f"{path} is empty, as where the process was killed: what it logged is in a folder tmp... of the machine's temporary "
                "folder, if that was not tidied up; give that as the location"
            )
        if MESSAGES not in self._members:
            raise PermanentError(f"{path} is no archive of Comet's: there is no {MESSAGES} in it")

    def _check(self, member: zipfile.ZipInfo) -> None:
        if not _is_plain(member.filename.removesuffix("/")):
            raise PermanentError(f"{self.path} holds a file named {member.filename!r}, which leads out of it; nothing of it is read")
        if member.file_size > max(_UNSUSPICIOUS, member.compress_size * _RATIO):
            raise PermanentError(
                f"{self.path}: {member.filename!r} would unpack from {member.compress_size:,} to {member.file_size:,} bytes; "
                "nothing of it is read"
            )

    def names(self) -> list[str]:
        """Return the names of its files."""
        return [name for name in self._members if not name.endswith("/")]

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, unpacked."""
        return self._members[name].file_size if name in self._members else None

    def open(self, name: str) -> IO[bytes]:
        """Open a file; its check sum is compared once it is read to the end."""
        if name not in self._members:
            raise PermanentError(f"{self.path}: there is no file {name!r} in it")
        with zipfile.ZipFile(self.path) as file:
            return file.open(name)  # keeps the zip open until it is closed itself

    def version(self) -> str:
        """Return size and time of the file."""
        found = self.path.stat()
        return f"{found.st_size}.{found.st_mtime_ns}"


def key_of(path: Path) -> str:
    """Return the key in an archive's name. What was added to an experiment later is in `KEY-SUFFIX.zip`."""
    return path.stem.partition("-")[0] or path.stem


def is_folder_archive(path: Path) -> bool:
    """Return whether a folder is an archive that was not packed."""
    return (path / MESSAGES).is_file()


def _is_plain(name: str) -> bool:
    """Return whether a name is that of a file in the archive itself: archives are flat."""
    return name not in ("", ".", "..") and not any(c in name for c in "/\\\0") and not Path(name).drive

"""The folder that a run of ours is written into, and the archive that is made of it.

    FOLDER/<run id>/          while the run goes on: `archive` says what is in it
    FOLDER/<run id>.zip       once it has ended; the folder goes

A batch is appended to `messages.json` in one piece, with a line behind it that tells its number. What stands behind the last such line was
not written whole, or belongs to the run's conclusion: it is cut off before anything else is written.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from multitrack.errors import PermanentError

from . import names
from .archive import EXPERIMENT, MESSAGES, STARTED, ZippedArchive
from .lines import batches_line, batches_of, other_lines

_COPY = 1 << 20


class Folder:
    """The folder of one run. `scan` comes before what asks for its batches."""

    def __init__(self, place: Path, key: str) -> None:
        self.path = place / key
        self.zip = place / f"{key}.zip"
        self.key = key
        self._ends: dict[int, int] = {}
        """Where each batch ends in the messages, in bytes."""

    @property
    def batches(self) -> int:
        """The number of the last batch; 0 where there is none."""
        return max(self._ends, default=0)

    @property
    def is_empty(self) -> bool:
        """Whether `rewind` has taken away the first lines too."""
        return not self._ends

    def exists(self) -> bool:
        """Return whether the run is there as a folder."""
        return (self.path / MESSAGES).is_file()

    # -- opening ------------------------------------------------------------------------------------------------------

    def create(self, beginning: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Make the folder, with what `started.json` says and the first lines."""
        shutil.rmtree(self.path, ignore_errors=True)  # what is without messages was never begun
        making = self._beside()
        self._write(making / STARTED, json.dumps(beginning).encode())
        self._write(making / MESSAGES, ("".join(lines) + batches_line(0)).encode())
        making.rename(self.path)
        self.scan()

    def unpack(self) -> None:
        """Make the folder from the archive."""
        archive = ZippedArchive(self.zip)
        told = archive.metadata() or {}
        making = self._beside()
        for name in archive.names():
            if name not in (EXPERIMENT, MESSAGES):
                with archive.reading(name) as source, (making / name).open("wb") as target:
                    shutil.copyfileobj(source, target, _COPY)
        beginning = {key: value for key, value in told.items() if key in ("offline_id", "project_name", "workspace", "start_time")}
        self._write(making / STARTED, json.dumps({**beginning, "tags": []}).encode())
        tags = "".join(other_lines(dict.fromkeys(told.get("tags") or (), names.BARE)))
        self._write(making / MESSAGES, tags.encode() + b"".join(archive.lines()))
        making.rename(self.path)

    def _beside(self) -> Path:
        making = self.path.with_name(f"{self.key}.part")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        return making

    def scan(self) -> None:
        """Learn where the batches end."""
        self._ends, at = {}, 0
        with (self.path / MESSAGES).open("rb") as file:
            for line in file:
                at += len(line)
                number = batches_of(line) if line.endswith(b"\n") else None
                if number is not None:
                    self._ends[number] = at

    # -- writing ------------------------------------------------------------------------------------------------------

    def rewind(self, before: int) -> None:
        """Take away what stands behind the batches with numbers lower than `before`, and the run's end.

        Raises:
            PermanentError: that is not known of an archive that was unpacked.
        """
        kept = {number: end for number, end in self._ends.items() if number < before}
        if not kept and before > 1:
            raise PermanentError(
                f"{self.zip} holds {self.batches} batches of the run, and this store has sent fewer; move the archive away to write it anew"
            )
        (self.path / EXPERIMENT).unlink(missing_ok=True)
        end = max(kept.values(), default=0)
        with (self.path / MESSAGES).open("r+b") as file:
            file.truncate(end)
        self._ends = kept

    def append(self, lines: Iterable[str], *, batch: int | None = None) -> None:
        """Append lines; `batch`: they are that batch, or its last part."""
        data = "".join(lines).encode() + (b"" if batch is None else batches_line(batch).encode())
        with (self.path / MESSAGES).open("ab") as file:
            file.write(data)
            file.flush()
            end = file.tell()
        if batch is not None:
            self._ends[batch] = end

    def put(self, name: str, content: Path | bytes) -> None:
        """Set the content of a file of the archive, all or nothing."""
        target = self.path / name
        part = self.path / f"{name}.part"
        if isinstance(content, Path):
            shutil.copyfile(content, part)
        else:
            part.write_bytes(content)
        part.replace(target)

    def sync(self) -> None:
        """See to it that what was written survives the machine."""
        with (self.path / MESSAGES).open("rb") as file:
            os.fsync(file.fileno())

    # -- ending -------------------------------------------------------------------------------------------------------

    def pack(self, experiment: Mapping[str, Any]) -> None:
        """Make the archive, and remove the folder.

        Of several messages that replace each other the last alone comes along: `comet upload` sends files at the same time, so that
        nobody knows which of two is the last, and every line is a request.
        """
        run, end = self._messages()
        others = _last_others(run)
        told = json.dumps({**experiment, "tags": [key for key, value in others.items() if value == names.BARE]}).encode()
        part = self.zip.with_name(f"{self.key}.zip.part")
        files: set[str] = set()
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            with archive.open(MESSAGES, "w", force_zip64=True) as target:
                for line in chain(_without_replaced(self._messages()[0], others), [batches_line(self.batches).encode()], end):
                    target.write(line)
                    files |= _files_of(line)
            for name in sorted(files):
                archive.write(self.path / name, name)
            archive.writestr(EXPERIMENT, told)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(self.zip)
        self._write(self.path / EXPERIMENT, told)  # until it is gone, the folder counts: it has to say the same
        shutil.rmtree(self.path, ignore_errors=True)

    def _messages(self) -> tuple[Iterator[bytes], Iterator[bytes]]:
        """Return the lines of the batches, and those of the run's conclusion behind them."""
        border = self._ends[self.batches]

        def lines(start: int, end: float) -> Iterator[bytes]:
            with (self.path / MESSAGES).open("rb") as file:
                file.seek(start)
                while start < end and (line := file.readline()):
                    start += len(line)
                    yield line

        return lines(0, border), lines(border, math.inf)

    @staticmethod
    def _write(file: Path, content: bytes) -> None:
        part = file.with_name(f"{file.name}.part")
        part.write_bytes(content)
        part.replace(file)


_OTHER = b'"type":"log_other"}\n'
_FILES = (b'"type":"file_upload"}\n', b'"type":"remote_file"}\n')


def _last_others(lines: Iterable[bytes]) -> dict[str, Any]:
    """Return the last value of every other, in the order of the last lines; but how many batches there are."""
    others: dict[str, Any] = {}
    for line in lines:
        if line.endswith(_OTHER):
            payload = json.loads(line)["payload"]
            others.pop(payload["key"], None)
            others[payload["key"]] = payload["value"]
    others.pop(names.OTHER_BATCHES, None)
    return others


def _without_replaced(lines: Iterable[bytes], others: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the lines that count: points and words as they come, then each file's last line, then the others."""
    uploads: dict[str, bytes] = {}
    for line in lines:
        if line.endswith(_FILES):
            payload = json.loads(line)["payload"]
            details = payload["additional_params"] or {}
            uploads[details.get("assetId") or details.get("imageId") or payload["upload_type"]] = line
        elif not line.endswith(_OTHER):
            yield line
    yield from uploads.values()
    yield from (
        line.encode() for line in other_lines({key: value for key, value in others.items() if value not in (names.BARE, names.REMOVED)})
    )


def _files_of(line: bytes) -> set[str]:
    """Return the files that a message names."""
    return {json.loads(line)["payload"]["file_path"]} if line.endswith(_FILES[0]) else set()


__all__ = ["Folder"]

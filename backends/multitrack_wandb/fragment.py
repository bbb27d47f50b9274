"""One upload in the making: a transaction log and the files beside it, in a temporary folder.

A log whose upload broke off is never uploaded again: wandb-core would send all of it behind what has arrived. The next one begins
where the service stands.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from wandb.proto import wandb_internal_pb2 as pb

from multitrack.errors import PermanentError

from .log_file import LogWriter
from .positions import Counts


class Fragment:
    """A log, and what it brings."""

    def __init__(self, run_id: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="multitrack-wandb-"))
        self._files = self._folder / "files"
        self._files.mkdir()
        self.path = self._folder / f"run-{run_id}.wandb"
        self._log = self.path.open("wb")
        self._writer = LogWriter(self._log)
        self.lines = Counts()
        """That it brings."""
        self.size = 0
        """Bytes of its records."""
        self.sizes: dict[str, int] = {}
        """Of its run files, by name."""
        self.artifacts: set[tuple[str, str]] = set()
        """Name and digest of its artifacts."""

    def put(self, record: pb.Record) -> None:
        """Append a record."""
        data = record.SerializeToString()
        self._writer.write(data)
        self.size += len(data)
        kind = record.WhichOneof("record_type")
        self.lines += Counts(kind == "history", kind == "stats", kind == "output_raw")
        if kind == "artifact":
            self.artifacts.add((record.artifact.name, record.artifact.digest))

    def put_file(self, name: str, content: bytes | Path) -> None:
        """Have a run file uploaded. A file that lies on the disk is linked to, not copied."""
        path = self._files / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.symlink_to(content.absolute())
        except OSError as error:
            raise PermanentError(f"the run file {name!r} cannot be laid down: {error}") from error
        self.sizes[name] = path.stat().st_size
        kind = pb.FilesItem.MEDIA if name.startswith("media/") else pb.FilesItem.OTHER
        self.put(pb.Record(files=pb.FilesRecord(files=[pb.FilesItem(path=name, policy=pb.FilesItem.NOW, type=kind)])))

    def end(self, record: pb.Record) -> None:
        """Append the last record, an exit."""
        self.put(record)
        self._log.close()

    def remove(self) -> None:
        """Remove it from the disk."""
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

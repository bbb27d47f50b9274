"""The sink for folders: one run as a folder that `wandb sync` uploads, like those that the SDK writes offline.

    offline-run-20200102_030405-<id>/run-<id>.wandb    the transaction log
                                    /files/...         the run's files

After each batch the log says which records are in it, so that whoever opens it again, after whatever end, cuts off what comes behind
that and goes on. `wandb sync` sends artifacts from where they lie: the folder may not be moved before.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from wandb.proto import wandb_internal_pb2 as pb

from multitrack.backend import RESERVED_TAGS, TAG_COMPLETE, Batch, Conclusion, Entry, Position, Rejection, Sink
from multitrack.errors import PermanentError, TransientError
from multitrack.records import Artifact, RunStarted, replaces

from . import names
from .artifacts import artifact_record
from .encode import Encoded, Encoder, Held, exit_record
from .location import Place, project_name
from .log_file import LogWriter
from .offline_logs import Story, read_story
from .positions import KEY, Counts, Mark, settle, write_position
from .versions import check_version

_NOWHERE = Place(None, None)
_COMPLETE = TAG_COMPLETE.removeprefix(RESERVED_TAGS)


class OfflineSink(Sink):
    """One run in a folder of runs."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._file: BinaryIO | None = None
        self._log: LogWriter | None = None
        self._is_over = False
        """The log has its last record."""

    # -- the contract ---------------------------------------------------------------------------------------------------------

    def open(self, run: RunStarted) -> Position:
        """Find the run's log, or begin one."""
        check_version()
        if self._place.exists() and not self._place.is_dir():
            raise PermanentError(f"{self._place} is no folder; runs are written into a folder of runs, such as ./wandb")
        self._run = run
        with _translated():
            found = self._find()
            if found is None:
                self._begin()
                return Position(batches=0)
            self._path = found.path
            self._take_up(read_story(found.path, found.settled))
            self._settled = found.settled
            self._is_over = found.exit is not None
            own = found.config.get(names.CONFIG, {})
            return Position(batches=None, marker=own.get(_COMPLETE))

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Append what is not there yet."""
        with _translated():
            if any(replaces(entry.writer, known) for known in self._mark.ends for entry in batch.entries):
                self._begin_anew()
            log = self._writable()
            entries = [entry for entry in batch.entries if not self._mark.holds(entry)]
            encoded = self._encoder.encode(entries, batch.number)
            self._lay_down(encoded, batch)
            for record in encoded.records:
                log.write(record.SerializeToString())
            self._settle(entries, encoded.records)
        return [Rejection(entry.writer, entry.seq, reason) for entry, reason in encoded.refused]

    def flush(self) -> Position:
        """Have the disk confirm."""
        with _translated():
            if self._file is not None:
                self._file.flush()
                os.fsync(self._file.fileno())
        return Position(batches=None)

    def finish(self, conclusion: Conclusion) -> None:
        """Lay the files down, and end the log."""
        with _translated():
            log = self._writable()
            for name, file in conclusion.files.items():
                shutil.copyfile(file, self._prepared(name))
                self._list([name])
            runtime = ((conclusion.time or self._run.time) - self._run.time) // 1_000_000
            for record in [*self._encoder.conclude(conclusion), exit_record(conclusion.status, max(runtime, 0))]:
                log.write(record.SerializeToString())
            self._is_over = True
            self.flush()
            self._shut()
            self._take_up(read_story(self._path, self._settled))

    def close(self) -> None:
        """End the log of a run that goes on: it stays `running` where it is uploaded to."""
        try:
            if self._log is not None and not self._is_over:
                self._log.write(exit_record("running", 0).SerializeToString())
            self._shut()
        except OSError:  # what is there is there, and the next one cuts off what is torn
            pass

    # -- the log --------------------------------------------------------------------------------------------------------------

    def _find(self) -> Story | None:
        """Return what is there of the run; what broke off before it said anything is removed."""
        for path in sorted(self._place.glob(f"*run-*-{self._run.id}/run-{self._run.id}.wandb")):
            try:
                story = read_story(path)
            except PermanentError:
                story = Story(path)
            if story.settled:
                return story
            if story.run.run_id and not path.parent.name.startswith("offline-run-"):
                raise PermanentError(f"{path} is this run's, and not of multitrack's making; nothing is written to it")
            shutil.rmtree(path.parent)
        return None

    def _begin(self) -> None:
        started = datetime.fromtimestamp(max(self._run.time // 1_000_000, 0), UTC)
        folder = self._place / f"offline-run-{started:%Y%m%d_%H%M%S}-{self._run.id}"
        (folder / "files").mkdir(parents=True)
        self._path = folder / f"run-{self._run.id}.wandb"
        self._encoder, self._mark = Encoder(self._run, _NOWHERE), Mark()
        self._is_over = False
        self._file = self._path.open("xb")
        self._log = LogWriter(self._file)
        self._log.write(self._encoder.opening().SerializeToString())
        self._settle([], [])

    def _begin_anew(self) -> None:
        """Begin again: another version of the run takes the place of the one that is here."""
        self._shut()
        shutil.rmtree(self._path.parent)
        self._begin()

    def _take_up(self, story: Story) -> None:
        """Stand where the log stands."""
        own = story.config.get(names.CONFIG, {})
        self._mark, _ = settle(own.get(KEY), story.counts, -1)
        summary = {name: value for name, value in story.summary.items() if name != names.CONFIG_INTERNAL}
        self._encoder = Encoder(self._run, _NOWHERE, Held(story.config, summary, self._mark.step))

    def _writable(self) -> LogWriter:
        """Return the log, open behind the last batch: what was torn, or concluded the run, is cut off."""
        if self._log is None:
            synced = self._path.with_name(f"{self._path.name}.synced")
            if synced.exists():
                raise PermanentError(
                    f"{self._path.parent} has been uploaded by `wandb sync`, which would send all of it again with what is to be added; "
                    f"deliver the run to the service (wandb:ENTITY/PROJECT), or remove {synced.name}"
                )
            self._file = self._path.open("r+b")
            self._file.truncate(self._settled)
            self._file.seek(self._settled)
            self._log = LogWriter(self._file, self._settled)
            self._is_over = False
        return self._log

    def _settle(self, entries: Sequence[Entry], records: Sequence[pb.Record]) -> None:
        """Say in the log what is in it."""
        kinds = [record.WhichOneof("record_type") for record in records]
        lines = Counts(kinds.count("history"), kinds.count("stats"), kinds.count("output_raw"))
        self._mark = replace(self._mark, counts=self._mark.counts + lines, step=self._encoder.last_step, ends=self._mark.after(entries))
        self._encoder.config.tell(KEY, write_position(Mark(), self._mark))
        log, file = self._log, self._file
        if log is None or file is None:
            raise RuntimeError("open comes first")
        for record in self._encoder.config_changes():
            log.write(record.SerializeToString())
        file.flush()
        self._settled = file.tell()

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._log = None

    # -- files ----------------------------------------------------------------------------------------------------------------

    def _lay_down(self, encoded: Encoded, batch: Batch) -> None:
        """Put the batch's files beside the log. Those of a W&B artifact are run files as well: a run is read by its own files."""
        for name, content in encoded.files.items():
            target = self._prepared(name)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                shutil.copyfile(batch.files(content[1]), target)
        self._list(list(encoded.files))
        owner = pb.RunRecord(run_id=self._run.id, project=project_name(self._run.project))
        for bundle in encoded.bundles:
            record = artifact_record(bundle, owner, self._content)
            self._writable().write(record.SerializeToString())

    def _prepared(self, name: str) -> Path:
        path = self._path.parent / "files" / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise PermanentError(f"the run file {name!r} cannot be laid down: {error}") from error
        return path

    def _content(self, artifact: Artifact) -> Path:
        return (self._path.parent / "files" / artifact.name).absolute()

    def _list(self, files: Sequence[str]) -> None:
        """Have run files uploaded."""
        if files:
            record = pb.Record()
            for name in files:
                kind = pb.FilesItem.MEDIA if name.startswith("media/") else pb.FilesItem.OTHER
                record.files.files.add(path=name, policy=pb.FilesItem.NOW, type=kind)
            self._writable().write(record.SerializeToString())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # A full disk, a mount that is gone: it may come back.
        raise TransientError(f"{error.filename or 'the folder'}: {error.strerror or error}") from error


__all__ = ["OfflineSink"]

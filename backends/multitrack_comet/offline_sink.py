"""The sink that writes archives: `comet upload` brings them to the service, whenever and from wherever that can be reached."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from multitrack.backend import TAG_COMPLETE, TAG_RUN_ID, Batch, Conclusion, Position, Rejection, Sink
from multitrack.errors import PermanentError, TransientError
from multitrack.records import RunStarted

from . import encode, names
from .archive import FolderArchive, ZippedArchive
from .lines import PATCH, asset_line, content_lines, other_lines, patch_line, tag_others
from .pack import Folder
from .replay import replay

_ENDED = frozenset(("finished", "failed", "killed", "crashed"))


class OfflineSink(Sink):
    """One run in a folder of archives."""

    def __init__(self, place: Path, workspace: str | None = None) -> None:
        self._place = place
        self._workspace = workspace
        self._number = 0
        """Of the last batch that this sink wrote."""
        self._packed = 0
        """How many batches the archive holds, where the run is one."""

    # -- the contract -----------------------------------------------------------------------------------------------------

    def open(self, run: RunStarted) -> Position:
        """Find the run's folder or archive, or begin the folder.

        Raises:
            PermanentError: the location is a file, or the archive of this name is not the run's.
        """
        if self._place.is_file():
            raise PermanentError(f"{self._place} is an archive, which is read only; write to the folder that it is in")
        self._run = run
        self._folder = Folder(self._place, run.id)
        with self._writing():
            if not self._folder.exists():
                if self._folder.zip.is_file():
                    return self._find_archive()
                self._folder.create(self._told(), self._first_lines())
            self._folder.scan()
            return Position(batches=self._folder.batches, marker=self._marker())

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Append a batch; one that is there already is replaced, and what came behind it comes again."""
        content = encode.encode_entries(batch.entries)
        with self._writing():
            self._begin(batch.number)
            lines = [*content_lines(content, self._time(batch)), *self._files(content, batch)]
            self._folder.append(lines, batch=batch.number)
        self._number = batch.number
        return ()

    def flush(self) -> Position:
        """See to it that the disk has what was written."""
        with self._writing():
            if self._folder.exists():
                self._folder.sync()
        return Position(batches=self._held)

    def finish(self, conclusion: Conclusion) -> None:
        """Write files, status and tags behind the batches, and of a run that has ended make the archive."""
        with self._writing():
            self._begin(self._held + 1)
            self._folder.append([*self._conclusion_files(conclusion), *self._conclusion_lines(conclusion)])
            self._folder.sync()
            if conclusion.status in _ENDED:
                self._folder.pack(self._experiment(conclusion))
                self._packed = self._folder.batches

    # -- the run ------------------------------------------------------------------------------------------------------------

    @property
    def _held(self) -> int:
        return self._folder.batches if self._folder.exists() else self._packed

    def _find_archive(self) -> Position:
        native = replay([ZippedArchive(self._folder.zip)], self._run.project).native
        if native.others.get(TAG_RUN_ID) != self._run.id:
            raise PermanentError(f"{self._folder.zip} is there already, and is not of this run; move it away, or write to another folder")
        self._packed = int(native.others.get(names.OTHER_BATCHES, 0))
        marker = native.others.get(TAG_COMPLETE)
        return Position(batches=self._packed, marker=None if marker is None else str(marker))

    def _marker(self) -> str | None:
        found = replay([FolderArchive(self._folder.path, self._run.id)], self._run.project).native.others.get(TAG_COMPLETE)
        return None if found is None else str(found)

    def _begin(self, number: int) -> None:
        """Stand where batch `number` begins."""
        if not self._folder.exists():
            self._folder.unpack()
            self._folder.scan()
        if number != self._number:  # else it is written in parts
            self._folder.rewind(number)
        if self._folder.is_empty:
            self._folder.append(self._first_lines(), batch=0)

    def _told(self) -> dict[str, object]:
        return {
            "offline_id": self._run.id,
            "project_name": self._run.project,
            "workspace": self._workspace,
            "start_time": self._run.time // 1000,
            "tags": [],
        }

    def _first_lines(self) -> list[str]:
        return list(other_lines({**encode.start_others(self._run), **tag_others(self._run.tags)}))

    def _experiment(self, conclusion: Conclusion) -> dict[str, object]:
        """Return what `experiment.json` says. Comet knows no other ending than that something went wrong."""
        start = self._run.time // 1000
        is_bad = conclusion.status in ("failed", "crashed")
        return {
            **self._told(),
            "stop_time": start if conclusion.time is None else max(conclusion.time // 1000, 0),
            "resume_strategy": "create",
            "customer_error_reported": is_bad,
            "customer_error_message": (conclusion.error or conclusion.status) if is_bad else None,
            "user_provided_experiment_key": True,
            "comet_start_sourced": False,
        }

    # -- what the run holds ---------------------------------------------------------------------------------------------------

    def _time(self, batch: Batch) -> int:
        return max((batch.entries[0].record.time if batch.entries else self._run.time) // 1000, 0)

    def _files(self, content: encode.Content, batch: Batch) -> Iterator[str]:
        """Put the batch's files into the folder, and yield their lines."""
        time = self._time(batch)
        for _, artifact in content.artifacts.values():
            asset = encode.asset(self._run.id, artifact)
            if artifact.sha256 is not None:
                self._folder.put(asset.id, batch.files(artifact))
                yield asset_line(asset, asset.id)
            elif artifact.uri is not None:
                yield asset_line(asset, None)
        documents = dict(content.documents)
        if content.console:
            documents[encode.console_file(batch.number)] = encode.console_bytes(content.console)
        for name, data in documents.items():
            yield self._own_file(name, data, time)
        if content.patch is not None:
            self._folder.put(PATCH, _zipped(content.patch))
            yield patch_line(time)

    def _own_file(self, name: str, content: Path | bytes, time: int) -> str:
        asset = encode.document(self._run.id, name, time * 1000)
        self._folder.put(asset.id, content)
        return asset_line(asset, asset.id)

    def _conclusion_files(self, conclusion: Conclusion) -> Iterator[str]:
        time = max((conclusion.time or self._run.time) // 1000, 0)
        files: dict[str, Path | bytes] = {**conclusion.files, **encode.long_text(names.OTHER_ERROR, conclusion.error)}
        return (self._own_file(name, file, time) for name, file in files.items())

    def _conclusion_lines(self, conclusion: Conclusion) -> Iterable[str]:
        others: dict[str, str] = {names.OTHER_STATUS: conclusion.status}
        if conclusion.error is not None:
            others[names.OTHER_ERROR] = encode.error_text(conclusion.error)
        if conclusion.deleted:
            others[names.OTHER_DELETED] = "true"
        return other_lines({**others, **conclusion.tags})

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransientError(f"the archive of run {self._run.id} cannot be written: {error}") from None


def _zipped(patch: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(names.PATCH_MEMBER), patch)  # without a time: the same patch is the same file
    return content.getvalue()


__all__ = ["OfflineSink"]

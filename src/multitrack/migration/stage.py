"""From a source into a journal: the run as it is delivered from there, and proof that it was read to its end."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import orjson

from ..adapt import Adapter
from ..backend import RESERVED_ARTIFACTS, RESERVED_TAGS, TAG_RUN_ID, Capabilities, Entry, RunRef, Source
from ..edits import find_edits
from ..errors import MigrationError, PermanentError
from ..journal import RunFolder, Store, WriterCopy, store_file, write_atomically
from ..recall import Recalled, recall
from ..records import Artifact, Origin, Record, RunStarted, derive_writer_id

_STAGED = "staged.json"
_LINES = 200
"""Entries written at a time."""


@dataclass
class Staged:
    """A run in the staging store."""

    folder: RunFolder
    problems: list[str] = field(default_factory=list)
    """What the source has lost, or what of it cannot be used."""
    notices: list[str] = field(default_factory=list)
    """What the source says of the run besides."""
    retold: bool = False
    """Whether the run is told anew as a whole, since what was taken away from it at its source cannot be told behind what was recorded."""


class Stage:
    """Brings runs of one source into a store, each once; one that is there whole is not read again."""

    def __init__(self, source: Source, capabilities: Capabilities, address: str, store: Store, *, as_recorded: bool = False) -> None:
        self._source = source
        self._capabilities = capabilities
        self._address = address
        self._store = store
        self._as_recorded = as_recorded

    def bring(self, run: RunRef) -> Staged:
        """Return the run's journal, read from the source unless this version of it was staged before.

        Raises:
            BackendError: the source cannot be read; nothing half-read is taken for the run.
        """
        folder = self._store.folder(run.project, run.id)
        note = folder.path / _STAGED
        with contextlib.suppress(FileNotFoundError):
            staged = orjson.loads(note.read_bytes())
            if run.version is not None and staged["version"] == run.version and staged.get("as_recorded", False) is self._as_recorded:
                return Staged(folder, staged["problems"], staged.get("notices", []), staged.get("retold", False))
        shutil.rmtree(folder.path, ignore_errors=True)
        folder.create()
        reading = _Reading(self._source, self._capabilities, run, folder, self._address, as_recorded=self._as_recorded)
        reading.write()
        staged = Staged(folder, reading.problems, list(self._source.notices(run)), reading.retold)
        told = {"problems": staged.problems, "notices": staged.notices, "retold": staged.retold, "as_recorded": self._as_recorded}
        write_atomically(note, orjson.dumps({"version": run.version, **told}))
        return staged

    def drop(self, run: RunRef) -> None:
        """Remove a run that has arrived."""
        shutil.rmtree(self._store.folder(run.project, run.id).path, ignore_errors=True)


def is_ours(run: RunRef) -> bool:
    """Return whether multitrack delivered the run to the service: then there may be more to it than the service shows."""
    return TAG_RUN_ID in run.tags


class _Reading:
    """One run on its way from the source into its folder."""

    def __init__(
        self, source: Source, capabilities: Capabilities, run: RunRef, folder: RunFolder, address: str, *, as_recorded: bool
    ) -> None:
        self._source = source
        self._capabilities = capabilities
        self._run = run
        self._folder = folder
        self._origin = Origin(source=address, project=run.project, run=run.native_id)
        self._as_recorded = as_recorded
        self._adapter = Adapter(capabilities)
        self.problems: list[str] = []
        self.retold = False

    def write(self) -> None:
        """Write the run into its folder."""
        if is_ours(self._run):
            self._write_recalled(recall(self._source, self._run, self._capabilities, as_recorded=self._as_recorded))
        else:
            self._write_records(self._complete(self._source.read(self._run)))
        self.problems.extend(self._source.problems(self._run))

    # -- a run that somebody else recorded: straight from the source, however long it is

    def _complete(self, records: Iterable[Record]) -> Iterator[Record]:
        """Yield the records with their origin, and the artifacts with their contents."""
        for record in records:
            if isinstance(record, RunStarted):
                yield self._start(record)
            elif isinstance(record, Artifact):
                if not record.name.startswith(RESERVED_ARTIFACTS) and (complete := self._with_content(record, record)) is not None:
                    yield complete
            else:
                yield record

    def _start(self, record: RunStarted) -> RunStarted:
        tags = {name: value for name, value in record.tags.items() if not name.startswith(RESERVED_TAGS)}
        origin = record.origin or self._origin
        return record.model_copy(update={"id": self._run.id, "parent": self._run.parent, "origin": origin, "tags": tags})

    def _with_content(self, artifact: Artifact, native: Artifact) -> Artifact | None:
        """Return the artifact with its content fetched under the name that it has at the service; None if that has lost it."""
        if native.uri is not None and native.sha256 is None and native.size is None:
            return artifact
        with tempfile.NamedTemporaryFile(dir=self._folder.artifacts, prefix=".fetched-", delete=False) as file:
            path = Path(file.name)
        try:
            self._source.fetch(self._run, native, path)
            sha256, size = store_file(path, self._folder.artifacts, move=True)
        except PermanentError as error:
            self.problems.append(f"artifact {artifact.name!r}: {error}")
            return None
        finally:
            path.unlink(missing_ok=True)
        return artifact.model_copy(update={"sha256": sha256, "size": size})

    def _write_records(self, records: Iterable[Record]) -> None:
        writer = derive_writer_id(self._run.id, self._run.version)
        self._write_entries(Entry(writer, seq, record) for seq, record in enumerate(records))

    # -- a run that we delivered there: with what travelled along

    def _write_recalled(self, recalled: Recalled) -> None:
        if recalled.problem:
            self.problems.append(recalled.problem)
        attached = recalled.attached
        if attached is not None and all(entry.record is record for entry, record in zip(attached, recalled.records, strict=False)):
            # As they were recorded, under the names (writer, sequence number) that they have for ever.
            self._write_entries(self._with_contents([entry for entry in attached if entry.writer], recalled))
        elif attached is not None and (edits := find_edits([entry.record for entry in attached], recalled.state)) is not None:
            # Likewise, and what people have changed at the service since behind them: nothing that is there already is sent anew.
            editor = derive_writer_id(f"edits of {self._run.id}", self._run.version)
            behind = [Entry(editor, seq, record) for seq, record in enumerate(edits)]
            self._write_entries(self._with_contents([*(entry for entry in attached if entry.writer), *behind], recalled))
        else:
            self.retold = attached is not None
            entries = [Entry("", seq, record) for seq, record in enumerate(recalled.records)]
            self._write_records(entry.record for entry in self._with_contents(entries, recalled))

    def _with_contents(self, entries: Sequence[Entry], recalled: Recalled) -> Iterator[Entry]:
        """Yield the entries, the contents of artifacts fetched.

        The service holds one content a name, perhaps another one than was recorded: it belongs to the name's last record, and an
        earlier record of a content that the service has overwritten is left out.
        """
        last = {entry.record.name: entry.record for entry in entries if isinstance(entry.record, Artifact)}
        contents = {name: self._native_content(artifact, recalled) for name, artifact in last.items()}
        for entry in entries:
            record = entry.record
            if not isinstance(record, Artifact):
                yield entry
            elif (content := contents[record.name]) is not None:
                if record is last[record.name]:
                    yield Entry(entry.writer, entry.seq, content)
                elif record.sha256 == content.sha256:
                    yield entry

    def _native_content(self, artifact: Artifact, recalled: Recalled) -> Artifact | None:
        native = recalled.native_artifact(artifact.name, self._adapter)
        if native is None:  # the service does not hold references, or the target's filters kept the artifact away
            return artifact if artifact.uri is not None else None
        return self._with_content(artifact, native)

    # -- into the folder

    def _write_entries(self, entries: Iterable[Entry]) -> None:
        copies: dict[str, WriterCopy] = {}
        try:
            for group in _grouped(entries):
                for writer, part in _by_writer(group).items():
                    self._copy(copies, writer).append(part)
            for copy in copies.values():
                copy.sync()
        finally:
            for copy in copies.values():
                copy.close()
        if not copies:
            raise PermanentError(f"the source has nothing of run {self._run.native_id}")

    def _copy(self, copies: dict[str, WriterCopy], writer: str) -> WriterCopy:
        if writer not in copies:
            copy = WriterCopy(self._folder, writer)
            if not copy.begin():
                raise MigrationError(f"{self._folder.path}: another migration writes here")
            copies[writer] = copy
        return copies[writer]


def _grouped(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    iterator = iter(entries)
    while group := list(islice(iterator, _LINES)):
        yield group


def _by_writer(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.writer, []).append(entry)
    return found

"""One run at a service, read and restored: what the service holds, and what travelled with the run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import orjson

from .adapt import Adapter
from .backend import ATTACHED_RECORDS, TAG_COMPLETE, TAG_RUN_ID, Capabilities, Entry, RunRef, Source
from .columnar import WORTH, read_run
from .delivery.attachment import read_attachment
from .errors import PermanentError, RecordError, RunNotFoundError
from .journal import Journal, RunFolder
from .records import Artifact, Record, RunFinished, RunUpdated
from .restore import restore
from .state import RunState, compare, fold, to_records


@dataclass(frozen=True)
class Recalled:
    """A run as it was read."""

    native: RunState
    """What the service holds, under its own names, multitrack's marks included."""
    attached: list[Entry] | None
    """The neutral records that travelled with the run; None where there are none."""
    state: RunState
    """The run in its neutral form: what was recorded, and what people changed at the service since."""
    find_records: Callable[[], Iterable[Record]]
    """See `records`."""
    problem: str | None = None
    """Why the attached records could not be used, where they could not."""

    @cached_property
    def records(self) -> Iterable[Record]:
        """Records that fold to `state`, as a delivery of the run sends them: those that were recorded where nobody has changed the run.

        They can be gone through several times. Those of a large journal are read from it each time, and the others are in memory.
        """
        return self.find_records()

    def native_artifact(self, name: str, adapter: Adapter) -> Artifact | None:
        """Return the service's artifact that a name of ours stands for; `adapter` fits names to the service."""
        # A name that the service cannot take from us may be there all the same: somebody else put it there.
        return self.native.artifacts.get(adapter.artifact_name(name)) or self.native.artifacts.get(name)


def recall(source: Source, run: RunRef, capabilities: Capabilities, *, as_recorded: bool = False, keep_records: bool = True) -> Recalled:
    """Read a run.

    Args:
        source, run: which.
        capabilities: those of the service.
        as_recorded: whether what people changed there since is left aside.
        keep_records: whether `records` will be wanted, so that they need not be read again.

    Raises:
        BackendError: the service cannot be read.
    """
    native, find_read = _read(source, run, keep_records)
    attached, problem = _fetch_attached(source, run, native)
    recorded = None if attached is None else [entry.record for entry in attached]
    state = restore(recorded, native, capabilities, as_recorded=as_recorded)
    if recorded is None and run.status is not None:
        state.status, state.ended = run.status, run.ended  # `crashed` is known to the store, not to the records

    def find_records() -> Iterable[Record]:
        if recorded is None:
            return to_records(state) if TAG_RUN_ID in run.tags else find_read()
        return to_records(state) if compare(fold(recorded), state) else recorded

    return Recalled(native, attached, state, find_records, problem)


def _read(source: Source, run: RunRef, keep: bool) -> tuple[RunState, Callable[[], Iterable[Record]]]:
    """Return what the service holds, and what finds the records that say so: those of a journal are left there."""
    try:
        if (folder := source.journal(run)) is not None:
            native = read_run(RunFolder(folder))
            is_large = sum(Journal(RunFolder(folder)).sizes().values()) >= WORTH
            return native, lambda: _Reading(source, run) if is_large else list(source.read(run))
    except (RecordError, RunNotFoundError, OSError) as error:
        raise PermanentError(str(error)) from None
    if TAG_RUN_ID in run.tags:  # `to_records` makes them where nothing is attached
        return fold(source.read(run)), list
    if not keep:
        return fold(source.read(run)), lambda: list(source.read(run))
    read = list(source.read(run))
    return fold(read), lambda: read


@dataclass(frozen=True)
class _Reading:
    """A run's records, read each time that one goes through them."""

    source: Source
    run: RunRef

    def __iter__(self) -> Iterator[Record]:
        return self.source.read(self.run)


def _fetch_attached(source: Source, run: RunRef, native: RunState) -> tuple[list[Entry] | None, str | None]:
    artifact = native.artifacts.get(ATTACHED_RECORDS)
    if artifact is None:
        return None, None
    with tempfile.TemporaryDirectory(prefix="multitrack-") as folder:
        path = Path(folder) / "records.jsonl.zst"
        try:
            source.fetch(run, artifact, path)
            entries = list(read_attachment(path))
        except (PermanentError, RecordError) as error:
            return None, f"the attached records cannot be used: {error}"
    return [*entries, *_verdict_of(entries, native)], None


def _verdict_of(entries: list[Entry], native: RunState) -> list[Entry]:
    """Return the end that a crashed run was given when it was delivered: its own records tell of none."""
    last = [entry.record for entry in entries if isinstance(entry.record, RunFinished | RunUpdated)]
    told = [record for record in last if isinstance(record, RunFinished) or record.status is not None]
    if told and isinstance(told[-1], RunFinished):
        return []
    try:
        marker = orjson.loads(native.tags.get(TAG_COMPLETE) or "{}")
    except orjson.JSONDecodeError:  # somebody has edited the tag
        return []
    if marker.get("status") != "crashed":
        return []
    return [Entry("", 0, RunFinished(time=marker.get("ended", 0), status="crashed"))]

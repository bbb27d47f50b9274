"""One run at a service, read and restored: what the service holds, and what travelled with the run."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import orjson

from .adapt import Adapter
from .backend import ATTACHED_RECORDS, TAG_COMPLETE, TAG_RUN_ID, Capabilities, Entry, RunRef, Source
from .delivery.attachment import read_attachment
from .errors import PermanentError, RecordError
from .records import Artifact, Record, RunFinished, RunUpdated
from .restore import restore
from .state import RunState, compare, fold, to_records


@dataclass(frozen=True, slots=True)
class Recalled:
    """A run as it was read."""

    native: RunState
    """What the service holds, under its own names, multitrack's marks included."""
    attached: list[Entry] | None
    """The neutral records that travelled with the run; None where there are none."""
    state: RunState
    """The run in its neutral form: what was recorded, and what people changed at the service since."""
    records: list[Record]
    """Records that fold to `state`, as a delivery of the run sends them: those that were recorded where nobody has changed the run."""
    problem: str | None = None
    """Why the attached records could not be used, where they could not."""

    def native_artifact(self, name: str, adapter: Adapter) -> Artifact | None:
        """Return the service's artifact that a name of ours stands for; `adapter` fits names to the service."""
        # A name that the service cannot take from us may be there all the same: somebody else put it there.
        return self.native.artifacts.get(adapter.artifact_name(name)) or self.native.artifacts.get(name)


def recall(source: Source, run: RunRef, capabilities: Capabilities, *, as_recorded: bool = False) -> Recalled:
    """Read a run.

    Raises:
        BackendError: the service cannot be read.
    """
    read = list(source.read(run))
    native = fold(read)
    attached, problem = _fetch_attached(source, run, native)
    recorded = None if attached is None else [entry.record for entry in attached]
    state = restore(recorded, native, capabilities, as_recorded=as_recorded)
    if recorded is None:
        if run.status is not None:
            state.status, state.ended = run.status, run.ended  # `crashed` is known to the store, not to the records
        records = to_records(state) if TAG_RUN_ID in run.tags else read
    else:
        records = to_records(state) if compare(fold(recorded), state) else recorded
    return Recalled(native, attached, state, records, problem)


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

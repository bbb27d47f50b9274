"""The sink for the service: one run, through wandb-core.

`write` puts a batch into a transaction log of W&B's own form; `flush` ends the log, has wandb-core upload it, and asks the service what it
has. Nothing counts as delivered before the service says so itself: lines by their number, the config by what stands in it, files by
their sizes, artifacts by their digests. An upload that breaks off leaves a beginning of its lines behind, and no more: whoever opens the
run next leaves out just those (see `positions`). A run that goes on is uploaded every few seconds, one that is over at once.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb

from multitrack.backend import RESERVED_TAGS, TAG_COMPLETE, Batch, Conclusion, Entry, Position, Rejection, Sink
from multitrack.errors import TransientError
from multitrack.records import LogLines, Metrics, Points, RunFinished, RunStarted

from . import names
from .artifacts import artifact_name, artifact_record, artifact_type
from .client import Client, RunThere
from .encode import Bundle, Encoder, Held, exit_record
from .fragment import Fragment
from .location import Place, project_name
from .positions import KEY, Counts, Mark, settle, write_position
from .settings import WandbSettings
from .standing import Standing

log = logging.getLogger(__name__)

UPLOAD_TIMEOUT = 240.0
"""Seconds after which an upload without files is given up: it is begun anew from where the service stands."""
SLOWEST = 1 << 16
"""Bytes of files a second that an upload is given besides."""
PATIENCE = 10.0
"""Seconds in which what was uploaded must show in the service's answers."""
MUCH = 1 << 18
"""Bytes of records that are uploaded without waiting for more."""
RECENT = 60.0
"""Seconds: a run whose last record is older than this is not being watched, and is uploaded as it comes."""
FRESH = 2.0
"""Seconds in which nobody else will have written to the run."""
LONGEST_ROW = 9 << 20
"""Bytes of text in a row. wandb-core leaves out what is longer than some 10 MB, which is what the service takes."""
INTERVAL = 15.0
"""Seconds between two uploads of a run that has gone on for some time, as with W&B's own SDK; at its beginning less."""


class WandbSink(Sink):
    """One run at W&B's service."""

    def __init__(self, location: str | None, settings: WandbSettings) -> None:
        self._location = location
        self._settings = settings
        self._fragment: Fragment | None = None
        self._acknowledged = self._written = 0
        self._is_marked = self._is_urgent = False
        self._newest = 0
        self._ends: Mapping[str, int] = {}
        self._uploaded = 0.0

    # -- the contract -----------------------------------------------------------------------------------------------------

    def open(self, run: RunStarted) -> Position:
        """Find the run by its id, or create it.

        Raises:
            AuthError: there is no login, or it is refused.
            PermanentError: there is no such entity, or it is not for us to write to; or the run was deleted there.
        """
        self._client = Client(self._location, self._settings)
        self._run = run
        self._project = self._client.place.project or project_name(run.project)
        self._opened = time.monotonic()
        there = self._client.find_run(self._project, run.id)
        if there is None:
            self._client.create_run(self._project, run.id)
        self._take(there)
        if there is None:
            return Position(batches=0)
        own = self._encoder.config.own
        marker = own.get(_MARKER)
        self._is_marked = isinstance(marker, str)
        is_whole = self._is_marked and names.has_ended(there.state, own.get(names.STATUS))
        # A batch may have come in parts, so the service cannot tell which ones it has: what was committed decides, and of what is sent
        # again the lines that are there are known.
        return Position(batches=None, marker=marker if is_whole else None)

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Add a batch to what the next upload brings."""
        if self._is_marked:
            self._encoder.unmark(TAG_COMPLETE)
            self._is_marked = False
        fragment = self._begun()
        refused = [Rejection(entry.writer, entry.seq, reason) for entry in batch.entries if (reason := _why_too_long(entry))]
        too_long = {(rejection.writer, rejection.seq) for rejection in refused}
        fresh = [
            entry
            for entry in batch.entries
            if (entry.writer, entry.seq) not in too_long and not (isinstance(entry.record, Metrics | Points) and self._mark.holds(entry))
        ]
        encoded = self._encoder.encode(fresh, batch.number)
        for name, content in encoded.files.items():
            fragment.put_file(name, content if isinstance(content, bytes) else batch.files(content[1]))
        for record in self._not_there(encoded.records, fresh):
            self._put(record)
        owner = pb.RunRecord(run_id=self._run.id, project=self._project, entity=self._client.entity)
        for bundle in encoded.bundles:
            fragment.put(artifact_record(bundle, owner, batch.files, self._name_of(bundle)))
        self._ends = Mark(ends=self._ends).after(batch.entries)
        self._written = batch.number
        self._newest = max([self._newest, *(entry.record.time for entry in batch.entries)])
        self._is_urgent = self._is_urgent or fragment.size > MUCH or any(isinstance(entry.record, RunFinished) for entry in batch.entries)
        return refused + [Rejection(entry.writer, entry.seq, reason) for entry, reason in encoded.refused]

    def flush(self) -> Position:
        """Upload what was written, and wait until the service has it. Where a run goes on, that is put off until enough has come."""
        if self._fragment is not None and (self._is_urgent or time.monotonic() >= self._uploaded + self._interval()):
            self._upload("running")
        return Position(batches=self._acknowledged)

    def finish(self, conclusion: Conclusion) -> None:
        """Upload the files, then the run's end and the tags."""
        for name, file in conclusion.files.items():
            self._begun().put_file(name, file)
        if self._fragment is not None:
            self._upload("running")
        self._begun()
        for record in self._encoder.conclude(conclusion):
            self._put(record)
        self._upload(conclusion.status, conclusion.time)
        self._is_marked = TAG_COMPLETE in conclusion.tags

    def url(self) -> str | None:
        """Return the run's page."""
        return self._client.run_url(self._project, self._run.id)

    def close(self) -> None:
        """Forget what was not uploaded."""
        if self._fragment is not None:
            self._fragment.remove()
            self._fragment = None

    # -- where the run stands -------------------------------------------------------------------------------------------------

    def _take(self, there: RunThere | None) -> None:
        """Begin where the service stands."""
        config = dict(there.config) if there is not None else {}
        summary = dict(there.summary) if there is not None else {}
        summary.pop(names.CONFIG_INTERNAL, None)
        self._standing = Standing(config.pop(names.CONFIG_INTERNAL, None))
        self._summary = {name: json.dumps(value) for name, value in summary.items()}
        self._asked = time.monotonic()
        self._mark: Mark
        self._beyond: Counts
        self._mark, self._beyond = settle(_said(there), _counts(there), -1 if there is None else there.last_step)
        self._ends = self._mark.ends
        held = None if there is None else Held(config, summary, self._mark.step)
        self._encoder: Encoder = Encoder(self._run, Place(self._client.entity, self._client.place.project), held)

    def _not_there(self, records: Iterable[pb.Record], entries: Iterable[Entry]) -> Iterable[pb.Record]:
        """Yield the records but for lines that are there: of an upload that broke off, and console lines of entries that are known."""
        beyond = self._beyond
        known = iter([self._mark.holds(entry) for entry in entries if isinstance(entry.record, LogLines) for _ in entry.record.lines])
        for record in records:
            kind = record.WhichOneof("record_type")
            if kind == "output_raw" and next(known):
                continue
            line = Counts(kind == "history", kind == "stats", kind == "output_raw")
            if line != Counts() and beyond.reaches(line):
                beyond -= line
            else:
                yield record
        self._beyond = beyond

    def _name_of(self, bundle: Bundle) -> str:
        """Return what an artifact is called there: a name of the project's artifacts is of one type for ever, so the type may join it."""
        name, kind = artifact_name(bundle.name), artifact_type(bundle.type)
        return name if self._client.type_of_artifact(self._project, name) in {None, kind} else artifact_name(f"{bundle.name}-{kind}")

    # -- uploading ----------------------------------------------------------------------------------------------------------------

    def _begun(self) -> Fragment:
        """Return what the next upload brings, begun if need be: with all that wandb-core would forget of the run otherwise."""
        if self._fragment is None:
            self._catch_up()
            self._fragment = Fragment(self._run.id)
            self._lines = self._mark.counts + self._beyond
            self._encoder.config.tell(KEY, write_position(self._mark))
            opening = self._encoder.opening()
            opening.run.entity = self._client.entity
            self._fragment.put(opening)
            for record in self._standing.records():
                self._fragment.put(record)
            if self._summary:
                items = [pb.SummaryItem(key=name, value_json=text) for name, text in self._summary.items()]
                self._fragment.put(pb.Record(summary=pb.SummaryRecord(update=items)))
        return self._fragment

    def _catch_up(self) -> None:
        """Begin where the service stands by now: another rank's store may have brought lines since."""
        if time.monotonic() < self._asked + FRESH:
            return
        there = self._client.find_run(self._project, self._run.id)
        if there is None:
            raise TransientError(f"W&B has run {self._run.id} no more")
        if _said(there) != self._encoder.config.own.get(KEY) or _counts(there) != self._mark.counts + self._beyond:
            self._take(there)

    def _put(self, record: pb.Record) -> None:
        self._standing.learn(record)
        self._summary |= {item.key: item.value_json for item in record.summary.update}
        self._begun().put(record)

    def _interval(self) -> float:
        """Return the seconds between uploads."""
        if time.time() - self._newest / 1e6 > RECENT:
            return 0.0
        return min(INTERVAL, (time.monotonic() - self._opened) / 10)

    def _upload(self, status: str, ended: int | None = None) -> None:
        """Upload what was begun; return when the service has all of it."""
        fragment = self._begun()
        end = Mark(self._lines + fragment.lines, self._encoder.last_step, self._ends)
        position = write_position(self._mark, end)
        self._encoder.config.tell(KEY, position)
        self._encoder.config.changes()
        last = pb.Record()
        last.config.update.add(nested_key=[names.CONFIG, KEY], value_json=json.dumps(position))
        fragment.put(last)
        fragment.end(exit_record(status, 0 if ended is None else max(ended - self._run.time, 0) // 1_000_000))
        self._fragment = None
        try:
            upload = self._client.upload(fragment.path)
            upload.wait(UPLOAD_TIMEOUT + sum(fragment.sizes.values()) / SLOWEST)
            there = self._await_arrival(fragment, end)
        finally:
            fragment.remove()
        self._mark, self._beyond = Mark(_counts(there), max(end.step, there.last_step), end.ends), Counts()
        self._asked = time.monotonic()
        self._acknowledged = self._written
        self._is_urgent = False
        self._uploaded = time.monotonic()

    def _await_arrival(self, fragment: Fragment, end: Mark) -> RunThere:
        """Return the run as it is there once the service shows all that was uploaded.

        Raises:
            TransientError: it does not.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            there = self._client.find_run(self._project, self._run.id)
            missing = "the run" if there is None else self._missing(there, fragment, end)
            if there is not None and missing is None:
                if there.history > end.counts.history or there.events > end.counts.events:
                    # A request of a wandb-core that was killed came in late, between our question and this one's.
                    log.warning("%s: W&B has %d rows, %d were sent", self._run.id, there.history, end.counts.history)
                return there
            if time.monotonic() > deadline:
                raise TransientError(f"W&B does not show what was uploaded: {missing}")
            time.sleep(0.2)

    def _missing(self, there: RunThere, fragment: Fragment, end: Mark) -> str | None:
        """Return what is not there of an upload; None when nothing is missing."""
        if _said(there) != self._encoder.config.own[KEY]:
            return "the config"
        if there.history < end.counts.history or there.events < end.counts.events:
            return f"{end.counts.history - there.history} rows, {end.counts.events - there.events} rows of system metrics"
        if fragment.sizes:
            sizes = self._client.file_sizes(self._project, self._run.id, list(fragment.sizes))
            lacking = [name for name, size in fragment.sizes.items() if sizes.get(name) != size]
            if lacking:
                return f"{len(lacking)} files, {lacking[0]!r} among them"
        if fragment.artifacts:
            lost = fragment.artifacts - self._client.output_digests(self._project, self._run.id)
            if lost:
                return f"{len(lost)} artifacts, {min(lost)[0]!r} among them"
        return None


_MARKER = TAG_COMPLETE.removeprefix(RESERVED_TAGS)


def _said(there: RunThere | None) -> Any:
    """Return what the run's config says of its position."""
    own = None if there is None else there.config.get(names.CONFIG)
    return own.get(KEY) if isinstance(own, Mapping) else None


def _why_too_long(entry: Entry) -> str | None:
    """Return why an entry's points make a row that wandb-core leaves out; None when they do not."""
    record = entry.record
    if isinstance(record, Metrics):
        size = sum(len(value) for value in record.values.values() if isinstance(value, str))
    elif isinstance(record, Points):
        size = max((len(value) for value in record.values if isinstance(value, str)), default=0)
    else:
        return None
    return f"a row of {size:,} bytes; W&B takes up to {LONGEST_ROW:,}" if size > LONGEST_ROW else None


def _counts(there: RunThere | None) -> Counts:
    return Counts() if there is None else Counts(there.history, there.events, there.console)

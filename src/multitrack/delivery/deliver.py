"""From a journal to a sink, resumable at every point.

    plan    read new lines, put their byte ranges into the batches file, and sync it: that is the order for this target, for ever
    send    adapt the batch, hand it to the sink
    commit  what the *service* has acknowledged, and the adapter's state there

A process that dies in between leaves a journal, a batches file and a committed position. The next one adapts the same batches from the
same state, so it sends the same entries, and the sink makes what was sent twice count once.

Where there is a backlog, the next batch is planned and adapted while one is sent. It is one of those that were planned and not sent, then,
if this process dies.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from ..adapt import Adapter
from ..backend import Backend, Batch, Entry, Rejection, Sink
from ..config.filters import Filters
from ..errors import BackendError, PermanentError, RecordError, TransientError
from ..journal import Journal, RunFolder
from ..records import Artifact, RunStarted, now
from .ahead import Ahead
from .conclude import Closing
from .dedicated import freeze_imports
from .ledger import Committed, Ledger, PlannedBatch, Status
from .prepare import Preparation, Prepared
from .refusal import write_halving

log = logging.getLogger("multitrack.delivery")

BATCHES_PER_FLUSH = 8
BATCHES_IN_FLIGHT = 32
"""Batches that may be sent and not acknowledged; then nothing more is sent until some are."""
ACKNOWLEDGE_TIMEOUT = 300.0
"""Seconds that a service may take to acknowledge anything; then the sink is opened anew and the rest sent again."""
_ACKNOWLEDGE_POLL = 0.2


class DeliveryBusyError(BackendError):
    """Another process is delivering this run to this target."""


@dataclass(frozen=True)
class _Pending:
    """A batch that was sent and is not acknowledged, and where delivery stands once it is."""

    batch: PlannedBatch
    records: int
    points: int
    held: bool
    """Whether the service has got anything of it: of a batch that the filters hold back, it cannot acknowledge anything."""
    adapter: Mapping[str, Any]
    losses: Sequence[Mapping[str, Any]]


class Delivery:
    """Brings one run to one target. Used by one thread at a time.

    Args:
        target: the name under which the run's ledger knows the target.
        attach: whether the run's neutral records go along when it is concluded.
        version: the source's version of the run, for the completion marker (`RunRef.version`); the journal's if left out.
        recheck: ask the service even where the ledger says that it has the whole run: somebody may have deleted it there.
        on_progress: told how many records and points were acknowledged, each time some are.
    """

    def __init__(
        self,
        run: RunFolder,
        target: str,
        backend: Backend,
        filters: Filters | None = None,
        *,
        attach: bool = True,
        version: str | None = None,
        recheck: bool = False,
        on_progress: Callable[[int, int], None] = lambda _records, _points: None,
    ) -> None:
        self.journal = Journal(run)
        self.ledger = Ledger(run, target)
        self._backend = backend
        filters = filters or Filters()
        self._preparation = Preparation(self.journal, self.ledger, filters, backend.capabilities)
        self._ahead = Ahead(self._preparation.next)
        self._closing = Closing(self.journal, self.ledger, filters, backend.capabilities, attach, version)
        self._recheck = recheck
        self._on_progress = on_progress
        self._sink: Sink | None = None
        self._committed = Committed()
        self._sent = 0
        self._unacknowledged: deque[_Pending] = deque()
        self._heard = 0.0
        self._suspect = 0
        """The last batch that was refused before the sink was opened again."""
        self.caught_up = False
        """Whether the last `advance` got through to the end of what there was."""
        self.marker: str | None = None
        """The completion marker that the service had when the sink was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the sink and of the lock."""
        self._drop_sink()
        self.ledger.lock.release()

    # -- the one thing it does

    def advance(self, budget: float = math.inf) -> bool:
        """Deliver what the journal holds by now; return whether the target has the whole run, and the run has ended.

        Args:
            budget: seconds after which it returns False with more left to deliver, so that others get their turn.

        Raises:
            DeliveryBusyError: another process delivers this run to this target.
            TransientError, PermanentError, AuthError: the service failed or refused. What it has acknowledged is committed; call again
                to go on from there.
            RecordError: the journal is not a run's, or comes from a newer multitrack.
        """
        deadline = time.monotonic() + budget
        if not self.ledger.lock.acquire():
            raise DeliveryBusyError(f"{self.ledger.target}: another process is delivering run {self.journal.run.id}")
        if self._sink is None:
            if not self._recheck and self._is_concluded():
                return True
            if not self._has_begun():
                self.caught_up = True
                return False
        try:
            self._open()
            ended = not self.journal.is_alive()  # asked before the last read, so that nothing can be written in between
            with self._ahead:
                self.caught_up = self._send_all(deadline)
            if self.caught_up and ended and not self._is_concluded():
                self._conclude()
            return ended and self.caught_up and self._is_concluded()
        except BaseException:
            # Nothing is known now of what was handed over: the next attempt opens again and asks the service.
            self._drop_sink()
            raise

    def _is_concluded(self) -> bool:
        concluded = self.ledger.committed().concluded if self._sink is None else self._committed.concluded
        return concluded is not None and dict(concluded) == dict(self.journal.sizes())

    def _has_begun(self) -> bool:
        """Whether the run's first record is there: a rank that joins may come before the one that makes the run."""
        try:
            self.journal.started()
        except RecordError:
            if not self.journal.is_alive():
                raise
            return False
        return True

    # -- opening

    def _open(self) -> None:
        if self._sink is not None:
            return
        committed = self.ledger.committed()
        sink = self._backend.sink()
        self._sink = sink
        position = sink.open(self._adapted_start())
        freeze_imports()
        self.marker = position.marker
        if position.marker is None:
            committed = replace(committed, concluded=None)
        self._ahead.drop()
        self._committed = self._preparation.resume(committed, position.batches)
        self._sent = self._committed.batches
        self._unacknowledged.clear()
        self._heard = time.monotonic()
        self.ledger.set_status(Status("delivering", at=now(), since=now(), base=self._committed.records))

    def _adapted_start(self) -> RunStarted:
        """The run's first record as the service will hold it. Adapting it needs no state, since it comes first."""
        entry = Entry("", 0, self.journal.started())
        adapted = Adapter(self._backend.capabilities).adapt([entry]).entries
        return next(entry.record for entry in adapted if isinstance(entry.record, RunStarted))

    def _drop_sink(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            try:
                sink.close()
            except Exception:  # it promises not to raise; a promise that is broken must not cost the run
                log.exception("%s: closing the sink", self.ledger.target)

    @property
    def _opened(self) -> Sink:
        if self._sink is None:
            raise RuntimeError("the sink is not open")
        return self._sink

    # -- sending

    def _send_all(self, deadline: float) -> bool:
        """Send what there is; return whether the service has acknowledged all of it, False if time has run out."""
        while True:
            prepared = self._ahead.take() if len(self._unacknowledged) < BATCHES_IN_FLIGHT else None
            if prepared is not None:
                # Not the last one of this turn: what is prepared is sent, or a run that waits for its turn would hold a batch in memory.
                if time.monotonic() < deadline and len(self._unacknowledged) + 1 < BATCHES_IN_FLIGHT and self._preparation.has_backlog():
                    self._ahead.begin()
                self._send(prepared)
            is_over = time.monotonic() > deadline and not self._ahead.pending
            if prepared is None or len(self._unacknowledged) >= BATCHES_PER_FLUSH or is_over:
                if not self._flush():
                    continue
                if prepared is None and not self._unacknowledged:
                    return True
                if is_over:
                    return False
            if prepared is None:  # the service acknowledges late
                time.sleep(min(_ACKNOWLEDGE_POLL, max(deadline - time.monotonic(), 0)))

    def _send(self, prepared: Prepared) -> None:
        number = prepared.batch.number
        entries, rejections = self._with_contents(prepared.entries)
        self.ledger.reject(prepared.damaged)
        if entries:
            refused = self._write(number, entries)
            if refused is None:
                return
            rejections += refused
        self.ledger.reject(rejections)
        self._sent = number
        refusals = {(item.writer, item.seq) for item in rejections}
        held = any((entry.writer, entry.seq) not in refusals for entry in prepared.entries)
        self._unacknowledged.append(_Pending(prepared.batch, prepared.records, prepared.points, held, prepared.adapter, prepared.losses))

    def _with_contents(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[Rejection]]:
        """Set artifacts aside whose content somebody has taken out of the journal: no service could get it."""
        present: list[Entry] = []
        missing: list[Rejection] = []
        for entry in entries:
            record = entry.record
            if record.kind == "artifact" and isinstance(record, Artifact) and record.sha256 and not self.journal.content(record).is_file():
                missing.append(Rejection(entry.writer, entry.seq, f"the content of artifact {record.name!r} is missing from the journal"))
            else:
                present.append(entry)
        return present, missing

    def _write(self, number: int, entries: Sequence[Entry]) -> list[Rejection] | None:
        """Hand entries over. None: the batch was refused, the sink was opened again, and it is to be sent once more.

        A refusal may be about the run, not about an entry: an experiment that was deleted, say. Then opening it says so. If it opens, the
        batch is searched for the entry at fault.
        """

        def write(part: Sequence[Entry]) -> Sequence[Rejection]:
            rejections = self._hand_over(number, part)
            self._opened.flush()  # a sink may have handed it on, and hear of the refusal later
            return rejections

        if number <= self._suspect:
            return write_halving(write, entries)
        try:
            return list(self._hand_over(number, entries))
        except PermanentError:
            self._suspect_up_to(number)
            return None

    def _hand_over(self, number: int, entries: Sequence[Entry]) -> Sequence[Rejection]:
        return self._opened.write(Batch(number, entries, self.journal.content))

    def _suspect_up_to(self, number: int) -> None:
        """Begin again where the service stands; what it refuses is among the batches up to this one."""
        self._suspect = number
        self._drop_sink()
        self._open()

    def _flush(self) -> bool:
        """Commit what the service has acknowledged. False: it refused something, the sink was opened again, and there is more to send."""
        if not self._unacknowledged:
            return True
        try:
            position = self._opened.flush()
        except PermanentError:
            if self._sent <= self._suspect:
                raise
            self._suspect_up_to(self._sent)
            return False
        reached = self._sent if position.batches is None else min(position.batches, self._sent)
        acknowledged: list[_Pending] = []
        while self._unacknowledged and (self._unacknowledged[0].batch.number <= reached or not self._unacknowledged[0].held):
            acknowledged.append(self._unacknowledged.popleft())
        if acknowledged:
            self._heard = time.monotonic()
            self._commit_all(acknowledged)
        elif time.monotonic() - self._heard > ACKNOWLEDGE_TIMEOUT:
            raise TransientError(f"{self.ledger.target} has acknowledged nothing for {ACKNOWLEDGE_TIMEOUT:.0f} s")
        return True

    def _commit_all(self, acknowledged: Sequence[_Pending]) -> None:
        records = sum(pending.records for pending in acknowledged)
        points = sum(pending.points for pending in acknowledged)
        offsets = dict(self._committed.offsets)
        for pending in acknowledged:
            offsets.update(pending.batch.ends())
        last = acknowledged[-1]
        self._commit(
            replace(
                self._committed,
                batches=last.batch.number,
                offsets=offsets,
                records=self._committed.records + records,
                points=self._committed.points + points,
                adapter=last.adapter,
                losses=last.losses,
                url=self._opened.url(),
                concluded=None,
            )
        )
        self._on_progress(records, points)

    def _commit(self, committed: Committed) -> None:
        committed = replace(committed, at=now())
        self.ledger.commit(committed)
        self._committed = committed

    # -- concluding

    def _conclude(self) -> None:
        """Bring the run to its end at the service, the completion marker last."""
        sizes = dict(self.journal.sizes())
        losses = self._preparation.losses
        self._closing.conclude(self._opened, self._committed, self.marker, losses)
        self._opened.flush()
        self._commit(replace(self._committed, losses=losses.to_json(), concluded=sizes, url=self._opened.url()))
        self.ledger.set_status(Status("delivered", at=now()))

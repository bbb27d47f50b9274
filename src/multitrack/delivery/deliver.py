"""From a journal to a sink, resumable at every point.

    plan    read new lines, put their byte ranges into the batches file, and sync it: that is the order for this target, for ever
    send    adapt the batch, hand it to the sink
    commit  what the *service* has acknowledged, and the adapter's state there

A process that dies in between leaves a journal, a batches file and a committed position. The next one adapts the same batches from the
same state, so it sends the same entries, and the sink makes what was sent twice count once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from ..adapt import Adapter, Losses
from ..backend import Backend, Batch, Conclusion, Entry, Position, Rejection, Sink, entry_points
from ..config.filters import Filters
from ..errors import BackendError, PermanentError
from ..journal import Journal, RunFolder, Verdict
from ..journal.read import decode_lines
from ..records import RunFinished, RunStarted, RunStatus, now
from .attachment import Attachment, filtered
from .ledger import Committed, Ledger, PlannedBatch, Status

BATCH_BYTES = 1 << 20
"""About how much of the journal goes into a batch. A batch is what is resent after a crash, and what a refusal is searched in."""
BATCHES_PER_FLUSH = 8


class DeliveryBusyError(BackendError):
    """Another process is delivering this run to this target."""


@dataclass(frozen=True)
class _Pending:
    """A batch that was sent and is not acknowledged, and where delivery stands once it is."""

    batch: PlannedBatch
    records: int
    points: int


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
        self._filters = filters or Filters()
        self._attach = attach
        self._version = version
        self._recheck = recheck
        self._on_progress = on_progress
        self._sink: Sink | None = None
        self._committed = Committed()
        self._adapter = Adapter(backend.capabilities)
        self._losses = Losses()
        self._offsets: dict[str, int] = {}
        self._planned: list[PlannedBatch] = []
        self._sent = 0
        self._unacknowledged: list[_Pending] = []
        self.marker: str | None = None
        """The completion marker that the service had when the sink was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the sink and of the lock."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None
        self.ledger.lock.release()

    # -- the one thing it does

    def advance(self) -> bool:
        """Deliver what the journal holds by now; return whether the target has the whole run, and the run has ended.

        Raises:
            DeliveryBusyError: another process delivers this run to this target.
            TransientError, PermanentError, AuthError: the service failed or refused. What it has acknowledged is committed; call again
                to go on from there.
        """
        if not self.ledger.lock.acquire():
            raise DeliveryBusyError(f"{self.ledger.target}: another process is delivering run {self.journal.run.id}")
        if self._sink is None and not self._recheck and self._is_concluded():
            return True
        try:
            self._open()
            ended = not self.journal.is_alive()  # asked before the last read, so that nothing can be written in between
            self._send_all()
            if ended and not self._is_concluded():
                self._conclude()
        except Exception:
            self._drop_sink()
            raise
        return ended

    def _is_concluded(self) -> bool:
        concluded = self.ledger.committed().concluded if self._sink is None else self._committed.concluded
        return concluded is not None and dict(concluded) == dict(self.journal.sizes())

    # -- opening

    def _open(self) -> None:
        if self._sink is not None:
            return
        committed = self.ledger.committed()
        sink = self._backend.sink()
        self._sink = sink
        position = sink.open(self._adapted_start())
        self.marker = position.marker
        self._planned = self.ledger.batches()
        self._offsets = dict(_end_of(self._planned))
        if position.marker is None:
            committed = replace(committed, concluded=None)
        self._resume(committed, position)
        self.ledger.set_status(Status("delivering", at=now()))

    def _adapted_start(self) -> RunStarted:
        """The run's first record as the service will hold it. Adapting it needs no state, since it comes first."""
        entry = Entry("", 0, self.journal.started())
        adapted = Adapter(self._backend.capabilities).adapt([entry]).entries
        return next(entry.record for entry in adapted if isinstance(entry.record, RunStarted))

    def _resume(self, committed: Committed, position: Position) -> None:
        """Stand where the service stands. It may hold more than was committed (we died in between) or less (it lost data)."""
        start = committed.batches if position.batches is None else min(position.batches, len(self._planned))
        if start == committed.batches:
            self._committed = committed
            self._adapter = Adapter(self._backend.capabilities, committed.adapter)
            self._losses = Losses.from_json(committed.losses)
        else:
            self._rebuild(start, committed)
        self._sent = start
        self._unacknowledged.clear()

    def _rebuild(self, start: int, committed: Committed) -> None:
        """Adapt the first `start` batches again, without sending them, to stand in the state behind them."""
        self._adapter, self._losses = Adapter(self._backend.capabilities), Losses()
        records = points = 0
        for batch in self._planned[:start]:
            more_records, more_points, _ = self._adapt(batch)
            records, points = records + more_records, points + more_points
        self._committed = Committed(
            batches=start,
            offsets=_end_of(self._planned[:start]),
            records=records,
            points=points,
            adapter=self._adapter.state,
            losses=self._losses.to_json(),
            url=committed.url,
        )

    def _drop_sink(self) -> None:
        """After a failure nothing is known of what was handed over: the next attempt opens again and asks the service."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    @property
    def _opened(self) -> Sink:
        if self._sink is None:
            raise RuntimeError("the sink is not open")
        return self._sink

    # -- sending

    def _send_all(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._send(batch)
            if len(self._unacknowledged) >= BATCHES_PER_FLUSH:
                self._flush()
        self._flush()

    def _next_batch(self) -> PlannedBatch | None:
        if self._sent < len(self._planned):
            return self._planned[self._sent]
        ranges: dict[str, tuple[int, int]] = {}
        room = BATCH_BYTES
        for writer in self.journal.writers():
            start = self._offsets.get(writer.id, 0)
            if room <= 0 or writer.size() <= start:
                continue
            part = writer.read(start, max_bytes=room)
            if part.end > start:
                ranges[writer.id] = (start, part.end)
                room -= part.end - start
        if not ranges:
            return None
        batch = PlannedBatch(len(self._planned) + 1, ranges)
        self.ledger.plan(batch)
        self._planned.append(batch)
        self._offsets.update({writer: end for writer, (_, end) in ranges.items()})
        return batch

    def _adapt(self, batch: PlannedBatch) -> tuple[int, int, Sequence[Entry]]:
        """Return the batch's numbers of records and points, and its entries as the service can hold them."""
        entries = list(self._entries(batch))
        adapted = self._adapter.adapt(list(filtered(entries, self._filters)))
        self._losses.extend(adapted.losses)
        return len(entries), sum(1 for _ in entry_points(adapted.entries)), adapted.entries

    def _entries(self, batch: PlannedBatch) -> Iterator[Entry]:
        for writer in self.journal.writers():
            if writer.id in batch.ranges:
                start, end = batch.ranges[writer.id]
                yield from decode_lines(writer.read(start, end=end), writer.path)

    def _send(self, batch: PlannedBatch) -> None:
        records, points, entries = self._adapt(batch)
        if entries:
            rejections = self._write(batch.number, entries)
            if len(rejections) == len(entries) > 1:
                raise PermanentError(f"{self.ledger.target} refuses every record of the run: {rejections[0].reason}")
            self.ledger.reject(rejections)
        self._sent = batch.number
        self._unacknowledged.append(_Pending(batch, records, points))

    def _write(self, number: int, entries: Sequence[Entry]) -> list[Rejection]:
        """Hand entries over; search a refused batch for the record at fault by halving it."""
        try:
            return list(self._opened.write(Batch(number, entries, self.journal.content)))
        except PermanentError as error:
            if len(entries) == 1:
                return [Rejection(entries[0].writer, entries[0].seq, str(error))]
        middle = len(entries) // 2
        return self._write(number, entries[:middle]) + self._write(number, entries[middle:])

    def _flush(self) -> None:
        if not self._unacknowledged:
            return
        position = self._opened.flush()
        reached = self._sent if position.batches is None else min(position.batches, self._sent)
        if reached < self._sent:
            # The adapter stands behind the last batch sent, not behind the last one acknowledged: commit nothing yet.
            return
        records = sum(pending.records for pending in self._unacknowledged)
        points = sum(pending.points for pending in self._unacknowledged)
        self._unacknowledged.clear()
        self._commit(
            replace(
                self._committed,
                batches=reached,
                offsets=_end_of(self._planned[:reached]),
                records=self._committed.records + records,
                points=self._committed.points + points,
                adapter=self._adapter.state,
                losses=self._losses.to_json(),
                url=self._opened.url(),
                concluded=None,
            )
        )
        self._on_progress(records, points)

    def _commit(self, committed: Committed) -> None:
        self.ledger.commit(committed)
        self._committed = committed

    # -- concluding

    def _conclude(self) -> None:
        """Bring the run to its end at the service, the completion marker last."""
        sizes = dict(self.journal.sizes())
        verdict = self.journal.verdict()
        status = self._fit_status(verdict)
        with Attachment(self.journal, self._filters, enabled=self._attach) as attachment:
            self._opened.finish(
                Conclusion(
                    status=status,
                    time=verdict.ended,
                    error=verdict.error,
                    files=attachment.files,
                    tags=attachment.marker(
                        records=self._committed.records, points=self._committed.points, verdict=verdict, version=self._version or self.journal.version()
                    ),
                    deleted=verdict.deleted,
                )
            )
        if self._opened.flush().batches not in (None, self._sent):
            return
        self._commit(replace(self._committed, losses=self._losses.to_json(), concluded=sizes, url=self._opened.url()))
        self.ledger.set_status(Status("delivered", at=now()))

    def _fit_status(self, verdict: Verdict) -> RunStatus:
        """Return the run's status as the service can hold it. A verdict that no record tells (`crashed`) is adapted here."""
        if verdict.status in ("running", "scheduled"):
            return verdict.status
        ending = RunFinished(time=verdict.ended or 0, status=verdict.status)
        adapted = Adapter(self._backend.capabilities).adapt([Entry("", 0, ending)])
        known = {(loss.kind, loss.subject) for loss in self._losses}
        self._losses.extend(loss for loss in adapted.losses if (loss.kind, loss.subject) not in known)
        return next((entry.record.status for entry in adapted.entries if isinstance(entry.record, RunFinished)), "failed")


def _end_of(batches: Sequence[PlannedBatch]) -> dict[str, int]:
    ends: dict[str, int] = {}
    for batch in batches:
        ends.update({writer: end for writer, (_, end) in batch.ranges.items()})
    return ends

"""From the journal to batches that can be sent: planned, read, filtered, adapted.

A batch is put into the batches file, and synced, before anything else happens to it: that is the order for this target, for ever. What is
adapted rests on all that was adapted before, so there is one state, and whoever has lost his place takes it up again with `resume`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..adapt import Adapter, Losses
from ..backend import Capabilities, Entry, Rejection, entry_points
from ..config.filters import Filters
from ..journal import Journal
from ..journal.read import decode_lines
from .attachment import filtered
from .ledger import Committed, Ledger, PlannedBatch

BATCH_BYTES = 1 << 20
"""About how much of the journal goes into a batch. A batch is what is resent after a crash, and what a refusal is searched in."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch as the service can hold it, and where delivery stands behind it."""

    batch: PlannedBatch
    entries: Sequence[Entry]
    damaged: Sequence[Rejection]
    """Lines that are no records."""
    records: int
    points: int
    adapter: Mapping[str, Any]
    losses: Sequence[Mapping[str, Any]]


class Preparation:
    """Prepares a run's batches for one target, one after the other. Used by one thread at a time."""

    def __init__(self, journal: Journal, ledger: Ledger, filters: Filters, capabilities: Capabilities) -> None:
        self._journal = journal
        self._ledger = ledger
        self._filters = filters
        self._capabilities = capabilities
        self._adapter = Adapter(capabilities)
        self.losses = Losses()
        """Of all that was prepared."""
        self._planned = 0
        self._offsets: dict[str, int] = {}
        self._waiting: deque[PlannedBatch] = deque()
        """Planned by those before us, and not prepared since `resume`."""

    # -- one batch after the other

    def next(self) -> Prepared | None:
        """Return the next batch; None when the journal holds nothing new.

        Raises:
            OSError: the disk refuses to note the batch, which must not be sent then.
            RecordError: a newer multitrack has written to the journal.
        """
        batch = self._waiting.popleft() if self._waiting else self._plan()
        return None if batch is None else self._adapt(batch)

    def has_backlog(self) -> bool:
        """Return whether enough waits that preparing it takes time: then that is better done now than when there is more of it."""
        if self._waiting:
            return True
        waiting = sum(max(writer.size() - self._offsets.get(writer.id, 0), 0) for writer in self._journal.writers())
        return waiting > BATCH_BYTES // 8

    def _plan(self) -> PlannedBatch | None:
        ranges: dict[str, tuple[int, int]] = {}
        room = BATCH_BYTES
        for writer in self._journal.writers():
            start = self._offsets.get(writer.id, 0)
            if room <= 0 or writer.size() <= start:
                continue
            part = writer.read(start, max_bytes=room)
            if part.end > start:
                ranges[writer.id] = (start, part.end)
                room -= part.end - start
        if not ranges:
            return None
        batch = PlannedBatch(self._planned + 1, ranges)
        self._ledger.plan(batch)
        self._planned = batch.number
        self._offsets.update(batch.ends())
        return batch

    def _adapt(self, batch: PlannedBatch) -> Prepared:
        damaged: list[Rejection] = []
        count = 0

        def entries() -> Iterator[Entry]:
            """Entry by entry: each is let go of as soon as it is adapted."""
            nonlocal count
            for entry in self._read(batch, damaged):
                count += 1
                yield entry

        adapted = self._adapter.adapt(filtered(entries(), self._filters))
        self.losses.extend(adapted.losses)
        points = sum(1 for _ in entry_points(adapted.entries))
        return Prepared(batch, adapted.entries, damaged, count, points, self._adapter.state, self.losses.to_json())

    def _read(self, batch: PlannedBatch, damaged: list[Rejection]) -> Iterator[Entry]:
        writers = {writer.id: writer for writer in self._journal.writers()}
        for writer_id, (start, end) in batch.ranges.items():
            writer, reasons = writers[writer_id], list[str]()
            yield from decode_lines(writer.read(start, end=end), writer.path, reasons)
            damaged += [Rejection(writer_id, -1, f"no record, passed over: {reason}") for reason in reasons]

    # -- taking it up again

    def resume(self, committed: Committed, held: int | None) -> Committed:
        """Stand where the service stands, and return what is committed there.

        Args:
            committed: what the ledger says.
            held: how many batches the service says it holds, more than was committed (somebody died in between) or less (it lost data);
                None where it keeps no count.
        """
        self._planned, self._offsets = 0, {}
        for batch in self._ledger.batches():
            self._planned = batch.number
            self._offsets.update(batch.ends())
        sent = min(committed.batches if held is None else held, self._planned)
        if committed.batches > sent or not self._stand(committed):
            committed = Committed(url=committed.url)
            self._stand(committed)
        if committed.batches < sent:
            committed = self._walk(committed, sent)
        self._waiting = deque(batch for batch in self._ledger.batches() if batch.number > sent)
        return committed

    def _stand(self, committed: Committed) -> bool:
        """Take up what was committed; return False if another version of multitrack left the adapter's state."""
        try:
            self._adapter = Adapter(self._capabilities, committed.adapter)
        except ValueError:
            return False
        self.losses = Losses.from_json(committed.losses)
        return True

    def _walk(self, start: Committed, end: int) -> Committed:
        """Adapt the batches up to number `end` without sending them; return where that leads."""
        offsets = dict(start.offsets)
        records, points = start.records, start.points
        for batch in self._ledger.batches():
            if start.batches < batch.number <= end:
                prepared = self._adapt(batch)
                self._ledger.reject(prepared.damaged)
                records, points = records + prepared.records, points + prepared.points
                offsets.update(batch.ends())
        return replace(
            start,
            batches=end,
            offsets=offsets,
            records=records,
            points=points,
            adapter=self._adapter.state,
            losses=self.losses.to_json(),
            concluded=None,
        )

"""Where a delivery stands, for people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..journal import Journal, is_locked

if TYPE_CHECKING:
    from .ledger import Committed, Ledger, Status

State = Literal["waiting", "delivering", "retrying", "stopped", "delivered"]
"""`waiting`: nobody is delivering. `retrying`: after a failure that may pass. `stopped`: until the next sync."""


@dataclass(frozen=True)
class Progress:
    """One target's share of one run."""

    target: str
    state: State
    delivered: int
    """Records that the service has acknowledged."""
    behind: int
    """Records that it has still to get."""
    points: int
    rejected: int
    losses: Sequence[Mapping[str, Any]]
    url: str | None
    error: str | None
    attempts: int = 0
    """Failed attempts in a row."""
    label: str = ""
    """What people call the target."""
    rate: float | None = None
    """Records a second, since the present delivery began; None where nothing has been acknowledged since."""

    @property
    def done(self) -> bool:
        return self.state == "delivered"

    @property
    def eta(self) -> float | None:
        """Seconds until the target has what there is now; None where nobody can tell."""
        return self.behind / self.rate if self.rate and self.behind and self.state == "delivering" else None


class LineCount:
    """Counts the lines between a file's delivered part and its end, reading each byte at most twice however often it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = self._end = 0
        self._lines = 0

    def between(self, start: int, end: int) -> int:
        """Return the number of line ends between two offsets, in bytes."""
        if start < self._start or end < self._end or start > self._end:
            self._start = self._end = start
            self._lines = 0
        self._lines += self._count(self._end, end) - self._count(self._start, start)
        self._start, self._end = start, end
        return self._lines

    def _count(self, start: int, end: int) -> int:
        count = 0
        if start < end:
            with self._path.open("rb") as file:
                file.seek(start)
                while start < end and (chunk := file.read(min(1 << 20, end - start))):
                    count += chunk.count(b"\n")
                    start += len(chunk)
        return count


def measure(ledger: Ledger, counts: dict[str, LineCount]) -> Progress:
    """Return where delivery stands. `counts` is kept from one call to the next, so that only what is new is read."""
    committed, status = ledger.committed(), ledger.status()
    sizes = dict(Journal(ledger.run).sizes())
    behind = 0
    for writer, size in sizes.items():
        start = committed.offsets.get(writer, 0)
        lines = counts.setdefault(writer, LineCount(ledger.run.records_of(writer))).between(start, size)
        behind += lines if start else max(lines - 1, 0)  # the header is no record
    done = committed.concluded is not None and dict(committed.concluded) == sizes
    return Progress(
        target=ledger.target,
        state="delivered" if done else _state_of(ledger, status),
        delivered=committed.records,
        behind=behind,
        points=committed.points,
        rejected=len(ledger.rejections()),
        losses=committed.losses,
        url=committed.url,
        error=None if done else status.error,
        attempts=0 if done else status.attempts,
        label=ledger.label(),
        rate=_rate_of(committed, status),
    )


def _state_of(ledger: Ledger, status: Status) -> State:
    """The status file is what the last process left; that it lives is shown by its lock."""
    if status.state == "delivered" or (status.state in ("delivering", "retrying") and not is_locked(ledger.lock.path)):
        return "waiting"
    return status.state


def _rate_of(committed: Committed, status: Status) -> float | None:
    seconds = (committed.at - status.since) / 1e6
    records = committed.records - status.base
    return records / seconds if status.since and seconds > 0 and records > 0 else None

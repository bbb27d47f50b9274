"""What a migration did, for people and for programs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from ..adapt import Losses

Action = Literal["planned", "migrated", "updated", "unchanged", "running", "failed"]
"""`running`: what there is of a run that goes on has been delivered. `updated`: it had been migrated before, and has changed since."""


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    id: str
    project: str
    name: str | None
    action: Action
    records: int = 0
    points: int = 0
    url: str | None = None
    error: str | None = None
    problems: tuple[str, ...] = ()
    """What the source had lost."""
    notices: tuple[str, ...] = ()
    """What else the source says of the run: what is missing from it, or looks wrong."""
    losses: Losses = field(default_factory=Losses)
    """What the destination cannot hold as it is. The attached records hold it."""
    rejected: int = 0
    """Records that the destination refused."""

    def to_json(self) -> dict[str, Any]:
        """Return the outcome in terms of JSON."""
        return {
            "id": self.id,
            "project": self.project,
            "name": self.name,
            "action": self.action,
            "records": self.records,
            "points": self.points,
            "url": self.url,
            "error": self.error,
            "problems": list(self.problems),
            "notices": list(self.notices),
            "losses": self.losses.to_json(),
            "rejected": self.rejected,
        }


@dataclass
class MigrationReport:
    """What a migration did. Printed, it tells people."""

    source: str
    destination: str
    dry_run: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    stopped: str | None = None
    """Why it ended before it had tried every run."""
    untried: int = 0
    notices: tuple[str, ...] = ()
    """What the source says of itself, and of none of its runs."""
    _mutex: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, outcome: Outcome) -> None:
        """Note one run. Safe from several threads."""
        with self._mutex:
            self.outcomes.append(outcome)

    @property
    def ok(self) -> bool:
        """Whether every run has arrived whole, as far as its source still had it."""
        return self.stopped is None and not any(outcome.action == "failed" or outcome.rejected for outcome in self.outcomes)

    @property
    def counts(self) -> dict[str, int]:
        """The number of runs by what became of them."""
        return dict(Counter(outcome.action for outcome in self.outcomes))

    @property
    def losses(self) -> Losses:
        """The losses of all runs, added up."""
        losses = Losses()
        for outcome in self.outcomes:
            losses.extend(outcome.losses)
        return losses

    def to_json(self) -> dict[str, Any]:
        """Return the report in terms of JSON."""
        return {
            "source": self.source,
            "destination": self.destination,
            "dry_run": self.dry_run,
            "ok": self.ok,
            "counts": self.counts,
            "stopped": self.stopped,
            "untried": self.untried,
            "notices": list(self.notices),
            "losses": self.losses.to_json(),
            "runs": [outcome.to_json() for outcome in self.outcomes],
        }

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        verb = "Plan for" if self.dry_run else "Migrated"
        yield f"{verb} {self.source} -> {self.destination}"
        counts = ", ".join(f"{count:,} {action}" for action, count in sorted(self.counts.items())) or "nothing to do"
        points = sum(outcome.points for outcome in self.outcomes)
        yield f"  runs: {counts}" + (f"; {points:,} points" if points else "")
        if self.losses:
            yield "  declared losses (the attached records hold the originals):" if not self.dry_run else "  losses to expect:"
            yield from (f"    {line}" for line in self.losses.lines())
        yield from (f"  {notice}" for notice in self.notices)
        for outcome in self.outcomes:
            yield from self._complaints(outcome)
        if self.stopped:
            yield f"  stopped: {self.stopped}; {self.untried:,} runs were not tried. Run the same command again to go on"

    @staticmethod
    def _complaints(outcome: Outcome) -> Iterator[str]:
        label = f"{outcome.name} ({outcome.id})" if outcome.name else outcome.id
        if outcome.error:
            yield f"  {label} failed: {outcome.error}"
        if outcome.rejected:
            yield f"  {label}: the destination refused {outcome.rejected:,} records"
        yield from (f"  {label}: lost at the source: {problem}" for problem in outcome.problems)
        yield from (f"  {label}: {notice}" for notice in outcome.notices)

"""How far a run is at W&B: which entries its lines come from. Pure.

W&B counts a run's lines: rows of history, rows of system metrics, lines of console. What they stand for is written into the run's config
by every upload, twice: `start`, before its first line, and `end`, what is there once all of it has arrived. So whoever opens the run,
anywhere, can tell from the counts which of both is true; lines beyond `start` are the first ones of an upload that broke off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from multitrack.backend import Entry

KEY = "position"
"""Among multitrack's own words in the config."""


@dataclass(frozen=True)
class Counts:
    """Numbers of lines."""

    history: int = 0
    events: int = 0
    console: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.history + other.history, self.events + other.events, self.console + other.console)

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.history - other.history, self.events - other.events, self.console - other.console)

    def reaches(self, other: Counts) -> bool:
        """Return whether there are at least as many of each."""
        return self.history >= other.history and self.events >= other.events and self.console >= other.console


@dataclass(frozen=True)
class Mark:
    """So many lines, and what they are the whole of."""

    counts: Counts = Counts()
    step: int = -1
    """`_step` of the last row."""
    ends: Mapping[str, int] = field(default_factory=dict)
    """Writer to the last sequence number whose lines are among them."""

    def holds(self, entry: Entry) -> bool:
        """Return whether an entry's lines are among them."""
        return entry.seq <= self.ends.get(entry.writer, -1)

    def after(self, entries: Iterable[Entry]) -> Mapping[str, int]:
        """Return the ends once these entries' lines are there too."""
        ends = dict(self.ends)
        for entry in entries:
            ends[entry.writer] = max(entry.seq, ends.get(entry.writer, -1))
        return ends


def write_position(start: Mark, end: Mark | None = None) -> str:
    """Return what stands in the config while an upload goes on, or, with its `end`, when its last line is sent: JSON text."""
    return json.dumps({"start": _to_json(start), **({} if end is None else {"end": _to_json(end)})}, sort_keys=True)


def settle(said: Any, counts: Counts, step: int) -> tuple[Mark, Counts]:
    """Return the mark that is reached, and how many lines of the next entries are there already.

    Args:
        said: what the config says.
        counts: the lines that are there.
        step: the last row's `_step`.
    """
    said = _read(said)
    for name in ("end", "start"):
        mark = _from_json(said.get(name))
        if mark is not None and counts.reaches(mark.counts):
            return mark, counts - mark.counts
    start = _from_json(said.get("start"))
    return Mark(counts, step, start.ends if start is not None else {}), Counts()


def _read(text: Any) -> Mapping[str, Any]:
    """Return what was written; nothing where somebody has written something else."""
    try:
        said = json.loads(text) if isinstance(text, str) else {}
    except ValueError:
        return {}
    return said if isinstance(said, Mapping) else {}


def _to_json(mark: Mark) -> dict[str, Any]:
    return {"lines": [mark.counts.history, mark.counts.events, mark.counts.console], "step": mark.step, "ends": dict(mark.ends)}


def _from_json(value: Any) -> Mark | None:
    """Return a mark; None where somebody has written something else."""
    try:
        history, events, console = map(int, value["lines"])
        return Mark(Counts(history, events, console), int(value["step"]), {str(name): int(seq) for name, seq in value["ends"].items()})
    except (KeyError, TypeError, ValueError, AttributeError):
        return None

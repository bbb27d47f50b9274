"""What of a run is at Comet already: nothing of it is sent a second time.

Comet does not notice that a point or a line of output comes twice. So the experiment itself says how far delivery got, in others called
`multitrack.position.WRITER`. What was under way when a sink ended without a word is read back, and what is there is left out.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from multitrack.backend import Batch

from .decode import metric_value
from .encode import Point
from .native import ConsoleText, NativeAsset
from .reader import ExperimentReader

_log = logging.getLogger(__name__)
OTHER_POSITION = "multitrack.position."

Key = tuple[str, float | None, int, str]


def lead_of(batch: Batch) -> str:
    """Return the writer under whose name a batch's position is noted.

    Several sinks may be at work on one experiment, where ranks have disks of their own. Each has other writers, and so another position.
    """
    return min(entry.writer for entry in batch.entries)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far delivery got."""

    batches: int = 0
    """The highest number of a batch that was written whole."""
    settled: bool = False
    """Whether nothing came after those batches. False while a sink is at work, and when it could not say how it ended."""
    anew: bool = False
    """Whether the run is being sent from the beginning, in batches with other numbers, perhaps."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Return what the experiment says of itself; the beginning where that cannot be understood."""
        try:
            said = json.loads(text)
            return cls(batches=int(said["batches"]), settled=said["settled"] is True, anew=said["anew"] is True)
        except (KeyError, ValueError, TypeError):
            return cls()

    def __str__(self) -> str:
        return json.dumps(asdict(self))


class Doubt:
    """Which batches may be at Comet already, wholly or in part. Pure.

    Args:
        others: what the experiment said when it was opened; None where it was made just now.
    """

    def __init__(self, others: Mapping[str, str] | None) -> None:
        self._is_new = others is None
        self._at_open = {
            name.removeprefix(OTHER_POSITION): Standing.read(text)
            for name, text in (others or {}).items()
            if name.startswith(OTHER_POSITION)
        }
        self._begun = 0
        """Of this sink: the number of a batch that was begun, and not ended as far as is known."""
        self.is_anew = any(standing.anew for standing in self._at_open.values())
        """Whether batches that were sent long ago come again, until the run has been sent whole."""
        self.standings = dict(self._at_open)
        """By writer, as noted."""
        self.noted: set[str] = set()
        """Writers whose positions this sink has noted."""

    def begin(self, number: int, lead: str) -> bool:
        """Begin a batch; return whether something of it may be there."""
        may_be_there = self.is_anew or number <= self._begun or self._was_begun(number, lead)
        self._begun = max(self._begun, number)
        return may_be_there

    def _was_begun(self, number: int, lead: str) -> bool:
        """Return whether a sink before this one may have begun the batch."""
        standing = self._at_open.get(lead)
        if standing is None:
            return not self._is_new and lead not in self.noted
        return number <= standing.batches + (0 if standing.settled else 1)

    def find(self, number: int, lead: str) -> None:
        """Take note that something of a batch was there. Where it is not the last one that was sent, those after it are there, too."""
        standing = self._at_open.get(lead)
        is_old = not self._is_new if standing is None else number < standing.batches
        self.is_anew = self.is_anew or is_old

    def end(self, number: int, *, was_in_doubt: bool) -> None:
        """End a batch, of which it has been noted that it is there."""
        if not was_in_doubt:
            self._begun = number - 1


class Arrived:
    """What an experiment held when it was asked. Points are taken out as they are found again: two equal ones are two."""

    def __init__(self, reader: ExperimentReader, key: str) -> None:
        assets: list[NativeAsset] = reader.assets(key)
        series = reader.series(key, assets, _warn_of_sample)
        self._points = Counter(_key(name, step, time, value) for name, points in series.items() for step, time, value, _ in points)
        self.assets = {asset.id for asset in assets}
        self._output = _lines(reader.output(key))
        self.found = False
        """Whether anything that was asked for was there."""

    def missing_points(self, points: Sequence[Point]) -> list[Point]:
        """Return the points that are not there."""
        missing = []
        for point in points:
            key = _key(point.name, point.step, point.time, point.value)
            if self._points[key] > 0:
                self._points[key] -= 1
                self.found = True
            else:
                missing.append(point)
        return missing

    def missing_lines(self, lines: Sequence[ConsoleText]) -> Sequence[ConsoleText]:
        """Return the lines that do not stand at the end of the output."""
        texts = [piece for line in lines for piece in _lines(line.text)]
        if len(texts) != len(lines):  # line ends within a line: how much of it is there cannot be told
            return lines
        last = self._output[-1] if self._output else None
        there = (count for count in range(len(texts), 0, -1) if texts[count - 1] == last and self._output[-count:] == texts[:count])
        return lines[next(there, 0) :]


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _warn_of_sample(metric: str, count: int) -> None:
    _log.warning("comet: of metric %r Comet gives %s points, a sample: what is sent again now may stand there twice", metric, f"{count:,}")


def _key(name: str, step: float | None, time: int, value: Any) -> Key:
    return name, step, time, repr(metric_value(value) if isinstance(value, str) else float(value))

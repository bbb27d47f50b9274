"""What of a run is at Comet already: nothing of it is sent a second time.

Comet does not notice that a point or a line of output comes twice. So the experiment itself says how far delivery got: the other
`multitrack.position`. What was under way when a sink ended without a word is read back, and what is there is left out.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from .decode import metric_value
from .encode import Point
from .native import ConsoleText, NativeAsset
from .reader import ExperimentReader

_log = logging.getLogger(__name__)
OTHER_POSITION = "multitrack.position"

Key = tuple[str, float | None, int, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far delivery got."""

    batches: int = 0
    """The highest number of a batch that was written whole."""
    lines: int = 0
    """Console lines that were sent."""
    settled: bool = False
    """Whether nothing came after those batches. False while a sink is at work, and when it could not say how it ended."""

    @classmethod
    def read(cls, others: Mapping[str, str]) -> Self:
        """Return what the experiment says of itself; the beginning where it says nothing, or nothing that can be understood."""
        try:
            said = json.loads(others[OTHER_POSITION])
            return cls(batches=int(said["batches"]), lines=int(said["lines"]), settled=said["settled"] is True)
        except (KeyError, ValueError, TypeError):
            return cls()

    def __str__(self) -> str:
        return json.dumps(asdict(self))


class Arrived:
    """What an experiment held when it was asked. Points are taken out as they are found again: two equal ones are two."""

    def __init__(self, reader: ExperimentReader, key: str) -> None:
        assets: list[NativeAsset] = reader.assets(key)
        series = reader.series(key, assets, _warn_of_sample)
        self._points = Counter(_key(name, step, time, value) for name, points in series.items() for step, time, value, _ in points)
        self.assets = {asset.id for asset in assets}
        self._output = reader.output(key).splitlines(keepends=True)

    def missing_points(self, points: Sequence[Point]) -> list[Point]:
        """Return the points that are not there."""
        missing = []
        for point in points:
            key = _key(point.name, point.step, point.time, point.value)
            if self._points[key] > 0:
                self._points[key] -= 1
            else:
                missing.append(point)
        return missing

    def missing_lines(self, lines: Sequence[ConsoleText]) -> Sequence[ConsoleText]:
        """Return the lines that do not stand at the end of the output."""
        texts = [piece for line in lines for piece in line.text.splitlines(keepends=True)]
        if len(texts) != len(lines):  # a line with odd line ends in it: how much of it is there cannot be told
            return lines
        last = self._output[-1] if self._output else None
        there = (count for count in range(len(texts), 0, -1) if texts[count - 1] == last and self._output[-count:] == texts[:count])
        return lines[next(there, 0) :]


def _warn_of_sample(metric: str, count: int) -> None:
    _log.warning("comet: of metric %r Comet gives %s points, a sample: what is sent again now may stand there twice", metric, f"{count:,}")


def _key(name: str, step: float | None, time: int, value: Any) -> Key:
    return name, step, time, repr(metric_value(value) if isinstance(value, str) else float(value))

"""What the readers of offline folders found -> records. Pure; `names` holds the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, cast

from multitrack.records import Histogram, LogLines, Metrics, Microseconds, Points

from .. import console, names
from .messages import Bins, Timestamp
from .replay import Block, Key, Survey
from .scale import ScaleSurvey

Stream = tuple[Literal["stdout", "stderr"], str]
"""A stream, and the mark of the process that it is of; empty where it has none."""


def values_of(found: Survey | ScaleSurvey) -> dict[tuple[str, str], Any]:
    """Return the single attributes as `Attributes` takes them: datetimes in microseconds, string sets as lists."""
    return {(key.path, key.type): _plain(key, value) for key, value in found.scalars.items() if key.type in names.SCALARS}


def _plain(key: Key, value: Any) -> Any:
    if isinstance(value, Timestamp):
        return value.microseconds
    if key.type == "datetime":
        return int(value) * 1000
    return list(value) if key.type == "string_set" else value


def stream_of(path: str) -> Stream | None:
    """Return which stream of which process a string series is, if it is one: `monitoring/<mark>/stdout`, `runtime/stderr`."""
    parts = path.split("/")
    if parts[-1] not in names.STREAMS or f"{parts[0]}/" not in (names.MONITORING, names.RUNTIME) or len(parts) > 3:
        return None
    return cast(Literal["stdout", "stderr"], parts[-1]), parts[1] if len(parts) == 3 else ""


def marks_of(series: Iterable[Key], *, console_only: bool = False) -> list[str]:
    """Return the marks of the processes that resource usage, or console output, is of, sorted."""
    found = set()
    for key in series:
        parts = key.path.split("/")
        is_console = stream_of(key.path) is not None
        if f"{parts[0]}/" in (names.MONITORING, names.RUNTIME) and len(parts) > 2 and is_console == console_only:
            found.add(parts[1])
    return sorted(found)


def metric_name(key: Key, series: Mapping[Key, Any] | set[Key], marks: list[str]) -> tuple[str, Literal["user", "system"]]:
    """Return what a series is called, and whether it is resource usage.

    Args:
        series: all of the run's; of two at one path the one whose type comes first keeps it.
        marks: of `marks_of`: with one process alone its mark is left out.
    """
    path = key.path
    source: Literal["user", "system"] = "user"
    if key.type == "float_series":
        for namespace in (names.MONITORING, names.RUNTIME):
            if path.startswith(namespace):
                rest = path.removeprefix(namespace)
                mark, _, name = rest.partition("/")
                path = names.SYSTEM_METRICS + (name if name and mark in marks and len(marks) == 1 else rest)
                source = "system"
    others = sorted(other.type for other in series if other.path == key.path and other.type != "file_series")
    return (path if key.type == others[0] else f"{path}:{key.type}"), source


def points(block: Block, name: str, source: Literal["user", "system"]) -> Iterator[Points | Metrics]:
    """Yield a block's points as a column."""
    values = [_value(value) for value in block.values]
    yield Points(time=block.times[0], name=name, steps=list(block.steps), times=block.times, values=values, source=source)


def _value(value: Any) -> Any:
    if isinstance(value, Bins):
        counts: list[Any] = list(value.counts) if value.counts is not None else _masses(value)
        return Histogram(edges=value.edges, counts=counts)
    return value if isinstance(value, str) else float(value)


def _masses(bins: Bins) -> list[float]:
    """Return what lies in each bin where its density is told."""
    widths = (right - left for left, right in zip(bins.edges, bins.edges[1:], strict=False))
    return [density * width for density, width in zip(bins.densities or (), widths, strict=False)]


class Console:
    """Console output, put together from the pieces that it was kept in."""

    def __init__(self, *, in_pieces: bool, labelled: bool) -> None:
        """`in_pieces`: what each `write` was given, as the 1.x client keeps it. `labelled`: several processes wrote."""
        self._join = console.join if in_pieces else console.whole
        self._labelled = labelled
        self._kept: dict[Stream, list[tuple[Microseconds, str]]] = {}

    def add(self, stream: Stream, block: Block) -> None:
        """Keep a block."""
        self._kept.setdefault(stream, []).extend(zip(block.times, map(str, block.values), strict=True))

    def records(self) -> Iterator[LogLines]:
        """Yield everything as lines."""
        for (stream, mark), pieces in sorted(self._kept.items()):
            yield from console.records(self._join(pieces), stream, mark if self._labelled and mark else None)

"""What was printed, put together from what Neptune kept. Pure.

The 1.x client logs what each `write` was given, so that one line is several points; neptune-scale logs a line a point.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from multitrack.records import LogLines, Microseconds

_CHUNK = 1000
"""Lines in a record."""


def join(pieces: Iterable[tuple[Microseconds, str]]) -> Iterator[tuple[Microseconds, str]]:
    """Yield the lines that the pieces make, each with the time of its first piece and without its line end."""
    begun: list[str] = []
    since = 0
    for time, text in pieces:
        first, *rest = text.split("\n")
        if not begun:
            since = time
        begun.append(first)
        for part in rest:
            yield since, "".join(begun)
            begun, since = [part], time
        if begun == [""]:
            begun = []
    if begun:
        yield since, "".join(begun)


def whole(pieces: Iterable[tuple[Microseconds, str]]) -> Iterator[tuple[Microseconds, str]]:
    """Yield the lines where every piece is one, or several."""
    return ((time, line) for time, text in pieces for line in text.removesuffix("\n").split("\n"))


def records(lines: Iterable[tuple[Microseconds, str]], stream: Literal["stdout", "stderr"], label: str | None) -> Iterator[LogLines]:
    """Yield the lines as records."""
    times: list[Microseconds] = []
    texts: list[str] = []
    for time, text in lines:
        times.append(time)
        texts.append(text)
        if len(times) == _CHUNK:
            yield LogLines(time=times[0], stream=stream, label=label, times=times, lines=texts)
            times, texts = [], []
    if times:
        yield LogLines(time=times[0], stream=stream, label=label, times=times, lines=texts)

"""Console output in a transaction log, to lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from wandb.proto import wandb_internal_pb2 as pb

from multitrack.records import LogLines, Microseconds

_LINES = 1000
"""In a record at most."""
_Stream = Literal["stdout", "stderr"]


class Lines:
    """Takes pieces of output, as programs have written them, and gives lines.

    A line that was written over, as progress bars do, is what stood there last.

    Args:
        started: when the run started; the time of lines that come without one.
    """

    def __init__(self, started: Microseconds) -> None:
        self._last = started
        self._open: dict[_Stream, tuple[Microseconds, str]] = {}
        self._stream: _Stream = "stdout"
        self._times: list[Microseconds] = []
        self._lines: list[str] = []

    def add(self, record: pb.Record) -> Iterator[LogLines]:
        """Take a record, if it is of the console; yield what is full."""
        kind = record.WhichOneof("record_type")
        if kind == "output_raw":
            raw = record.output_raw
            stream: _Stream = "stderr" if raw.output_type == pb.OutputRawRecord.STDERR else "stdout"
            self._last = raw.timestamp.ToMicroseconds() if raw.HasField("timestamp") else self._last
            yield from self._add(stream, self._last, raw.line)
        elif kind == "output_logger":
            yield from self._add("stdout", self._last, f"{record.output_logger.line}\n")

    def rest(self) -> Iterator[LogLines]:
        """Yield what is left: lines without an end too."""
        for stream, (time, text) in self._open.items():
            if text:
                yield from self._put(stream, time, text)
        self._open.clear()
        yield from self._take()

    def _add(self, stream: _Stream, time: Microseconds, text: str) -> Iterator[LogLines]:
        begun, before = self._open.pop(stream, (time, ""))
        *whole, rest = (before + text).split("\n")
        for line in whole:
            yield from self._put(stream, begun, line)
            begun = time
        if rest:
            self._open[stream] = begun, rest

    def _put(self, stream: _Stream, time: Microseconds, line: str) -> Iterator[LogLines]:
        if stream != self._stream or len(self._lines) >= _LINES:
            yield from self._take()
            self._stream = stream
        self._times.append(time)
        self._lines.append(line.rstrip("\r").rpartition("\r")[2])

    def _take(self) -> Iterator[LogLines]:
        if self._lines:
            yield LogLines(time=self._times[0], stream=self._stream, times=self._times, lines=self._lines)
        self._times, self._lines = [], []

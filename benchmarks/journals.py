"""Journals to deliver and to read: written as a `Run` and as a source would, without waiting for either."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import orjson

from multitrack.journal import RunFolder, Store
from multitrack.records import Points, RunFinished, RunStarted, encode, new_run_id, now

METRICS = 10
CHUNK = 10_000
WRITER = "1" * 16


def write_run(root: Path, points: int, shape: Callable[[BinaryIO, int], None], *, project: str = "bench") -> RunFolder:
    """Write a run that has ended, with this many points of ten metrics."""
    Store(root).create()
    folder = Store(root).folder(project, new_run_id())
    folder.create()
    header = {"kind": "journal", "format": 1, "run": folder.id, "writer": WRITER, "time": now()}
    with folder.records_of(WRITER).open("wb") as file:
        file.write(orjson.dumps(header) + b"\n")
        file.write(encode(RunStarted(time=now(), id=folder.id, project=project, name="a run"), 0))
        shape(file, points)
        file.write(encode(RunFinished(time=now(), status="finished"), points + 1))
    return folder


def rows(file: BinaryIO, points: int) -> None:
    """A line a point, as `run.log` writes them. Values and microseconds are noise, so that nothing is gained from patterns."""
    start, noise = now(), random.Random(0).random
    for place in range(points):
        line = {"kind": "metrics", "seq": place + 1, "time": start + place * 1000 + int(noise() * 900), "step": place // METRICS}
        file.write(orjson.dumps({**line, "values": {f"metric_{place % METRICS}": noise()}}, option=orjson.OPT_APPEND_NEWLINE))


def columns(file: BinaryIO, points: int) -> None:
    """A line for 10,000 points of a metric, as a source writes them."""
    start, noise = now(), random.Random(0).random
    for chunk in range(points // CHUNK):
        places = range(chunk * CHUNK, (chunk + 1) * CHUNK)
        times, values = [start + place * 1000 + int(noise() * 900) for place in places], [noise() for _ in places]
        record = Points(time=start, name=f"metric_{chunk % METRICS}", steps=list(places), times=times, values=values)
        file.write(encode(record, chunk + 1))

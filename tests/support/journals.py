"""Journals written by hand, and deliveries to services of our own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from multitrack.adapt import Adapter
from multitrack.backend import Capabilities, Entry
from multitrack.delivery import Ledger
from multitrack.journal import Journal, JournalWriter, RunFolder, Store
from multitrack.journal.read import decode_lines
from multitrack.records import Metrics, Record, RunFinished, RunStarted

RUN_ID = "0123456789abcdef0123456789abcdef"
START = 1_700_000_000_000_000


def new_run(store: Path, run_id: str = RUN_ID, project: str = "p") -> RunFolder:
    """Return the folder of a run without records."""
    Store(store).create()
    folder = Store(store).folder(project, run_id)
    folder.create()
    return folder


@contextmanager
def writing(folder: RunFolder, *, begin: bool = True) -> Iterator[JournalWriter]:
    """A writer at work; with `begin`, it opens the run."""
    writer = JournalWriter(folder)
    try:
        if begin:
            writer.append(started(folder.id))
        yield writer
    finally:
        writer.close()


def write_run(store: Path, records: Sequence[Record] = (), *, run_id: str = RUN_ID, finish: bool = True) -> RunFolder:
    """Return the folder of a run that has these records."""
    folder = new_run(store, run_id)
    with writing(folder) as writer:
        for record in records:
            writer.append(record)
        if finish:
            writer.append(finished())
    return folder


def started(run_id: str = RUN_ID, project: str = "p") -> RunStarted:
    """Return the record that opens a run."""
    return RunStarted(time=START, id=run_id, project=project, name="a run")


def finished() -> RunFinished:
    """Return the record that ends a run."""
    return RunFinished(time=START + 60_000_000, status="finished")


def metric(number: int, name: str = "loss", value: float | None = None) -> Metrics:
    """Return a row of one point."""
    return Metrics(time=START + number, step=number, values={name: value if value is not None else float(number)})


def planned_entries(folder: RunFolder, target: str) -> list[Entry]:
    """Return a run's entries in the order that its batches fix for a target."""
    writers = {writer.id: writer for writer in Journal(folder).writers()}
    return [
        entry
        for batch in Ledger(folder, target).batches()
        for writer, (start, end) in batch.ranges.items()
        for entry in decode_lines(writers[writer].read(start, end=end), writers[writer].path)
    ]


def expected_entries(folder: RunFolder, target: str, capabilities: Capabilities) -> list[Entry]:
    """Return what a service ought to hold: the entries in the target's order, adapted in one go."""
    return list(Adapter(capabilities).adapt(planned_entries(folder, target)).entries)

"""What one target has got of one run: the files `delivery/TARGET.*` of a run's folder.

    TARGET.target.json      which target it is, without secrets: enough for a later `sync`
    TARGET.batches.jsonl    the batches, each the byte ranges of the writers' files that it covers: the order for this target, for ever
    TARGET.position.json    what the service has acknowledged, and the adapter's state there
    TARGET.status.json      how delivery is going, for people
    TARGET.rejected.jsonl   records that the service will never take
    TARGET.lock             held by whoever delivers: a courier or `sync`, never both
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from ..backend import Rejection
from ..journal import FileLock, Journal, RunFolder, write_atomically
from ..journal.layout import folder_name
from ..records import from_wire, to_wire

State = Literal["waiting", "delivering", "retrying", "stopped", "delivered"]


@dataclass(frozen=True)
class PlannedBatch:
    """A batch by its byte ranges: writer to (start, end)."""

    number: int
    ranges: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Committed:
    """What the service has acknowledged."""

    batches: int = 0
    offsets: Mapping[str, int] = field(default_factory=dict)
    """Writer to the end, in bytes, of what was delivered of its file."""
    records: int = 0
    points: int = 0
    adapter: Mapping[str, Any] | None = None
    losses: Sequence[Mapping[str, Any]] = ()
    """As `adapt.Losses.to_json` gives them."""
    concluded: Mapping[str, int] | None = None
    """The sizes of the writers' files when the run was concluded there; None until it is."""
    url: str | None = None


@dataclass(frozen=True)
class Status:
    """How delivery is going, as the last process that delivered left it."""

    state: State = "waiting"
    error: str | None = None
    attempts: int = 0
    """Failed attempts in a row."""
    at: int = 0
    """Microseconds since the epoch."""


@dataclass(frozen=True)
class Progress:
    """One target's share of one run, for people and programs."""

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

    @property
    def done(self) -> bool:
        return self.state == "delivered"


class Ledger:
    """The files of one run and one target. Only the holder of `lock` writes batches and positions."""

    def __init__(self, run: RunFolder, target: str) -> None:
        self.run = run
        self.target = target
        self._stem = run.delivery / folder_name(target)
        self.lock = FileLock(self._file("lock"))

    @staticmethod
    def of(run: RunFolder) -> list[Ledger]:
        """Return the ledgers of all targets that the run was meant for."""
        found = []
        for path in sorted(run.delivery.glob("*.target.json")):
            with contextlib.suppress(FileNotFoundError):
                found.append(Ledger(run, str(orjson.loads(path.read_bytes())["name"])))
        return found

    def _file(self, what: str) -> Path:
        return self._stem.with_name(f"{self._stem.name}.{what}")

    # -- which target

    def write_target(self, public: Mapping[str, Any]) -> None:
        """Note that the target is to get this run. `public` names it and holds no secret."""
        write_atomically(self._file("target.json"), orjson.dumps({**public, "name": self.target}, option=orjson.OPT_INDENT_2))

    def read_target(self) -> dict[str, Any]:
        """Return what `write_target` was given."""
        return dict(orjson.loads(self._file("target.json").read_bytes()))

    # -- batches

    def batches(self) -> list[PlannedBatch]:
        """Return every batch, sent or not, in order. A torn last line is no batch: it was never sent."""
        try:
            data = self._file("batches.jsonl").read_bytes()
        except FileNotFoundError:
            return []
        lines = data[: data.rfind(b"\n") + 1].splitlines()
        return [
            PlannedBatch(number, {writer: (start, end) for writer, (start, end) in orjson.loads(line).items()})
            for number, line in enumerate(lines, start=1)
        ]

    def plan(self, batch: PlannedBatch) -> None:
        """Put a batch on the disk, for ever, before it is sent.

        Raises:
            OSError: the disk refuses; then it must not be sent.
        """
        fd = os.open(self._file("batches.jsonl"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._drop_torn_line(fd)
            line = orjson.dumps({writer: list(span) for writer, span in batch.ranges.items()}, option=orjson.OPT_APPEND_NEWLINE)
            if os.write(fd, line) != len(line):
                raise OSError("short write")
            os.fsync(fd)
        finally:
            os.close(fd)

    @staticmethod
    def _drop_torn_line(fd: int) -> None:
        end = os.lseek(fd, 0, os.SEEK_END)
        if end and os.pread(fd, 1, end - 1) != b"\n":
            tail = os.pread(fd, min(end, 1 << 16), max(0, end - (1 << 16)))
            end = end - len(tail) + tail.rfind(b"\n") + 1
            os.ftruncate(fd, end)
            os.lseek(fd, end, os.SEEK_SET)

    # -- what was acknowledged

    def committed(self) -> Committed:
        """Return what the service has acknowledged."""
        try:
            return Committed(**from_wire(orjson.loads(self._file("position.json").read_bytes())))
        except FileNotFoundError:
            return Committed()

    def commit(self, committed: Committed) -> None:
        """Note what the service has acknowledged."""
        fields = {field.name: to_wire(getattr(committed, field.name)) for field in dataclasses.fields(committed)}
        write_atomically(self._file("position.json"), orjson.dumps(fields))

    def reject(self, rejections: Sequence[Rejection]) -> None:
        """Note records that the service will never take. A record is noted once, however often it is tried."""
        known = set(self.rejections())
        fresh = [rejection for rejection in rejections if rejection not in known]
        if fresh:
            with self._file("rejected.jsonl").open("ab") as file:
                file.writelines(orjson.dumps(asdict(rejection), option=orjson.OPT_APPEND_NEWLINE) for rejection in fresh)

    def rejections(self) -> list[Rejection]:
        """Return the records that the service refused."""
        try:
            return [Rejection(**orjson.loads(line)) for line in self._file("rejected.jsonl").read_bytes().splitlines()]
        except FileNotFoundError:
            return []

    # -- how it goes

    def status(self) -> Status:
        try:
            return Status(**orjson.loads(self._file("status.json").read_bytes()))
        except FileNotFoundError:
            return Status()

    def set_status(self, status: Status) -> None:
        write_atomically(self._file("status.json"), orjson.dumps(asdict(status)))

    def progress(self) -> Progress:
        """Return where delivery stands. Counts what is behind, so it reads the undelivered part of the journal."""
        committed, status = self.committed(), self.status()
        journal = Journal(self.run)
        sizes = dict(journal.sizes())
        behind = sum(self._count_lines(writer, committed.offsets.get(writer, 0)) for writer in sizes)
        done = committed.concluded is not None and dict(committed.concluded) == sizes
        if done:
            status = replace(status, state="delivered", error=None)
        return Progress(
            target=self.target,
            state=status.state if done or status.state != "delivered" else "waiting",
            delivered=committed.records,
            behind=behind,
            points=committed.points,
            rejected=len(self.rejections()),
            losses=committed.losses,
            url=committed.url,
            error=status.error,
        )

    def _count_lines(self, writer: str, start: int) -> int:
        count = 0 if start else -1  # the header is no record
        with self.run.records_of(writer).open("rb") as file:
            file.seek(start)
            while chunk := file.read(1 << 20):
                count += chunk.count(b"\n")
        return max(count, 0)

"""What one target has got of one run: the files `delivery/TARGET.*` of a run's folder.

TARGET.target.json      which target it is, without secrets: enough for a later `sync`
TARGET.batches.jsonl    the batches, each the byte ranges of the writers' files that it covers: the order for this target, for ever
TARGET.position.json    what the service has acknowledged, and the adapter's state there
TARGET.status.json      how delivery is going, for people
TARGET.rejected.jsonl   records that the service will never take
TARGET.lock             held by whoever delivers: a courier or `sync`, never both
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from ..address import hide_credentials
from ..backend import Rejection
from ..errors import RecordError
from ..journal import FileLock, RunFolder, write_atomically
from ..journal.layout import folder_name
from ..records import from_wire, to_wire
from .progress import LineCount, Progress, State, measure


@dataclass(frozen=True)
class PlannedBatch:
    """A batch by its byte ranges: writer to (start, end)."""

    number: int
    ranges: Mapping[str, tuple[int, int]]

    def ends(self) -> dict[str, int]:
        """Return where the batch ends in each writer's file."""
        return {writer: end for writer, (_, end) in self.ranges.items()}


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
    at: int = 0
    """Microseconds since the epoch."""


@dataclass(frozen=True)
class Status:
    """How delivery is going, as the last process that delivered left it."""

    state: State = "waiting"
    error: str | None = None
    attempts: int = 0
    """Failed attempts in a row."""
    at: int = 0
    """Microseconds since the epoch."""
    since: int = 0
    """When the present delivery began, likewise."""
    base: int = 0
    """How many records the service had then."""


class Ledger:
    """The files of one run and one target. Only the holder of `lock` writes batches and positions."""

    def __init__(self, run: RunFolder, target: str) -> None:
        self.run = run
        self.target = target
        self._stem = run.delivery / folder_name(target)
        self.lock = FileLock(self._file("lock"))
        self.hide: Callable[[str], str] = hide_credentials
        """Takes secrets out of a text: what services say is written down."""
        self._counts: dict[str, LineCount] = {}

    @staticmethod
    def of(run: RunFolder) -> list[Ledger]:
        """Return the ledgers of all targets that the run was meant for."""
        found = []
        for path in sorted(run.delivery.glob("*.target.json")):
            public = _read_json(path)
            found.append(Ledger(run, str((public or {}).get("name") or path.name.removesuffix(".target.json"))))
        return found

    def _file(self, what: str) -> Path:
        return self._stem.with_name(f"{self._stem.name}.{what}")

    # -- which target

    def write_target(self, public: Mapping[str, Any]) -> None:
        """Note that the target is to get this run, from now on or again. `public` names it and holds no secret."""
        write_atomically(self._file("target.json"), orjson.dumps({**public, "name": self.target}, option=orjson.OPT_INDENT_2))
        if self.status().state == "stopped":
            self.set_status(Status())

    def read_target(self) -> dict[str, Any]:
        """Return what `write_target` was given.

        Raises:
            RecordError: the file is missing or damaged.
        """
        public = _read_json(self._file("target.json"))
        if public is None:
            raise RecordError(
                f"{self._file('target.json')} is missing or damaged, so where {self.target} is has been lost; "
                f"say it again with: multitrack sync {self.run.id} --to ADDRESS"
            )
        return public

    def address(self) -> str | None:
        """Return `BACKEND:LOCATION`; None where it has been lost."""
        public = _read_json(self._file("target.json"))
        if public is None or "backend" not in public:
            return None
        return str(public["backend"]) if public.get("location") is None else f"{public['backend']}:{public['location']}"

    def label(self) -> str:
        """Return what people call the target: its name, or its address where the name was only derived from that."""
        from ..config.targets import place_name

        address = self.address()
        backend, _, location = (address or "").partition(":")
        return address if address is not None and self.target == place_name(backend, location or None) else self.target

    # -- batches

    def batches(self) -> Iterator[PlannedBatch]:
        """Yield every batch, sent or not, in order. A torn last line is no batch: it was never sent."""
        try:
            file = self._file("batches.jsonl").open("rb")
        except FileNotFoundError:
            return
        with file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                yield PlannedBatch(number, {writer: (start, end) for writer, (start, end) in orjson.loads(line).items()})

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
        size = end = os.lseek(fd, 0, os.SEEK_END)
        window = 1 << 16
        while end and os.pread(fd, 1, end - 1) != b"\n":
            start = max(0, size - window)
            end = start + os.pread(fd, size - start, start).rfind(b"\n") + 1
            if end == start > 0:
                end, window = size, window * 4  # a line longer than the window
        if end < size:
            os.ftruncate(fd, end)
            os.lseek(fd, end, os.SEEK_SET)

    # -- what was acknowledged

    def committed(self) -> Committed:
        """Return what the service has acknowledged. Without the file, or with a damaged one, nothing: what is sent twice counts once."""
        fields = _read_json(self._file("position.json"))
        if fields is None:
            return Committed()
        known = {name: fields[name] for name in _COMMITTED if name in fields}
        # The adapter's state is plain JSON already, and may be large.
        return Committed(**{name: value if name == "adapter" else from_wire(value) for name, value in known.items()})

    def commit(self, committed: Committed) -> None:
        """Note what the service has acknowledged."""
        fields = {name: getattr(committed, name) for name in _COMMITTED}
        wire = {name: value if name == "adapter" else to_wire(value) for name, value in fields.items()}
        write_atomically(self._file("position.json"), orjson.dumps(wire))

    def forget(self) -> None:
        """Deliver from the first batch again: the service has lost what it had acknowledged. The order stays.

        Only the holder of `lock` may call this.
        """
        for what in ("position.json", "rejected.jsonl", "status.json"):
            self._file(what).unlink(missing_ok=True)

    def reject(self, rejections: Sequence[Rejection]) -> None:
        """Note records that the service will never take. A record is noted once, however often it is tried."""
        if not rejections:
            return
        known = set(self.rejections())
        hidden = [replace(rejection, reason=self.hide(rejection.reason)) for rejection in rejections]
        fresh = [rejection for rejection in hidden if rejection not in known]
        if fresh:
            with self._file("rejected.jsonl").open("ab") as file:
                file.writelines(orjson.dumps(to_wire(asdict(rejection)), option=orjson.OPT_APPEND_NEWLINE) for rejection in fresh)

    def rejections(self) -> list[Rejection]:
        """Return the records that the service refused."""
        try:
            return [Rejection(**from_wire(orjson.loads(line))) for line in self._file("rejected.jsonl").read_bytes().splitlines()]
        except FileNotFoundError:
            return []

    # -- how it goes

    def status(self) -> Status:
        """Return what the last process that delivered left."""
        fields = _read_json(self._file("status.json")) or {}
        return Status(**{name: from_wire(fields[name]) for name in _STATUS if name in fields})

    def set_status(self, status: Status) -> None:
        """Note how it goes."""
        error = None if status.error is None else self.hide(status.error)
        wire = to_wire(asdict(replace(status, error=error)))
        write_atomically(self._file("status.json"), orjson.dumps(wire))

    def progress(self) -> Progress:
        """Return where delivery stands. Counts what is behind, so it reads the undelivered part of the journal, once."""
        return measure(self, self._counts)


_COMMITTED = tuple(field.name for field in dataclasses.fields(Committed))
_STATUS = tuple(field.name for field in dataclasses.fields(Status))


def _read_json(path: Path) -> dict[str, Any] | None:
    """Return the object that a file holds; None if there is none, or the machine lost its power before it was on the disk."""
    try:
        found = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None

"""A tracking service of our own: in memory, or in a folder that several processes share.

It knows both ways in which services tell what they hold. `keeps="keys"`: whatever is written stays at once, and what is written again
under the same key changes nothing, as at MLflow. `keeps="count"`: what is written waits in a queue until `flush`, is appended as it
is, duplicates and all, and the service counts batches, as W&B counts lines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson

from ..backend import (
    EVERYTHING,
    TAG_COMPLETE,
    Backend,
    BackendSettings,
    Batch,
    Capabilities,
    Conclusion,
    Entry,
    Position,
    Rejection,
    RunFilter,
    RunRef,
    Sink,
    Source,
)
from ..errors import PermanentError
from ..records import Artifact, Record, RunStarted, decode, encode

Keeps = Literal["keys", "count"]


@dataclass
class StoredRun:
    """What the service holds of one run."""

    started: RunStarted
    lines: list[tuple[int, str, bytes]] = field(default_factory=list)
    """(batch number, writer, line), in the order of their arrival."""
    keys: set[tuple[str, bytes]] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)
    """Artifacts, by name."""
    conclusions: list[dict[str, Any]] = field(default_factory=list)
    """Of each `finish`: `status`, `time`, `error`, `files`, `tags`."""
    marker: str | None = None

    def entries(self) -> list[Entry]:
        """Return what arrived, entry by entry."""
        found = []
        for _, writer, line in self.lines:
            seq, record = decode(line)
            found.append(Entry(writer, seq, record))
        return found

    @property
    def batches(self) -> int:
        """The number of the last batch that has arrived."""
        return max((number for number, _, _ in self.lines), default=0)

    @property
    def concluded(self) -> dict[str, Any] | None:
        """The last conclusion."""
        return self.conclusions[-1] if self.conclusions else None


class MemoryService:
    """Runs by id. With a folder, everything that happens is appended to a file a run, and other processes see it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._runs: dict[str, StoredRun] = {}
        self._read: dict[str, int] = {}

    def runs(self) -> Mapping[str, StoredRun]:
        """Return all runs."""
        if self._folder is not None and self._folder.is_dir():
            for path in sorted(self._folder.glob("*.log")):
                self._catch_up(path.stem)
        return self._runs

    def run(self, run_id: str) -> StoredRun | None:
        """Return one run."""
        self._catch_up(run_id)
        return self._runs.get(run_id)

    def delete(self, run_id: str) -> None:
        """Lose a run, as services do."""
        self._runs.pop(run_id, None)
        self._read.pop(run_id, None)
        if self._folder is not None:
            (self._folder / f"{run_id}.log").unlink(missing_ok=True)

    def happen(self, run_id: str, *events: Mapping[str, Any]) -> None:
        """Take events in, all or none: what a process that dies has not handed over whole has not happened."""
        data = b"".join(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in events)
        if self._folder is None:
            for event in events:
                self._apply(run_id, event)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._folder / f"{run_id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            if os.write(fd, data) != len(data):
                raise OSError("short write")
        finally:
            os.close(fd)
        self._catch_up(run_id)

    def _catch_up(self, run_id: str) -> None:
        if self._folder is None:
            return
        try:
            with (self._folder / f"{run_id}.log").open("rb") as file:
                file.seek(self._read.get(run_id, 0))
                data = file.read()
        except FileNotFoundError:
            self._runs.pop(run_id, None)
            self._read.pop(run_id, None)
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._read[run_id] = self._read.get(run_id, 0) + len(whole)
        for line in whole.splitlines():
            self._apply(run_id, orjson.loads(line))

    def _apply(self, run_id: str, event: Mapping[str, Any]) -> None:
        if event["do"] == "open":
            started = decode(event["line"])[1]
            if isinstance(started, RunStarted):
                self._runs.setdefault(run_id, StoredRun(started))
            return
        run = self._runs[run_id]
        if event["do"] == "write":
            run.marker = None
            line = event["line"].encode()
            run.lines.append((event["batch"], event["writer"], line))
            run.keys.add((event["writer"], line))
        elif event["do"] == "file":
            run.files[event["name"]] = bytes.fromhex(event["content"])
        elif event["do"] == "finish":
            run.conclusions.append(dict(event["conclusion"]))
            run.marker = event["conclusion"]["tags"].get(TAG_COMPLETE)


class MemorySettings(BackendSettings):
    """Settings of the memory backend."""

    keeps: Keeps = "keys"


_services: dict[str | None, MemoryService] = {}


class MemoryBackend(Backend):
    """Its location is a folder (`memory:./somewhere`) or the name of a service in this process's memory (`memory:one`)."""

    name: ClassVar[str] = "memory"
    label: ClassVar[str] = "Memory"
    capabilities: ClassVar[Capabilities] = EVERYTHING
    settings_type: ClassVar[type[BackendSettings]] = MemorySettings

    @classmethod
    def resolve(cls, location: str | None, base: Path) -> str | None:
        """Return the folder's absolute path; a name as it is."""
        return str((base / location).resolve()) if location is not None and location.startswith((".", "/", "~")) else location

    @property
    def service(self) -> MemoryService:
        """What is there; every backend object of this process with the same location shares it."""
        if self.location not in _services:
            is_folder = self.location is not None and self.location.startswith("/")
            _services[self.location] = MemoryService(Path(self.location) if is_folder and self.location else None)
        return _services[self.location]

    @property
    def keeps(self) -> Keeps:
        """How the service tells what it holds."""
        return self.settings.keeps if isinstance(self.settings, MemorySettings) else "keys"

    def check(self) -> str:
        """Return how many runs there are."""
        return f"{len(self.service.runs()):,} runs"

    def sink(self) -> Sink:
        """Return a sink."""
        return MemorySink(self.service, self.keeps)

    def source(self) -> Source:
        """Return a source."""
        return MemorySource(self.service)


def memory_backend(capabilities: Capabilities, location: str | None = None, *, keeps: Keeps = "keys") -> MemoryBackend:
    """Return a backend in memory that can hold what `capabilities` say; without a location, one that nobody else sees."""
    cls = type("ChosenMemoryBackend", (MemoryBackend,), {"capabilities": capabilities})
    chosen = cls(location if location is not None else os.urandom(8).hex(), MemorySettings(keeps=keeps))
    return chosen if isinstance(chosen, MemoryBackend) else MemoryBackend(location)


class MemorySink(Sink):
    """One run at the service."""

    def __init__(self, service: MemoryService, keeps: Keeps) -> None:
        self._service = service
        self._keeps = keeps
        self._queue: list[dict[str, Any]] = []
        self._id = ""

    @property
    def _run(self) -> StoredRun:
        run = self._service.run(self._id)
        if run is None:
            raise PermanentError(f"run {self._id} is gone")
        return run

    def open(self, run: RunStarted) -> Position:
        """Find or create the run."""
        self._id = run.id
        found = self._service.run(run.id)
        if found is None:
            self._service.happen(run.id, {"do": "open", "line": encode(run, 0).decode()})
            return Position(batches=0)
        return Position(batches=found.batches if self._keeps == "count" else None, marker=found.marker)

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Take a batch in, or queue it."""
        lines = [(entry.writer, encode(entry.record, entry.seq)) for entry in batch.entries]
        if self._keeps == "keys":
            lines = [line for line in dict.fromkeys(lines) if line not in self._run.keys]
        events: list[dict[str, Any]] = [{"do": "write", "batch": batch.number, "writer": w, "line": line.decode()} for w, line in lines]
        files = [_file_event(entry.record, batch.files) for entry in batch.entries if isinstance(entry.record, Artifact)]
        if self._keeps == "count":
            self._queue += [*filter(None, files), *events]
            return ()
        self._service.happen(self._id, *filter(None, files), *events)
        return ()

    def flush(self) -> Position:
        """Bring what is queued to the service."""
        if self._keeps == "keys":
            return Position(batches=None)
        queue, self._queue = self._queue, []
        self._service.happen(self._id, *queue)
        return Position(batches=self._run.batches)

    def finish(self, conclusion: Conclusion) -> None:
        """Note the conclusion."""
        fields = {"status": conclusion.status, "time": conclusion.time, "error": conclusion.error, "tags": dict(conclusion.tags)}
        files = {"files": sorted(conclusion.files), "deleted": conclusion.deleted}
        contents = [{"do": "file", "name": name, "content": path.read_bytes().hex()} for name, path in conclusion.files.items()]
        self._service.happen(self._id, *contents, {"do": "finish", "conclusion": {**fields, **files}})

    def url(self) -> str:
        """Return something like a page."""
        return f"memory://{self._id}"


def _file_event(artifact: Artifact, files: Callable[[Artifact], Path]) -> dict[str, Any] | None:
    if artifact.sha256 is None:
        return None
    return {"do": "file", "name": artifact.name, "content": files(artifact).read_bytes().hex()}


class MemorySource(Source):
    """All runs at the service."""

    def __init__(self, service: MemoryService) -> None:
        self._service = service

    def projects(self) -> Iterator[str]:
        """Yield the projects' names, sorted."""
        yield from sorted({run.started.project for run in self._service.runs().values()})

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match."""
        refs = [_refer(run) for run in self._service.runs().values()]
        yield from sorted(filter(wanted.matches, refs), key=lambda ref: (ref.project, ref.started or 0, ref.id))

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield what arrived."""
        stored = self._get(run)
        for entry in stored.entries():
            yield entry.record

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Write an artifact's content."""
        content = self._get(run).files.get(artifact.name)
        if content is None:
            raise PermanentError(f"artifact {artifact.name!r} has no content here")
        to.write_bytes(content)

    def _get(self, run: RunRef) -> StoredRun:
        found = self._service.run(run.native_id)
        if found is None:
            raise PermanentError(f"run {run.native_id} is gone")
        return found


def _refer(run: StoredRun) -> RunRef:
    start, ending = run.started, run.concluded
    tags = {**start.tags, **({} if run.marker is None else {TAG_COMPLETE: run.marker})}
    return RunRef(
        id=start.id,
        native_id=start.id,
        project=start.project,
        name=start.name,
        status=ending["status"] if ending else "running",
        started=start.time,
        ended=ending["time"] if ending else None,
        parent=start.parent,
        tags=tags,
        version=f"{len(run.lines)}/{len(run.conclusions)}",
    )


__all__ = ["Keeps", "MemoryBackend", "MemoryService", "MemorySettings", "MemorySink", "MemorySource", "StoredRun", "memory_backend"]

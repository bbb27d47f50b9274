"""What the conformance suite stands on: a run written into a journal, delivered to a backend, and read back from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..backend import Backend, Batch, Conclusion, Entry, Position, Rejection, RunFilter, RunRef, Sink, Source
from ..config.filters import Filters
from ..delivery import Delivery
from ..journal import RunFolder, Store, WriterCopy, store_file
from ..recall import Recalled, recall
from ..records import Artifact, Record, RunFinished, RunStarted, new_run_id
from ..registry import load_backend
from ..state import RunState
from ..verification import Comparison, Verification

START = 1_577_934_245_678_901
"""2020-01-02T03:04:05.678901Z, in microseconds: long ago, and on no full millisecond."""
TARGET = "conformance"


class Scene:
    """A store on the local disk, and the service that is put to the test."""

    def __init__(self, root: Path, backend: Backend) -> None:
        self.store = Store(root / "store")
        self.store.create()
        self.root = root
        self.backend = backend

    # -- here

    def start(self, *, project: str = "conformance", **fields: object) -> RunStarted:
        """Return the opening record of a new run."""
        return RunStarted.model_validate({"time": START, "id": new_run_id(), "project": project, "name": "a run", **fields})

    def record(
        self, start: RunStarted, records: Iterable[Record], *, status: str | None = "finished", writer: str = "0123456789abcdef"
    ) -> RunFolder:
        """Write a whole run into the store: its start, the records, and its end unless `status` is None."""
        folder = self.store.folder(start.project, start.id)
        folder.create()
        end = [RunFinished.model_validate({"time": START + 60_000_000, "status": status})] if status is not None else []
        self.append(folder, [start, *records, *end], writer=writer)
        return folder

    def append(self, folder: RunFolder, records: Sequence[Record], *, first: int = 0, writer: str = "0123456789abcdef") -> None:
        """Write records behind those that a writer has written; `first` is the sequence number to begin with."""
        copy = WriterCopy(folder, writer)
        if not copy.begin():
            raise RuntimeError(f"{folder.path} is being written to")
        copy.append([Entry(writer, seq, record) for seq, record in enumerate(records, start=first)])
        copy.close()

    def artifact(self, start: RunStarted, name: str, content: bytes, **fields: object) -> Artifact:
        """Return an artifact whose content lies in the run's folder."""
        folder = self.store.folder(start.project, start.id)
        folder.create()
        file = self.root / "content"
        file.write_bytes(content)
        sha256, size = store_file(file, folder.artifacts)
        return Artifact.model_validate({"time": START, "name": name, "sha256": sha256, "size": size, **fields})

    # -- to the service

    def deliver(self, run: RunFolder, backend: Backend | None = None) -> bool:
        """Deliver what there is; return whether the service has the run whole."""
        with Delivery(run, TARGET, backend or self.backend, Filters()) as delivery:
            return delivery.advance()

    def deliver_anew(self, run: RunFolder) -> bool:
        """Deliver from the first batch on, with everything forgotten that is known of earlier deliveries."""
        for path in run.delivery.iterdir():
            path.unlink()
        return self.deliver(run)

    # -- and back

    def find(self, run: RunFolder) -> RunRef:
        """Return the run as the service lists it.

        Raises:
            AssertionError: it does not, or lists it twice.
        """
        source = self.backend.source()
        try:
            found = list(source.runs(RunFilter(ids=[run.id], deleted=True)))
        finally:
            source.close()
        assert len(found) == 1, f"the service lists run {run.id} {len(found)} times"  # noqa: S101 - this is a test suite
        return found[0]

    def read(self, run: RunFolder) -> Recalled:
        """Return the run as the service holds it, and as it is restored from there."""
        source = self.backend.source()
        try:
            return recall(source, self.find(run), self.backend.capabilities)
        finally:
            source.close()

    def native(self, run: RunFolder) -> RunState:
        """Return the run as the service itself holds it."""
        return self.read(run).native

    def verify(self, run: RunFolder) -> Verification:
        """Compare the run at the service, every field and point, with the one in the store."""
        here = self._local_source()
        there = self.backend.source()
        try:
            ref = next(iter(here.runs(RunFilter(ids=[run.id]))))
            return Comparison(here, load_backend("local").capabilities, there, self.backend, Filters()).compare(ref, self.find(run))
        finally:
            there.close()

    def _local_source(self) -> Source:
        return load_backend("local")(str(self.store.root)).source()


class Interrupted(BaseException):
    """Stands for the death of the process: nothing that delivers catches it."""


class InterruptedBackend:
    """A backend whose sinks stop at one point, as if the process died there. `point` is called before and after each of their methods."""

    def __init__(self, backend: Backend, point: Callable[[str], None]) -> None:
        self._backend = backend
        self._point = point
        self.capabilities = backend.capabilities
        self.parallel = backend.parallel

    def sink(self) -> Sink:
        """Return a sink that may be interrupted."""
        return _InterruptedSink(self._backend.sink(), self._point)


class _InterruptedSink(Sink):
    def __init__(self, sink: Sink, point: Callable[[str], None]) -> None:
        self._sink = sink
        self._point = point

    def open(self, run: RunStarted) -> Position:
        self._point("before open")
        position = self._sink.open(run)
        self._point("after open")
        return position

    def write(self, batch: Batch) -> Sequence[Rejection]:
        self._point("before write")
        rejections = self._sink.write(batch)
        self._point("after write")
        return rejections

    def flush(self) -> Position:
        self._point("before flush")
        position = self._sink.flush()
        self._point("after flush")
        return position

    def finish(self, conclusion: Conclusion) -> None:
        self._point("before finish")
        self._sink.finish(conclusion)
        self._point("after finish")

    def url(self) -> str | None:
        return self._sink.url()

    def close(self) -> None:
        self._sink.close()

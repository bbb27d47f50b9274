"""The sink: one run at a server.

Every call waits for the server's answer. A batch ends with a file, `multitrack/state`, that tells each writer's last record and how many
points each series has: what a process that died had sent of the next batch is then known by counting, and not sent again.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from multitrack.backend import TAG_COMPLETE, Batch, Conclusion, Position, Rejection, Sink
from multitrack.errors import PermanentError
from multitrack.records import RunStarted

from .. import names
from ..decode import read_conclusion
from ..encode import Encoder, File, Item, Known, Operation
from ..settings import NeptuneSettings
from .client import connect, find_project, project_of, translated
from .runs import download, read_attributes

OPERATIONS = 1000
"""Of one call: as many as the client itself sends."""
_SERIES = {"LogFloats": "get_float_series_values", "LogStrings": "get_string_series_values"}


class ServerSink(Sink):
    """One run at one server."""

    def __init__(self, location: str | None, settings: NeptuneSettings) -> None:
        self._name = project_of(location)
        self._settings = settings

    def open(self, run: RunStarted) -> Position:
        """Find the run by its id, which the server knows as `sys/custom_run_id`, or create it."""
        from neptune.internal.container_type import ContainerType

        self._connection = connect(self._settings)
        project = find_project(self._connection, self._name)
        with translated("opening the run"):
            self._run = self._connection.create_run(project.id, custom_run_id=run.id)
            self._kind = ContainerType.RUN
            there = read_attributes(self._connection, self._run.id)
            state = self._read_state() if names.STATE in there.files else {}
        self._counts: dict[str, int] = dict(state.get("counts", {}))
        self._skips: dict[str, int] = {}
        known = Known(
            types=dict(there.types),
            last=dict(state.get("last", {})),
            tags=set(there.values.get(("sys/tags", "string_set"), ())),
            writers=dict(state.get("writers", {})),
            batches=state.get("batches", 0),
            concluded=names.CONCLUSION in there.files,
        )
        self._encoder = Encoder(known)
        concluded = read_conclusion(download(self._connection, self._run.id, names.CONCLUSION)) if known.concluded else None
        is_new = (names.RUN_ID, "string") not in there.values
        return Position(batches=0 if is_new else None, marker=concluded.tags.get(TAG_COMPLETE) if concluded else None)

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Send a batch."""
        before = self._encoder.known.batches
        self._send(self._encoder.batch(batch))
        known = self._encoder.known
        if known.batches == before:  # all of it was there
            return ()
        state = {"writers": known.writers, "batches": known.batches, "counts": self._counts, "last": known.last}
        self._send([File(names.STATE, "json", json.dumps(state).encode())])
        return ()

    def flush(self) -> Position:
        """Everything that was sent has been acknowledged."""
        return Position(batches=None)

    def finish(self, conclusion: Conclusion) -> None:
        """Send the files, then the status, and the conclusion last of all."""
        *before, last = self._encoder.conclude(conclusion)
        self._send(before)
        self._send([last])

    def url(self) -> str | None:
        """Return the run's page."""
        run = self._run
        return str(self._connection.get_run_url(run.id, run.workspace, run.project_name, run.sys_id))

    # -- sending

    def _send(self, items: Iterable[Item]) -> None:
        """Send operations in their order, as many at a time as may go together.

        The client sorts those of one call by path: what makes room (DeleteAttribute) goes in a call of its own.
        """
        waiting: list[Operation] = []
        for item in items:
            operation = _upload(item) if isinstance(item, File) else self._without_sent(item)
            if operation is None:
                continue
            if operation["type"] == "DeleteAttribute":
                self._execute(waiting)
                self._execute([operation], may_fail=True)  # somebody was here before, and died
                self._counts.pop("/".join(operation["path"]), None)
                self._skips["/".join(operation["path"])] = 0
                waiting = []
            else:
                waiting.append(operation)
            if len(waiting) >= OPERATIONS:
                self._execute(waiting)
                waiting = []
        self._execute(waiting)

    def _execute(self, operations: Sequence[Operation], *, may_fail: bool = False) -> None:
        from neptune.core.components.operation_storage import OperationStorage
        from neptune.internal.operation import Operation as ClientOperation

        left = [ClientOperation.from_dict(operation) for operation in operations]
        with tempfile.TemporaryDirectory(prefix="multitrack-neptune-") as folder, translated("writing"):
            storage = OperationStorage(Path(folder))
            while left:
                done, errors = self._connection.execute_operations(self._run.id, self._kind, left, storage)
                if errors and not may_fail:
                    raise PermanentError(f"neptune refuses: {errors[0]}")
                left = left[done:]

    def _without_sent(self, operation: Operation) -> Operation | None:
        """Return an operation without the points that the server has already; None where it has all of them."""
        fetch = _SERIES.get(operation["type"])
        if fetch is None:
            return operation
        path = "/".join(operation["path"])
        if path not in self._skips:
            self._skips[path] = self._count(fetch, operation["path"]) - self._counts.get(path, 0)
        points = operation["values"]
        self._counts[path] = self._counts.get(path, 0) + len(points)
        sent = min(max(self._skips[path], 0), len(points))
        self._skips[path] -= sent
        return {**operation, "values": points[sent:]} if sent < len(points) else None

    def _count(self, fetch: str, path: list[str]) -> int:
        """Return how many points a series has at the server."""
        from neptune.exceptions import FetchAttributeNotFoundException

        with translated("counting points"):
            try:
                return int(getattr(self._connection, fetch)(self._run.id, self._kind, path, 0, 1).totalItemCount)
            except FetchAttributeNotFoundException:
                return 0

    def _read_state(self) -> dict[str, Any]:
        state = json.loads(download(self._connection, self._run.id, names.STATE))
        return state if isinstance(state, dict) else {}


def _upload(file: File) -> Operation:
    target = {"path": file.path.split("/"), "ext": file.extension}
    if isinstance(file.content, Path):
        return {"type": "UploadFile", **target, "file_path": str(file.content), "tmp_file_name": None, "clean_after_upload": False}
    return {"type": "UploadFileContent", **target, "file_content": base64.b64encode(file.content).decode()}

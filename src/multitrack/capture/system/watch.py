"""The thread that measures at an interval."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ...delivery.start import courier_ids
from ...errors import MultitrackError
from ...records import Metrics, now
from ..nodes import Node
from ..recorder import Recorder
from ..watch import HEAD_START, Watch

if TYPE_CHECKING:
    from .gpus import Gpus

PREFIX = "system/"
_PATIENCE = 2.0
"""Seconds that the end of a run waits for the last sample, at most: a driver that hangs must not keep it."""


class _Reader(Protocol):
    def read(self) -> Mapping[str, float]: ...


_Placed = tuple[str, _Reader]
"""A reader, after what its names begin with."""


class ResourceError(MultitrackError):
    """A part of the resources could not be measured."""


class ResourceWatch(Watch):
    """Writes a row of metrics when it starts, at each interval, and when it stops."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._stop = threading.Event()
        self._failed: dict[str, str] = {}
        self._thread = threading.Thread(target=self._watch, name="multitrack-resources", daemon=True)

    def start(self) -> None:
        """Begin to measure, in a thread: what is imported and opened for it takes its time."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Measure once more, and end.

        Raises:
            ResourceError: something could not be measured.
        """
        self._stop.set()
        self._thread.join(min(timeout, _PATIENCE))
        if self._failed:
            raise ResourceError("; ".join(f"{what}: {why}" for what, why in self._failed.items()))

    def _watch(self) -> None:
        self._stop.wait(HEAD_START)
        with contextlib.ExitStack() as stack:
            try:
                readers = list(self._readers(stack))
            except Exception as error:  # noqa: BLE001 - a traceback of ours among the program's output helps nobody
                self._note("everything", error)
                return
            due = time.monotonic()
            while readers:
                ends = self._stop.is_set()
                readers = self._sample(readers)
                if ends:
                    break
                # What was missed while the machine slept is not made up for.
                due = max(due + self.recorder.system_interval, time.monotonic())
                self._stop.wait(due - time.monotonic())

    def _sample(self, readers: Sequence[_Placed]) -> list[_Placed]:
        """Write a row; return the readers that did not fail."""
        taken, values, working = now(), dict[str, float](), []
        for prefix, reader in readers:
            try:
                values.update({f"{PREFIX}{prefix}{name}": round(value, 3) for name, value in reader.read().items()})
                working.append((prefix, reader))
            except Exception as error:  # noqa: BLE001 - the others go on
                self._note(type(reader).__name__, error)
        if values:
            with contextlib.suppress(ValueError):  # the run has ended without waiting for this
                self.recorder.write(Metrics(time=taken, values=dict(values), source="system"))
        return working

    def _note(self, what: str, error: Exception) -> None:
        self._failed[what] = f"{type(error).__name__}: {error}"

    # -- who measures what

    def _readers(self, stack: contextlib.ExitStack) -> Iterator[_Placed]:
        """Yield what this process measures, with the beginning of the names; `stack` is what to close in the end."""
        rank, joined = self.recorder.rank, self.recorder.joined
        node = Node(self.recorder)
        stack.callback(node.release)
        if joined and rank is None and (node.leads or not node.is_mine("resources")):
            return  # a worker without a rank: of the machine, or the leading process, which counts it among its own
        from .machine import Machine
        from .process import ProcessTree

        processes = ProcessTree(os.getpid(), courier_ids)
        yield (f"rank_{rank}/" if joined and rank is not None else node.prefix), processes
        if node.is_mine("resources"):
            yield node.prefix, Machine(self.recorder.folder.path)
        if (gpus := self._gpus(node)) is not None:
            stack.callback(gpus.close)
            yield node.prefix, gpus

    def _gpus(self, node: Node) -> Gpus | None:
        from .gpus import Gpus

        try:
            return Gpus.find(node.claim)
        except ImportError:
            self._failed["GPUs"] = "nvidia-ml-py is not installed: pip install 'multitrack[gpu]'"
        except OSError as error:
            self._note("GPUs", error)
        return None

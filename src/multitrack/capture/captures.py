"""The captures of one run: begun with it, ended with it, and never in its way."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from ..records import CaptureFailed, now
from . import Capture
from .recorder import Recorder
from .watch import HEAD_START, Watch


class Captures:
    """Everything that is captured of one run in this process."""

    def __init__(self, wanted: Capture, recorder: Recorder) -> None:
        """`wanted` holds no None: see `Capture.within`."""
        self._wanted = wanted
        self._recorder = recorder
        self._watches: list[tuple[str, Watch]] = []
        self._thread = threading.Thread(target=self._take, name="multitrack-capture", daemon=True)
        self._failed: dict[str, str] = {}
        self._lock = threading.Lock()
        self._ends = threading.Event()

    def begin(self) -> None:
        """Start to watch, and to take the rest in the background. Never raises."""
        for name, make in self._to_watch():
            try:
                watch = make(self._recorder)
                watch.start()
                self._watches.append((name, watch))
            except Exception as error:  # noqa: BLE001 - whatever fails here must not reach the training
                self._note(name, error)
        self._thread.start()

    def end(self, timeout: float) -> dict[str, str]:
        """Stop, wait for what is under way, and return what could not be captured, and why. Never raises."""
        deadline = time.monotonic() + timeout
        self._ends.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                self._note("environment", TimeoutError(f"it took longer than {timeout:.0f} s"))
        for name, watch in reversed(self._watches):
            try:
                watch.stop(max(0.0, deadline - time.monotonic()))
            except Exception as error:  # noqa: BLE001
                self._note(name, error)
        return self._failed

    def _take(self) -> None:
        self._ends.wait(HEAD_START)
        for name, take in self._to_take():
            try:
                take(self._recorder)
            except Exception as error:  # noqa: BLE001
                self._note(name, error)

    def _note(self, name: str, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        with self._lock:
            if name in self._failed:
                return
            self._failed[name] = text
        with contextlib.suppress(ValueError):  # the run has ended
            self._recorder.write(CaptureFailed(time=now(), what=name, error=self._recorder.mask.text(text)))

    def _to_take(self) -> Iterator[tuple[str, Callable[[Recorder], None]]]:
        if self._wanted.environment:
            from .environment import capture_environment

            yield "environment", capture_environment

    def _to_watch(self) -> Iterator[tuple[str, Callable[[Recorder], Watch]]]:
        if self._wanted.code and not self._recorder.joined:
            from .code import CodeWatch

            yield "code", CodeWatch
        if self._wanted.system:
            from .system import ResourceWatch

            yield "system", ResourceWatch
        if self._wanted.console:
            from .console import Console

            yield "console", Console

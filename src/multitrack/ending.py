"""How the process ends decides how its run ends: normally, by an exception, by an exit code, by a signal."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

from .run import Run, how_it_ended

SIGTERM_TIMEOUT = 5.0
"""Seconds to wait for the targets after a SIGTERM: schedulers kill for good soon after it (Kubernetes after 30 s, Slurm after 30 s)."""

_watched: Run | None = None
_error: BaseException | None = None
_installed = False


def end_with_process(run: Run) -> None:
    """See to it that `run` ends as the process does."""
    global _watched, _error
    _watched, _error = run, None
    _install()


def forget(run: Run) -> None:
    """The run has ended by itself."""
    global _watched
    if _watched is run:
        _watched = None


def _install() -> None:
    global _installed
    if _installed:
        return
    _installed = True
    atexit.register(_at_exit)
    _chain_excepthook()
    _chain_exit()
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def _at_exit() -> None:
    if _watched is not None:
        _watched.finish(*_ended_by(_error))


def _ended_by(error: BaseException | None) -> tuple[Any, str | None]:
    return how_it_ended(error)


def _chain_excepthook() -> None:
    before = sys.excepthook

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        global _error
        _error = error
        before(kind, error, trace)

    sys.excepthook = note


def _chain_exit() -> None:
    # `atexit` is not told the exit code, and `sys.excepthook` is not called for SystemExit.
    before = sys.exit

    def note(status: Any = None, /) -> NoReturn:
        global _error
        _error = SystemExit(status)
        before(status)

    sys.exit = note  # type: ignore[assignment]


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    if _watched is not None and _watched._owner == os.getpid():
        _watched.finish("killed", error="SIGTERM", timeout=SIGTERM_TIMEOUT)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

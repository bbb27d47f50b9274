"""Which runs go on in this process, and how its end ends them: normally, by an exception, by an exit code, by a signal.

How a process ends is told nowhere in one place, so it is put together from four:

    sys.excepthook   an exception that nobody caught
    sys.exit         the exit code, which `atexit` is not told
    the main frame   whether the program ended by a return or by an exception: an exit that was caught ended nothing
    SIGTERM          would otherwise end the process without a word
"""

from __future__ import annotations

import atexit
import contextlib
import opcode
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, NoReturn

from .records import Ending
from .run import Run
from .values import to_ending

SIGTERM_TIMEOUT = 5.0
"""Seconds to wait for the targets after a SIGTERM: schedulers kill for good soon after it (Kubernetes after 30 s, Slurm after 30 s)."""

_UNKNOWN_EXIT = "SystemExit was raised; use `with`, sys.exit() or run.finish() to have its code recorded"


# -- the runs that go on

_open: list[tuple[int, Run]] = []
"""The thread that started it, and the run; the latest last."""
_last: Run | None = None


def open_runs() -> list[Run]:
    """Return the runs that go on, the latest first. In a forked child its parent's are among them: it can write to those, not end them."""
    return [run for _, run in reversed(_open) if run.ended is None]


def open_runs_here() -> list[Run]:
    """Like `open_runs`, of those that this thread started: each thread may have a run of its own."""
    here = threading.get_ident()
    return [run for thread, run in reversed(_open) if thread == here and run.ended is None]


def end_with_process(run: Run) -> None:
    """See to it that `run` ends as the process does."""
    _open[:] = [item for item in _open if item[1].ended is None]
    _open.append((threading.get_ident(), run))
    _ProcessEnd.watch()


def forget(run: Run) -> None:
    """The run has ended by itself."""
    global _last
    _last = run
    _open[:] = [item for item in _open if item[1] is not run]


def last_run() -> Run | None:
    """Return the run that has ended last, None if none has."""
    return next((run for _, run in reversed(_open) if run.ended is not None), _last)


# -- the end of the process


class _ProcessEnd:
    """The hooks into the process, made once, and what they have noted."""

    pid: int | None = None
    error: BaseException | None = None
    main: FrameType | None = None

    @classmethod
    def watch(cls) -> None:
        if cls.pid == os.getpid():
            return
        if cls.pid is None:
            atexit.register(_at_exit)
            _chain_excepthook()
            _chain_exit()
            if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, _on_sigterm)
        cls.pid, cls.error, cls.main = os.getpid(), None, _outermost_frame()
        _watch_child_process()


def _outermost_frame() -> FrameType | None:
    """Return the frame that the main thread began with: that of the script, or of what runs it; in a child of `multiprocessing`, `run`."""
    process = sys.modules.get("multiprocessing.process")
    begins = process.BaseProcess._bootstrap.__code__ if process is not None else None
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_back is not None and frame.f_back.f_code is not begins:
        frame = frame.f_back
    return frame


def _at_exit() -> None:
    status, error = _how_process_ended()
    for run in open_runs():
        run.finish(status, error=error)
    if isinstance(_ProcessEnd.error, KeyboardInterrupt):
        _die_of_sigint()


def _die_of_sigint() -> None:
    """Have the interpreter end by SIGINT, which tells a shell's loop to stop as well.

    It means to, after a KeyboardInterrupt that nobody caught, but forgets it when a later `exec` succeeds, and modules that we import
    at the end (every dataclass, every namedtuple) call that. One more `exec` that is interrupted reminds it.
    """
    with contextlib.suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102


def _how_process_ended() -> tuple[Ending, str | None]:
    main = _ProcessEnd.main
    if hasattr(sys, "ps1") or main is None or _has_returned(main):  # at a prompt, an error ends a statement only
        return "finished", None
    if _ProcessEnd.error is None:
        return "failed", _UNKNOWN_EXIT
    return to_ending(_ProcessEnd.error)


def _has_returned(frame: FrameType) -> bool:
    """Return whether a frame that has ended did so by its return statement."""
    return opcode.opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")


def _chain_excepthook() -> None:
    before = sys.excepthook

    def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _ProcessEnd.error = error
        before(kind, error, trace)

    sys.excepthook = note


def _chain_exit() -> None:
    before = sys.exit

    def note(status: Any = None, /) -> NoReturn:
        _ProcessEnd.error = SystemExit(status)
        before(status)

    sys.exit = note


def _watch_child_process() -> None:
    """In a process of `multiprocessing`, which leaves `atexit` out: end the runs that it started itself."""
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None:
        return
    from multiprocessing.util import Finalize

    Finalize(None, _at_child_exit, exitpriority=0)


def _at_child_exit() -> None:
    # Until Python 3.12, this is called while the exception that ended the child's work, if there is one, is on its way out.
    raised = sys.exc_info()[1]
    status, error = to_ending(raised) if raised is not None else _how_process_ended()
    for run in open_runs():
        run.finish(status, error=error)


def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    deadline = time.monotonic() + SIGTERM_TIMEOUT
    for run in open_runs():
        run.finish("killed", error="SIGTERM", timeout=max(0.0, deadline - time.monotonic()))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

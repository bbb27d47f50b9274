"""What Python code writes to `sys.stdout` and `sys.stderr`, taken down as it passes through their `write`.

The very objects are hooked, so whoever holds one (a logging handler made long before) is seen as well, and everything else about them
stays: `isatty`, `fileno`, `encoding`, the buffer. Where the streams are not the process's own descriptors (notebooks, pytest, IDLE),
this is the way; what child processes and C code print is not seen.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from time import monotonic, time_ns
from typing import Any

from .source import FLUSH_INTERVAL, Source
from .streams import Stream

MOST_WAITING = 16 << 20
"""Characters that wait to be told; what a program prints faster than that is not recorded."""
_TOGETHER = 5_000
"""Microseconds within which pieces are told as one: a `print` is several."""


class Hook(Source):
    """Hooks the `write` of both streams."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[tuple[Stream, int, str]] = deque()
        self._size = 0  # about: threads may overtake each other
        self._dropped: dict[Stream, int] = {}
        self._hooked: list[tuple[Any, Any, Any]] = []
        """The stream, its `write` where it had one of its own, and ours."""
        self._ended = threading.Event()
        self._in_child = False
        self._streams: dict[Stream, Any] = {}
        self._lasting: set[Stream] = set()
        """Those that are hooked beneath what IPython does."""
        self._shell: Any = None

    def begin(self) -> None:
        seen: list[Any] = []
        names: tuple[Stream, ...] = ("stdout", "stderr")
        for name in names:
            file = getattr(sys, name, None)
            if file is None or getattr(file, "closed", False) or any(file is other for other in seen):
                continue
            seen.append(file)
            with contextlib.suppress(AttributeError, TypeError):  # an object that lets nobody change it
                self._hook(name, file)
                self._streams[name] = file
        if not self._hooked:
            raise OSError("there is no standard output that could be listened to")
        self._shell = _notebook_shell()
        if self._shell is not None:
            self._shell.events.register("pre_execute", self._hook_again)
        threading.Thread(target=self._work, name="multitrack-console", daemon=True).start()

    def _hook(self, name: Stream, file: Any) -> None:
        write, note, ended = file.write, self._waiting.append, self._ended.is_set

        def note_and_write(text: Any, /, *rest: Any, **more: Any) -> Any:
            result = write(text, *rest, **more)
            if type(text) is str and not ended():
                note((name, time_ns() // 1000, text))
                self._size += len(text)
                if self._in_child or self._size > MOST_WAITING:
                    self._relieve(name)
            return result

        before = file.__dict__.get("write") if hasattr(file, "__dict__") else None
        note_and_write.is_ours = True  # type: ignore[attr-defined]
        file.write = note_and_write
        self._hooked.append((file, before, note_and_write))

    def _hook_again(self, *_: object) -> None:
        """Called inside each cell, and now and then: IPython puts its own `write` over ours or ours over its own, and what there was before
        the cell that began the run comes back when that cell ends."""
        with contextlib.suppress(Exception):
            for name, file in list(self._streams.items()):
                write = file.__dict__.get("write")
                bare = write is None or getattr(write, "__func__", None) is type(file).write
                if bare:
                    self._hook(name, file)
                    self._lasting.add(name)  # IPython keeps it
                elif name not in self._lasting and not hasattr(write, "is_ours"):
                    self._hook(name, file)

    def _relieve(self, name: Stream) -> None:
        """Too much waits; or this is a forked child, which has no thread to see to it."""
        with contextlib.suppress(Exception):  # nothing of ours may reach the program
            if self._in_child:
                self._pass_on()
                self._flush()
            else:
                size = len(self._waiting.pop()[2])
                self._size -= size
                self._dropped[name] = self._dropped.get(name, 0) + size

    def _work(self) -> None:
        since = monotonic()
        while not self._ended.wait(FLUSH_INTERVAL / 4):
            self._pass_on()
            if self._shell is not None:
                self._hook_again()
            if monotonic() - since >= FLUSH_INTERVAL:
                since = monotonic()
                self._flush()

    def _pass_on(self) -> None:
        with self._turn:
            while self._waiting:
                stream, time, text = self._waiting.popleft()
                parts = [text]
                while self._waiting and self._waiting[0][0] == stream and self._waiting[0][1] - time < _TOGETHER:
                    parts.append(self._waiting.popleft()[2])
                text = "".join(parts)
                self._size -= len(text)
                self._tell(stream, time, text)
            self._size = max(0, self._size) if self._waiting else 0
            for stream in list(self._dropped):
                self._tell_dropped(stream, time_ns() // 1000, self._dropped.pop(stream))

    def greet(self) -> None:
        pass

    def settle(self, timeout: float) -> None:  # noqa: ARG002 - there is nothing to wait for
        self._pass_on()

    def end(self, timeout: float) -> None:  # noqa: ARG002
        if self._shell is not None:
            with contextlib.suppress(ValueError):
                self._shell.events.unregister("pre_execute", self._hook_again)
        self._unhook()
        self._pass_on()
        self._ended.set()

    def _unhook(self) -> None:
        for file, before, hook in reversed(self._hooked):
            with contextlib.suppress(Exception):
                if file.__dict__.get("write") is not hook:
                    continue  # somebody has hooked it after us, and calls ours: it stays, and does nothing any more
                if before is None:
                    del file.write
                else:
                    file.write = before

    def abandon(self) -> None:
        """The child's own lines belong to the run: they are written as they come, since no thread has come along."""
        self._turn = threading.RLock()
        self._waiting.clear()  # the parent tells of these
        self._size = 0
        self._in_child = True
        for listener in self._listeners:
            listener.in_child()


def _notebook_shell() -> Any:
    """Return IPython's shell, None where there is none."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython  # type: ignore[attr-defined, import-not-found, unused-ignore]

    return get_ipython()  # type: ignore[no-untyped-call, unused-ignore]

"""What anybody in this process or its children prints, taken from the descriptors 1 and 2 themselves.

They lead to a pipe, or where a terminal was to a pseudo-terminal, and from there to the place where they led before, by a process of its
own (see `pump`). So Python, C code, child processes and a crash's last words are all seen, in the order in which they were printed, and
`isatty` stays true where it was. Should that process ever be killed, this one takes its place: a program must not wait at a pipe that
nobody reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...journal import RunFolder
from . import pump
from .places import Split
from .source import FLUSH_INTERVAL, Source
from .streams import Separation, Stream

TAPPED: Final = "_MULTITRACK_TAPPED"
"""The variable that tells child processes in which runs their output is recorded, if it goes where it went when they were started."""
_PUMPS: Final = 3
"""How many are started, one after the other, before this process does without."""
_STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")


def is_possible() -> bool:
    """Return whether this process's streams are its descriptors 1 and 2, and a helper can be started."""
    if getattr(sys, "frozen", False) or not sys.executable or sys.platform not in ("linux", "darwin"):
        return False
    try:
        return all(getattr(sys, name).fileno() == fd for fd, name in enumerate(_STREAMS, 1))
    except Exception:  # noqa: BLE001 - None, closed, or an object of anybody's making
        return False


@dataclass
class _Place:
    """Where one or both of the streams go."""

    streams: list[Stream]
    target: int
    """A copy of the descriptor that was there."""
    source: int
    """Our end to read; the pump has its own."""
    sink: os.stat_result
    """What the end to write looks like."""
    terminal: bool
    split: Split
    gone: bool = False

    def restore(self) -> None:
        """Let the descriptors lead to where they led before, unless somebody has led them elsewhere since."""
        for name in self.streams:
            fd = _STREAMS.index(name) + 1
            with contextlib.suppress(OSError):
                if _identity(os.fstat(fd)) == _identity(self.sink):
                    os.dup2(self.target, fd)

    def close(self) -> None:
        for fd in (self.source, self.target):
            with contextlib.suppress(OSError):
                os.close(fd)


class Tap(Source):
    """Leads both descriptors through a pump."""

    def __init__(self) -> None:
        super().__init__()
        self._places: list[_Place] = []
        self._control: socket.socket
        self._process: subprocess.Popen[bytes]
        self._send_lock = threading.Lock()
        self._untaken = 0
        """What was received since the pump was told of it last."""
        self._state: list[dict[str, Any]] = []
        self._drained: dict[int, threading.Event] = {}
        self._ended = False
        self._hooked: Any = None
        self._replaced = False
        """Whether this process does the pump's work."""
        self._mine: list[pump.Place] = []
        self.pump: int | None = None
        """The pump's process id, once it has told."""

    # -- the start

    def begin(self) -> None:
        _flush_streams()
        sinks: list[int] = []
        try:
            for streams, fd in _destinations():
                terminal = os.isatty(fd)
                target = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
                source, sink = _pseudo_terminal(fd) if terminal else os.pipe()
                sinks.append(sink)
                self._places.append(_Place(streams, target, source, os.fstat(sink), terminal, Split(streams)))
            self._start_pump()
            for place, sink in zip(self._places, sinks, strict=True):
                for name in place.streams:
                    os.dup2(sink, _STREAMS.index(name) + 1)
        except OSError:
            for place in self._places:
                place.restore()
                place.close()
            raise
        finally:
            for sink in sinks:
                os.close(sink)
        if len(self._places[0].streams) == 2:
            self._separate(self._places[0])
        threading.Thread(target=self._work, name="multitrack-console", daemon=True).start()

    def _start_pump(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            words = [f"{place.source}:{place.target}:{int(place.terminal)}" for place in self._places]
            inherited = [theirs.fileno(), *(fd for place in self._places for fd in (place.source, place.target))]
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", pump.__file__, str(theirs.fileno()), *words],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # what ends the program by its group or its terminal must not take its output along
            )

    def _separate(self, place: _Place) -> None:
        """Note what goes to standard error as it does, beneath all buffers."""
        with contextlib.suppress(AttributeError, TypeError):
            buffer = sys.stderr.buffer
            raw = getattr(buffer, "raw", buffer)
            write, separation = raw.write, Separation()

            def note_and_write(data: Any, /) -> Any:
                separation.note(bytes(data))
                return write(data)

            raw.write = note_and_write  # type: ignore[method-assign]
            self._hooked, place.split.separation = raw, separation

    # -- while it goes on

    def _work(self) -> None:
        """Listen to the pump; should it be killed, start another."""
        for left in reversed(range(_PUMPS)):
            with contextlib.suppress(Exception):
                self._process.wait()  # the pump is a child of that one
            with contextlib.suppress(OSError):
                self._control.settimeout(FLUSH_INTERVAL / 4)
                self._listen_to_pump()
            if self._ended or not left:
                break
            with self._send_lock, contextlib.suppress(OSError):
                self._control.close()
                self._start_pump()
                self._untaken, self._state = 0, []
            self._confirm()
        self._replace_pump()

    def _listen_to_pump(self) -> None:
        received = bytearray()
        flushed = 0.0
        while True:
            try:
                data = self._control.recv(pump.CHUNK)
            except TimeoutError:
                pass
            else:
                if not data:
                    return
                received += data
                self._take(received)
            if time.monotonic() - flushed >= FLUSH_INTERVAL and not self._ended:
                flushed = time.monotonic()
                self._flush()
                self._confirm()

    def _take(self, received: bytearray) -> None:
        start, size = 0, pump.HEADER.size
        while len(received) - start >= size:
            kind, number, when, length = pump.HEADER.unpack_from(received, start)
            if len(received) - start < size + length:
                break
            data = bytes(received[start + size : start + size + length])
            start += size + length
            self._untaken += 1
            self._take_message(kind, self._places[number], when, data)
        del received[:start]

    def _take_message(self, kind: bytes, place: _Place, when: int, data: bytes) -> None:
        if kind == pump.PRINTED:
            for stream, text in place.split.text(data):
                self._tell(stream, when, text)
        elif kind == pump.DROPPED:
            self._tell_dropped(place.streams[0], when, int(data))
        elif kind == pump.DRAINED:
            self._drained[int(data)].set()
        elif kind == pump.HELLO:
            self.pump = int(data)
        elif kind == pump.GONE:  # from here on the program sees for itself what is the matter with the place
            place.restore()
            place.gone = True
            os.close(place.source)

    def greet(self) -> None:
        self._confirm()
        runs = [RunFolder(Path(state["folder"])).id for state in self._state]
        os.environ[TAPPED] = json.dumps({"runs": runs, "places": [_identity(place.sink) for place in self._places]})

    def _confirm(self) -> None:
        """Tell the pump what is written down, and what would have to be if this process were gone."""
        with self._turn:
            state = [listener.state() for listener in self._listeners]
            if self._untaken or state != self._state:
                self._state = state
                self._order(pump.TAKEN, json.dumps({"count": self._untaken, "runs": state}).encode())
                self._untaken = 0

    def _order(self, kind: bytes, content: bytes = b"") -> None:
        with self._send_lock, contextlib.suppress(OSError):
            self._control.sendall(pump.ORDER.pack(kind, len(content)) + content)

    def _replace_pump(self) -> None:
        """No pump is left: nobody can write any more, or something kills each of them."""
        for place in self._places:
            if not place.gone:
                place.restore()
                mine = pump.Place(0, place.source, place.target, terminal=place.terminal)
                self._mine.append(mine)
                threading.Thread(target=self._pass_on, args=(place, mine), name="multitrack-console", daemon=True).start()
        self._replaced = True
        while not self._ended:
            time.sleep(FLUSH_INTERVAL)
            self._flush()

    def _pass_on(self, place: _Place, mine: pump.Place) -> None:
        try:
            while mine.open:
                mine.wait()
                with mine.lock:
                    if mine.ready() and (data := mine.pass_on()) and not self._ended:
                        for stream, text in place.split.text(data):
                            self._tell(stream, time.time_ns() // 1000, text)
        except OSError:
            mine.open = False
        place.close()

    # -- the end

    def settle(self, timeout: float) -> None:
        _flush_streams()
        mark = len(self._drained)
        event = self._drained[mark] = threading.Event()
        self._order(pump.DRAIN, str(mark).encode())
        deadline = time.monotonic() + timeout
        asked = self._process
        while not event.wait(0.01 if self._replaced else 0.1) and time.monotonic() < deadline and not self._is_empty():
            if self._process is not asked:
                asked = self._process
                self._order(pump.DRAIN, str(mark).encode())

    def _is_empty(self) -> bool:
        """Return whether this process is in the place of the pump, and has passed on all there is."""
        if not self._replaced:
            return False
        for mine in self._mine:
            with mine.lock:
                if mine.ready():
                    return False
        return True

    def end(self, timeout: float) -> None:
        for place in self._places:
            if not place.gone:
                place.restore()
        self.settle(timeout)  # what others have printed meanwhile
        self._ended = True
        self._order(pump.CLOSE)
        os.environ.pop(TAPPED, None)
        if self._hooked is not None:
            with contextlib.suppress(AttributeError):
                del self._hooked.write

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._control.close()
        for place in self._places:
            place.close()
        self._ended = True


def is_tapped_for(run_id: str) -> bool:
    """Return whether what this process prints is recorded in the run by one of those that it descends from."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        told = json.loads(os.environ[TAPPED])
        return run_id in told["runs"] and all(list(_identity(os.fstat(fd))) in told["places"] for fd in (1, 2))
    return False


def _destinations() -> list[tuple[list[Stream], int]]:
    """Return which streams go to one place, with one of their descriptors.

    Raises:
        OSError: one is closed.
    """
    first, second = os.fstat(1), os.fstat(2)
    both: list[Stream] = ["stdout", "stderr"]
    if _identity(first) == _identity(second):
        kind = stat.S_IFMT(first.st_mode)
        if kind in (stat.S_IFIFO, stat.S_IFSOCK) or (kind == stat.S_IFCHR and os.isatty(1)):
            return [(both, 1)]
        if kind == stat.S_IFREG and (_appends(1) == _appends(2)) and os.lseek(1, 0, os.SEEK_CUR) == os.lseek(2, 0, os.SEEK_CUR):
            return [(both, 1)]
    return [(["stdout"], 1), (["stderr"], 2)]


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_rdev


def _appends(fd: int) -> bool:
    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)


def _pseudo_terminal(fd: int) -> tuple[int, int]:
    """Return the two ends of a pseudo-terminal like the terminal at `fd`, which leaves it to that one to turn line ends into what it needs.

    Raises:
        OSError: there is none.
    """
    source, sink = os.openpty()
    try:
        modes = termios.tcgetattr(fd)
        modes[1] &= ~termios.OPOST
        if pump.PACKETS:
            modes[3] |= pump.EXTPROC
            fcntl.ioctl(source, termios.TIOCPKT, struct.pack("i", 1))
        termios.tcsetattr(sink, termios.TCSANOW, modes)
        fcntl.ioctl(sink, termios.TIOCSWINSZ, fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    except (OSError, termios.error) as error:
        os.close(source)
        os.close(sink)
        raise OSError(f"no pseudo-terminal: {error}") from error
    return source, sink


def _flush_streams() -> None:
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # None, closed, or a reader that has gone: the program will see
            file.flush()

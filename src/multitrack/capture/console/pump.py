"""A process of its own that passes on what a program prints, to where the program would have printed it, and tells the program of it.

    program, its children, C code --fd 1, fd 2--> pipe or pseudo-terminal --pump--> the terminal, file or pipe that was there before
                                                                            |
                                                  program <--socket---------+  (or `last_words`, once the program is gone)

A process, not a thread: a thread stands still while C code holds the interpreter's lock (which would block that very code once the pipe
is full), and dies with the program, and with it what was in the pipe. This one goes on until nobody can write any more, so what is printed
by a program that is killed, aborts or leaves children behind gets out all the same.

Started as a script, on the standard library alone, without `site`: it is up in 20 ms.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
import threading
import time
from collections import deque
from typing import Any

CHUNK = 65_536
MOST_UNTOLD = 32 << 20
"""Bytes that are kept for a program that does not fetch them; what comes beyond that is passed on and not recorded."""
HEADER = struct.Struct("!cBqI")
"""What the pump tells: kind, place, time in microseconds, length of what follows."""
ORDER = struct.Struct("!cI")
"""What the program tells: kind, length of what follows."""

PRINTED, DROPPED, GONE, DRAINED, HELLO = b"p", b"x", b"g", b"d", b"h"
DRAIN, TAKEN, CLOSE = b"D", b"T", b"C"

_WINDOW_INTERVAL = 0.5
"""Seconds between two looks at a terminal's size: its signal goes to its own session only."""
_LAST_WORDS_WAIT = 1.0
"""Seconds that children of a program that has died are listened to."""


PACKETS = sys.platform == "linux"
"""Whether a pseudo-terminal tells its other end when its modes change: in packet mode, with EXTPROC."""
EXTPROC = 0o200000
_TOLD_MODES = 0x40
"""In the byte before each packet [TIOCPKT_IOCTL]."""


def unkept(size: int) -> str:
    """Return the line that stands where so many bytes were passed on and not recorded."""
    return f"\n[not recorded: {size:,} bytes that were printed faster than they could be]\n"


class Place:
    """Where one or both of the streams go."""

    def __init__(self, number: int, source: int, target: int, *, terminal: bool) -> None:
        self.number = number
        self.source = source
        self.target = target
        self.terminal = terminal
        self.open = True
        self.lock = threading.Lock()
        self._modes: list[Any] = []
        if terminal:
            with contextlib.suppress(OSError, termios.error):
                self._modes = termios.tcgetattr(target)

    def wait(self) -> None:
        """Wait until there is something to read, or never will be again."""
        self._poll(_WINDOW_INTERVAL * 1000 if self.terminal else None)

    def ready(self) -> bool:
        """Return whether there is something to read, or never will be again."""
        return self.open and self._poll(0)

    def _poll(self, timeout: float | None) -> bool:
        poll = select.poll()  # one serves one thread at a time
        poll.register(self.source, select.POLLIN)
        return bool(poll.poll(timeout))

    def pass_on(self) -> bytes:
        """Read once, and write that to the target. Called with the lock.

        Raises:
            OSError: the target takes nothing any more.
        """
        try:
            data = os.read(self.source, CHUNK)
        except OSError as error:  # a terminal nobody holds any more says EIO
            if error.errno == errno.EAGAIN:
                return b""
            data = b""
        if not data:
            self.open = False
            return b""
        if self.terminal and PACKETS:
            if data[0] & _TOLD_MODES:
                self._copy_modes()
            data = data[1:] if not data[0] else b""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self.target, left) :]
            except BlockingIOError:  # somebody who shares the terminal has made it so
                select.select([], [self.target], [], 1.0)
        return data

    def _copy_modes(self) -> None:
        """Change at the real terminal what was changed at this one: full-screen programs do that through their standard output."""
        with contextlib.suppress(OSError, termios.error, IndexError):
            before, self._modes = self._modes, termios.tcgetattr(self.source)
            now, real = self._modes, termios.tcgetattr(self.target)
            changes = [(before[place] ^ now[place]) & ~(EXTPROC if place == 3 else 0) for place in (0, 3)]
            keys = {key: new for key, (old, new) in enumerate(zip(before[6], now[6], strict=True)) if old != new}
            if any(changes) or keys:
                for place, changed in zip((0, 3), changes, strict=True):
                    real[place] = real[place] & ~changed | now[place] & changed
                for key, new in keys.items():
                    real[6][key] = new
                termios.tcsetattr(self.target, termios.TCSANOW, real)

    def copy_window(self) -> None:
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(self.target, termios.TIOCGWINSZ, bytes(8))
            if size != fcntl.ioctl(self.source, termios.TIOCGWINSZ, bytes(8)):
                fcntl.ioctl(self.source, termios.TIOCSWINSZ, size)


class Pump:
    """Passes on what comes from the places, and keeps what the program was not told of."""

    def __init__(self, control: socket.socket, places: list[Place]) -> None:
        self._control = control
        self._places = places
        self._kept: deque[tuple[bytes, int, int, bytes]] = deque()
        """What was told, or will be: kind, place, time, data; dropped once the program has written it down."""
        self._kept_bytes = 0
        self._told = 0  # how many of them were told
        self._unsent = b""
        self._dropped = 0
        self._runs: list[dict[str, Any]] = []
        self._recording = True
        self._listens = True
        self._mutex = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        control.setblocking(False)

    def run(self) -> None:
        """Pass on until nobody can write any more."""
        for place in self._places:
            threading.Thread(target=self._serve, args=(place,)).start()
        self._tell(HELLO, 0, str(os.getpid()).encode())
        try:
            self._attend()
        except BaseException:  # noqa: BLE001
            for place in self._places:  # not between a read and its write
                place.lock.acquire()
            os._exit(1)  # the program sees that, and takes over
        deadline = time.monotonic() + (_LAST_WORDS_WAIT if self._runs else 0.0)
        while any(place.open for place in self._places) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._speak_last_words()

    # -- the places

    def _serve(self, place: Place) -> None:
        while place.open:
            place.wait()
            if place.terminal:
                place.copy_window()
            with place.lock:
                if place.ready():
                    self._step(place)
        self._wake()

    def _step(self, place: Place) -> None:
        try:
            data = place.pass_on()
        except OSError:
            place.open = False
            os.close(place.source)  # with the program's own copy, this makes the next write fail, as it would have
            self._tell(GONE, place.number, b"")
            return
        if data and self._recording:
            self._tell(PRINTED, place.number, data)

    def _tell(self, kind: bytes, place: int, data: bytes) -> None:
        now = time.time_ns() // 1000
        with self._mutex:
            if kind == PRINTED and self._kept_bytes + len(data) > MOST_UNTOLD:
                self._dropped += len(data)
                return
            if self._dropped:
                self._kept.append((DROPPED, place, now, str(self._dropped).encode()))
                self._dropped = 0
            self._kept.append((kind, place, now, data))
            self._kept_bytes += len(data)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")

    # -- the program

    def _attend(self) -> None:
        """Talk to the program until it is gone, or nothing is left to talk about."""
        received = b""
        while True:
            ended = not any(place.open for place in self._places)
            if ended and not self._recording:
                return
            unsent = self._next_unsent() if self._listens else b""
            control = self._control.fileno()
            readable, writable, _ = select.select([control, self._wake_read], [control] if unsent else [], [])
            if self._wake_read in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            if writable:
                try:
                    self._unsent = unsent[self._control.send(unsent) :]
                except BlockingIOError:
                    pass
                except OSError:  # it is gone; what it said before is still to be read
                    self._listens = False
            if control in readable:
                try:
                    data = self._control.recv(CHUNK)
                except BlockingIOError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                received = self._obey(received + data)

    def _next_unsent(self) -> bytes:
        if not self._unsent:
            with self._mutex:
                if self._told < len(self._kept):
                    kind, place, now, data = self._kept[self._told]
                    self._told += 1
                    self._unsent = HEADER.pack(kind, place, now, len(data)) + data
        return self._unsent

    def _obey(self, received: bytes) -> bytes:
        while len(received) >= ORDER.size:
            kind, length = ORDER.unpack_from(received)
            if len(received) < ORDER.size + length:
                break
            order, received = received[ORDER.size : ORDER.size + length], received[ORDER.size + length :]
            if kind == DRAIN:
                self._drain()
                self._tell(DRAINED, 0, order)
            elif kind == TAKEN:
                self._forget(json.loads(order))
            elif kind == CLOSE:
                self._runs, self._recording = [], False
        return received

    def _drain(self) -> None:
        for place in self._places:
            with place.lock:
                while place.ready():
                    self._step(place)

    def _forget(self, taken: dict[str, Any]) -> None:
        """The program has written down so many of what it was told, and what is still to be is among `runs`."""
        self._runs = taken["runs"]
        with self._mutex:
            for _ in range(min(taken["count"], len(self._kept))):
                self._kept_bytes -= len(self._kept.popleft()[3])
                self._told -= 1

    # -- the program is gone

    def _speak_last_words(self) -> None:
        """Have what the program could not write down any more recorded, unless its runs have ended."""
        runs, self._runs, self._recording = self._runs, [], False
        with self._mutex:
            left = [(kind, place, now, data) for kind, place, now, data in self._kept if kind in (PRINTED, DROPPED)]
            self._kept.clear()
        if not runs or not (left or any(text for run in runs for text in run["pending"].values())):
            return
        import subprocess

        words = [[kind.decode(), place, now, base64.b64encode(data).decode()] for kind, place, now, data in left]
        shared = len(self._places) == 1
        subprocess.run(
            [sys.executable, "-P", "-m", "multitrack.capture.console.last_words"],
            input=json.dumps({"runs": runs, "printed": words, "shared": shared}).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )


def main() -> None:
    """`pump.py CONTROL [SOURCE:TARGET:IS_TERMINAL]...`: numbers of inherited descriptors."""
    if os.fork():  # nobody's child: a program that waits for all of its children must not wait for this one
        os._exit(0)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGTTOU, signal.SIGTSTP):
        signal.signal(ignored, signal.SIG_IGN)
    places = []
    for number, text in enumerate(sys.argv[2:]):
        source, target, terminal = map(int, text.split(":"))
        places.append(Place(number, source, target, terminal=bool(terminal)))
    Pump(socket.socket(fileno=int(sys.argv[1])), places).run()


if __name__ == "__main__":
    main()

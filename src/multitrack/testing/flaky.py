"""A service that fails by plan: the memory service behind a sink that stumbles where it is told to.

A fault names a call (`open`, `write`, `flush`, `finish`), the how-manieth one of its kind, and what happens there. Calls are counted
across processes where the service has a folder: a courier that died at the third write does not die there again. A folder is also
ruled from outside, while it runs: as long as it holds a file `down`, `refuse` or `hang`, every call fails, is refused, or waits.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr

from ..backend import BackendSettings, Batch, Conclusion, Entry, Position, Rejection, Sink, entry_points
from ..errors import AuthError, PermanentError, TransientError
from ..records import RunStarted
from .memory import MemoryBackend, MemorySettings, MemorySink

Result = TypeVar("Result")
Call = Literal["open", "write", "flush", "finish"]
Effect = Literal["transient", "permanent", "auth", "unexpected", "hang", "die before", "die half-way", "die after"]


class Died(BaseException):
    """Stands for the death of the process where the process must live on: nothing that delivers catches it."""


class Fault(BaseModel):
    """What goes wrong at one call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    call: Call
    at: int
    """The first call of its kind is 1."""
    effect: Effect
    seconds: float = 0.0
    """How long to hang, or (`transient`) to ask to be left alone."""


class FlakySettings(MemorySettings):
    """Settings of the flaky backend."""

    faults: tuple[Fault, ...] = ()
    refused_metrics: tuple[str, ...] = ()
    """A batch that holds a point of one of these is refused."""
    refused_runs: bool = False
    """Every write is refused, whatever it holds."""
    late: int = 0
    """How many calls of `flush` a batch waits in the queue before it reaches the service (with `keeps="count"`)."""
    token: SecretStr | None = None
    wanted_token: str | None = None
    """Where set, `token` must be this."""


class FlakyBackend(MemoryBackend):
    """The memory backend, failing by plan."""

    name: ClassVar[str] = "flaky"
    label: ClassVar[str] = "Flaky"
    settings_type: ClassVar[type[BackendSettings]] = FlakySettings

    def __init__(self, location: str | None, settings: BackendSettings | None = None) -> None:
        super().__init__(location, settings)
        self.die: Callable[[], None] = lambda: os._exit(9)
        """What dying is."""
        self._calls: Counter[str] = Counter()

    @property
    def plan(self) -> FlakySettings:
        """The settings, typed."""
        return self.settings if isinstance(self.settings, FlakySettings) else FlakySettings()

    @property
    def folder(self) -> Path | None:
        """Where the service lies, if it is in a folder."""
        return Path(self.location) if self.location is not None and self.location.startswith("/") else None

    def check(self) -> str:
        """Let in whoever has the token.

        Raises:
            AuthError, TransientError: as planned.
        """
        self.obey()
        return super().check()

    def sink(self) -> Sink:
        """Return a sink that stumbles."""
        return FlakySink(self)

    def count(self, call: Call) -> int:
        """Count a call of this kind; return which one it is."""
        if self.folder is None:
            self._calls[call] += 1
            return self._calls[call]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{call}.calls").open("ab") as file:  # a byte a call
            file.write(b".")
            return file.tell()

    def obey(self) -> None:
        """Do what the files in the folder say.

        Raises:
            AuthError, TransientError: as they say.
        """
        plan = self.plan
        token = plan.token.get_secret_value() if plan.token is not None else None
        if plan.wanted_token is not None and token != plan.wanted_token:
            raise AuthError(f"{self.label} does not know the token {token!r}: set another one")
        if self.folder is None:
            return
        while (self.folder / "hang").exists():
            time.sleep(0.05)
        if (self.folder / "refuse").exists():
            raise AuthError(f"{self.label} refuses the login: set MULTITRACK_FLAKY__TOKEN")
        if (self.folder / "down").exists():
            raise TransientError(f"{self.label} does not answer")


class FlakySink(Sink):
    """One run at a service that fails by plan."""

    def __init__(self, backend: FlakyBackend) -> None:
        self._backend = backend
        self._plan = backend.plan
        self._inner = MemorySink(backend.service, backend.keeps)
        self._held: list[tuple[int, Batch]] = []
        self._flushes = 0

    def open(self, run: RunStarted) -> Position:
        """Open, or fail."""
        return self._stumble("open", lambda: self._inner.open(run))

    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Write, or fail."""
        return self._stumble("write", lambda: self._write(batch), lambda: self._write_half(batch))

    def flush(self) -> Position:
        """Flush, or fail."""
        return self._stumble("flush", self._flush)

    def finish(self, conclusion: Conclusion) -> None:
        """Finish, or fail."""
        self._stumble("finish", lambda: self._inner.finish(conclusion))

    def url(self) -> str:
        """Return what the service says."""
        return self._inner.url()

    def _stumble(self, call: Call, do: Callable[[], Result], do_half: Callable[[], None] = lambda: None) -> Result:
        backend = self._backend
        backend.obey()
        number = backend.count(call)
        fault = next((fault for fault in self._plan.faults if (fault.call, fault.at) == (call, number)), None)
        if fault is None:
            return do()
        if fault.effect == "die half-way":
            do_half()
        if fault.effect == "die after":
            do()
        if fault.effect == "hang":
            time.sleep(fault.seconds)
            return do()
        if fault.effect.startswith("die"):
            backend.die()
            raise Died
        raise _error_of(fault, f"{call} {number}")

    def _write(self, batch: Batch) -> Sequence[Rejection]:
        names = {name for name, *_ in entry_points(batch.entries)}
        for refused in self._plan.refused_metrics:
            if refused in names:
                raise PermanentError(f"metric {refused!r} is not welcome")
        if self._plan.refused_runs:
            raise PermanentError("the experiment was deleted")
        if self._plan.late:
            self._held.append((self._flushes + self._plan.late, batch))
            return ()
        return self._inner.write(batch)

    def _write_half(self, batch: Batch) -> None:
        half: Sequence[Entry] = batch.entries[: len(batch.entries) // 2]
        with contextlib.suppress(PermanentError):
            self._inner.write(Batch(batch.number, half, batch.files))

    def _flush(self) -> Position:
        self._flushes += 1
        while self._held and self._held[0][0] <= self._flushes:
            self._inner.write(self._held.pop(0)[1])
        return self._inner.flush()


def _error_of(fault: Fault, where: str) -> Exception:
    text = f"planned for {where}"
    if fault.effect == "transient":
        return TransientError(text, retry_after=fault.seconds or None)
    if fault.effect == "permanent":
        return PermanentError(text)
    if fault.effect == "auth":
        return AuthError(text)
    return ZeroDivisionError(text)


__all__ = ["Call", "Died", "Effect", "Fault", "FlakyBackend", "FlakySettings", "FlakySink"]

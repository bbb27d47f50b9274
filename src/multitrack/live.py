"""What stands around a run while it goes on: capture, couriers, and the lines that people see."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .capture import Capture
from .capture.captures import Captures
from .capture.recorder import Recorder
from .delivery.ledger import Ledger
from .delivery.progress import Progress
from .delivery.start import start_courier
from .ending import forget
from .errors import BackendError, ConfigError
from .journal import Journal, RunFolder, write_atomically
from .messages import say, shown
from .records import Ending
from .run import Run
from .run_session import Session
from .wording import ProgressLine, duration, label, progress_line, waiting_for

if TYPE_CHECKING:
    from .config import Settings, Target

WATCH_INTERVAL = 2.0
"""Seconds between two looks at the couriers while training goes on."""
CAPTURE_TIMEOUT = 30.0
"""Seconds that the end of a run waits for a capture that is still under way."""
_CONCLUDE_POLL = 0.05


class LiveSession(Session):
    """Around a run that is delivered while it goes on."""

    def __init__(self, run: Run, settings: Settings, capture: Capture, recorder: Recorder, *, on_error: str) -> None:
        self._run = run
        self._folder = RunFolder(run.dir)
        self._settings = settings
        self._on_error = on_error
        self._targets: Mapping[str, Target] = {target.name: target for target in settings.targets}
        self.recorder = recorder
        self._captures = Captures(capture, recorder)
        self._stop = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="multitrack-watch", daemon=True)
        self._warned: dict[str, str] = {}
        self._started = time.monotonic()
        self._took = 0.0

    # -- the start

    def begin(self) -> None:
        """Note the targets, start their couriers, and begin to capture."""
        for notice in self._settings.notices:
            say(notice)
        if self._sends:
            self._note_targets()
        self._start_couriers()
        self._captures.begin()
        if self._targets and self._delivers:
            self._watcher.start()
        if not self._settings.quiet:
            say(f"run {label(self._run)} of {self._run.project}, recorded in {shown(self._run.dir)}{self._destinations()}")

    def _note_targets(self) -> None:
        for name, target in self._targets.items():
            try:
                Ledger(self._folder, name).write_target(target.public())
                self._folder.store.add_pending(name, self._folder)
            except OSError as error:
                self._warn(name, f"it cannot be noted as a target: {error.strerror or error}")

    @property
    def _sends(self) -> bool:
        """Whether this process sees to it that the targets get the run: its owner does, and ranks without the first one beside them."""
        return not self._run.joined or self._folder.part.exists()

    @property
    def _delivers(self) -> bool:
        return self._settings.mode == "online" and self._sends

    def _start_couriers(self) -> None:
        if not self._delivers:
            return
        for name, target in self._targets.items():
            if Ledger(self._folder, name).status().state == "stopped":
                continue  # until the next sync
            try:
                start_courier(self._folder.store, name, target.secrets())
            except OSError as error:
                self._warn(name, f"its courier cannot be started: {error}")

    def _destinations(self) -> str:
        if not self._targets:
            return ""
        verb = "delivered to" if self._delivers or self._settings.mode == "inline" else "for"
        return f"; {verb} {', '.join(map(str, self._targets.values()))}"

    # -- while it goes on

    def _watch(self) -> None:
        """Start couriers that have died, and say once what a service complains about."""
        while not self._stop.wait(WATCH_INTERVAL):
            try:
                self._start_couriers()
                self._warn_of_errors()
            except Exception as error:  # noqa: BLE001 - a broken watch must not end the training
                self._warn("delivery", f"{type(error).__name__}: {error}")

    def _warn_of_errors(self) -> None:
        for name in self._targets:
            status = Ledger(self._folder, name).status()
            if status.error and status.state in ("retrying", "stopped"):
                self._warn(Ledger(self._folder, name).label(), status.error)

    def _warn(self, name: str, error: str) -> None:
        if name not in self._warned:
            self._warned[name] = error
            say(f"{name}: {error}. Training goes on, everything is in the journal")

    def url(self, target: str, wait: float) -> str | None:
        """Return the page where a target shows the run.

        Raises:
            ConfigError: the run has no such target.
        """
        if target not in self._targets:
            raise ConfigError(f"run {self._run.id} has no target {target!r}; it has {', '.join(self._targets) or 'none'}")
        ledger = Ledger(self._folder, target)
        deadline = time.monotonic() + wait
        while (url := ledger.committed().url) is None and time.monotonic() < deadline:
            time.sleep(_CONCLUDE_POLL)
        return url

    def describe(self, run: Run) -> str:
        """Return a line for the run and one for each target."""
        lines = [f"run {label(run)} of {run.project}: {run.ended or 'running'}, in {shown(run.dir)}"]
        lines += [f"  {progress_line(Ledger(self._folder, name).progress())}" for name in self._targets]
        return "\n".join(lines)

    # -- the end

    def before_end(self, timeout: float | None) -> None:
        """Wait for what is still being captured."""
        self._stop.set()
        self._took = time.monotonic() - self._started
        failed = self._captures.end(CAPTURE_TIMEOUT if timeout is None else min(timeout, CAPTURE_TIMEOUT))
        for what, error in failed.items():
            say(f"{what} could not be recorded: {error}")

    def after_end(self, status: Ending, *, refused: int, timeout: float | None) -> None:
        """Wait for the targets, then say how it went."""
        forget(self._run)
        self._end_part(status)
        write_summary(self._folder)
        if self._sends:
            if self._settings.mode == "inline":
                self._deliver_here()
            elif self._delivers:
                self._wait_for_couriers(self._settings.finish_timeout if timeout is None else timeout)
        else:
            self._hand_over()
        if refused:
            say(f"run {label(self._run)}: the disk refused {refused:,} {'record' if refused == 1 else 'records'}; they are lost")
        progress = [] if not self._sends else [Ledger(self._folder, name).progress() for name in self._targets]
        self._say_how_it_went(status, progress)
        failed = {item.target: item.error or self._warned.get(item.target) for item in progress if not item.done}
        if self._on_error == "raise" and any(failed.values()):
            raise BackendError("; ".join(f"{target}: {error}" for target, error in failed.items() if error))

    def _hand_over(self) -> None:
        """A rank may end after its run was delivered and concluded: what it has written since is to be delivered as well."""
        for name, target in self._targets.items():
            if Ledger(self._folder, name).address() is None:
                continue
            try:
                self._folder.store.add_pending(name, self._folder)
                if self._settings.mode == "online":
                    start_courier(self._folder.store, name, target.secrets())
            except OSError as error:
                self._warn(name, f"it cannot be told of what this process has written: {error.strerror or error}")

    def _end_part(self, status: Ending) -> None:
        if self._run.joined and self._folder.part.exists():
            with contextlib.suppress(OSError):
                write_atomically(self._folder.part, status.encode())

    def _deliver_here(self) -> None:
        from .delivery import Targets, settle

        for name, target in self._targets.items():
            try:
                with Targets(name, chosen=target).delivery(self._folder) as delivery:
                    if delivery.advance():
                        settle(self._folder.store, name, self._folder)
            except BackendError as error:
                self._warn(name, str(error))

    def _wait_for_couriers(self, timeout: float) -> None:
        line = ProgressLine()
        try:
            self._wait_until(time.monotonic() + timeout, line)
        except KeyboardInterrupt:  # as the progress line says: the courier goes on, and so does the program
            pass
        finally:
            line.clear()

    def _wait_until(self, deadline: float, line: ProgressLine) -> None:
        open_targets = {name: Ledger(self._folder, name) for name in self._targets}
        next_check = time.monotonic() + WATCH_INTERVAL
        while open_targets and time.monotonic() < deadline:
            for name, ledger in list(open_targets.items()):
                if is_settled(ledger):
                    del open_targets[name]
            if open_targets:
                line.show(lambda: ", ".join(waiting_for(ledger.progress()) for ledger in open_targets.values()))
                time.sleep(_CONCLUDE_POLL)
            if time.monotonic() > next_check:
                next_check = time.monotonic() + WATCH_INTERVAL
                self._start_couriers()

    def _say_how_it_went(self, status: Ending, progress: list[Progress]) -> None:
        waits = any(not item.done for item in progress)
        if self._settings.quiet and not (waits and self._settings.mode != "deferred"):
            return
        what = "this process's part of it has ended" if self._run.joined else status
        say("; ".join([f"run {label(self._run)} {what} after {duration(self._took)}", *map(progress_line, progress)]))
        if waits:
            say(f"what is left is safe in the journal; deliver it with: multitrack sync {self._run.id}")


def is_settled(ledger: Ledger) -> bool:
    """Return whether there is nothing to wait for: the target has the run, or has refused it."""
    committed = ledger.committed()
    if committed.concluded is not None and dict(committed.concluded) == dict(Journal(ledger.run).sizes()):
        return True
    return ledger.status().state == "stopped"


def write_summary(folder: RunFolder) -> None:
    """Write `run.json`: the run as it stands, for people and jq."""
    from .summary import summarise

    try:
        summarise(folder)
    except Exception as error:  # noqa: BLE001 - it can be made again at any time; the program that has just finished a run must not fail
        say(f"{folder.summary} cannot be written: {error}")

"""The courier: a process of its own that delivers all runs of a store to one target while they go on.

    python -P -m multitrack.courier TARGET     in the store's folder; a line {"secrets": {...}} on standard input
    python -P -m multitrack.courier --check    {"target": {...}, "secrets": {...}} on standard input: is the service there, may we in?
                                               ends with 0, else `UNREACHABLE`, `LOGIN_REFUSED` or 1, and the reason on standard error

It starts when a run first needs it, stays for 30 s when there is nothing to do, and exits. It is best effort: what it has not delivered
when it dies is in the journal, and the next courier, or `multitrack sync`, goes on from there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from .config.targets import Target
from .delivery import Dispatcher, Hidden, Targets, settle
from .delivery.dedicated import dedicate
from .errors import AuthError, MultitrackError, TransientError
from .journal import FileLock, Journal, RunFolder, Store

log = logging.getLogger("multitrack.courier")

LINGER = 30.0
"""Seconds to stay without anything to deliver: the next run of a sweep finds us with the SDK imported."""
POLL = 0.25
"""Seconds between two looks at the journals. Polling works on every file system; inotify does not."""
PATIENCE = 3600.0
"""Seconds to keep trying a service that is down once no run goes on any more."""
UNREACHABLE, LOGIN_REFUSED = os.EX_TEMPFAIL, os.EX_NOPERM
"""Exit codes of a check."""
_LOCK_PATIENCE = 0.2
"""Seconds. Whoever asks whether the lock is held holds it for a moment himself."""


class Courier:
    """Delivers the pending runs of a store to one target until there are none."""

    def __init__(
        self,
        store: Store,
        target: str,
        secrets: Mapping[str, str] | None = None,
        *,
        hidden: Hidden | None = None,
        linger: float = LINGER,
    ) -> None:
        self._store = store
        self._target = target
        self._secrets = secrets
        self._hidden = hidden or Hidden()
        self._linger = linger
        self._lock = FileLock(store.courier_lock(target))

    def work(self) -> None:
        """Deliver. Returns at once if another courier is at work, else when nothing has been pending for a while."""
        # A run that comes while we leave either finds our lock released and starts another courier, or is seen in the last look.
        while self._acquire():
            try:
                left = self._deliver_pending()
            finally:
                self._lock.release()
            if all(run.id in left for run in self._store.pending(self._target)):
                return

    def _acquire(self) -> bool:
        deadline = time.monotonic() + _LOCK_PATIENCE
        with contextlib.suppress(FileNotFoundError):  # the store was deleted
            while not self._lock.acquire():
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.01)
            return True
        return False

    def _deliver_pending(self) -> set[str]:
        """Work until idle; return the ids of the runs that were left alone."""
        targets = Targets(self._target, self._secrets, hidden=self._hidden)
        dispatcher = Dispatcher(targets.delivery, self._parallel(targets), self._delivered)
        try:
            last_use = last_success = time.monotonic()
            while dispatcher.refused is None and self._lock.path.exists():  # without it, the store is gone
                for run in self._store.pending(self._target):
                    dispatcher.add(run)
                dispatcher.poll()
                moment = time.monotonic()
                if dispatcher.active:
                    last_use = moment
                if not dispatcher.backoff.failures:
                    last_success = moment
                if moment - last_use > self._linger:
                    return set(dispatcher.failed)
                if moment - last_success > PATIENCE and not self._any_alive():
                    break
                time.sleep(POLL)
        finally:
            dispatcher.close()
        return {run.id for run in self._store.pending(self._target)}

    def _parallel(self, targets: Targets) -> int:
        for run in self._store.pending(self._target):
            with contextlib.suppress(MultitrackError):  # said when the run's turn comes
                return targets.target_of(run).connect().parallel
        return 1

    def _any_alive(self) -> bool:
        return any(Journal(run).is_alive() for run in self._store.pending(self._target))

    def _delivered(self, run: RunFolder) -> None:
        if settle(self._store, self._target, run):
            log.info("%s is delivered", run.id)


class _Format(logging.Formatter):
    """Lines with their time, and without secrets."""

    def __init__(self, hidden: Hidden) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._hidden = hidden

    def format(self, record: logging.LogRecord) -> str:
        return self._hidden(super().format(record))


def check(given: Mapping[str, Any]) -> str:
    """Ask a service whether it is there and lets us in; return its line.

    Raises:
        MultitrackError: it is not, or does not.
    """
    target = Target.from_public(given["target"])
    return target.with_secrets(given["secrets"]).connect().check()


def _check(given: Mapping[str, Any], hidden: Hidden) -> int:
    hidden.add(given["secrets"].values())
    try:
        line = check(given)
    except Exception as error:  # noqa: BLE001 - an SDK may raise anything, and whoever asks gets one line
        text = str(error) if isinstance(error, MultitrackError) else f"{type(error).__name__}: {error}"
        sys.stderr.write(" ".join(hidden(text).split()) + "\n")
        return LOGIN_REFUSED if isinstance(error, AuthError) else UNREACHABLE if isinstance(error, TransientError) else 1
    sys.stdout.write(line + "\n")
    return 0


def step_aside() -> None:
    """Give way to whatever else wants the processors."""
    os.nice(19)
    # Linux may weigh whole sessions against each other (sched(7), autogroup), and we are one of our own: `nice` would count within it only.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def main() -> int:
    """Run the courier for the target named on the command line; the working folder is the store."""
    hidden = Hidden()
    handler = logging.StreamHandler()
    handler.setFormatter(_Format(hidden))
    checks = sys.argv[1] == "--check"
    logging.basicConfig(handlers=[handler], level=logging.WARNING if checks else logging.INFO)
    given = orjson.loads(sys.stdin.buffer.readline() or b"{}")
    if checks:
        return _check(given, hidden)
    step_aside()
    dedicate()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    linger = float(os.environ.get("MULTITRACK_COURIER_LINGER", LINGER))
    Courier(Store(Path.cwd()), sys.argv[1], given.get("secrets"), hidden=hidden, linger=linger).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())

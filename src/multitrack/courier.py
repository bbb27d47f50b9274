"""The courier: a process of its own that delivers all runs of a store to one target while they go on.

    python -P -m multitrack.courier TARGET        in the store's folder; {"secrets": {...}} on standard input

It starts when a run first needs it, stays for 30 s when there is nothing to do, and exits. It is best effort: what it has not delivered
when it dies is in the journal, and the next courier, or `multitrack sync`, goes on from there.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson

from .config.targets import Target
from .delivery import Delivery, Dispatcher, Ledger
from .errors import MultitrackError
from .journal import FileLock, RunFolder, Store

log = logging.getLogger("multitrack.courier")

LINGER = 30.0
"""Seconds to stay without anything to deliver: the next run of a sweep finds us with the SDK imported."""
POLL = 0.25
"""Seconds between two looks at the journals. Polling works on every file system; inotify does not."""
PATIENCE = 3600.0
"""Seconds to keep trying a service that is down once no run goes on any more."""


class Targets:
    """Makes the deliveries of runs to one target. Runs may know it under other settings: the configuration changes between them."""

    def __init__(self, name: str, secrets: Mapping[str, str] | None = None) -> None:
        self._name = name
        self._secrets = secrets or {}
        self._known: dict[bytes, Target] = {}

    def target_of(self, run: RunFolder) -> Target:
        """Return the target as the run knows it.

        Raises:
            ConfigError: its backend or a secret of it is missing here.
        """
        public = Ledger(run, self._name).read_target()
        key = orjson.dumps(public, option=orjson.OPT_SORT_KEYS)
        if key not in self._known:
            target = Target.from_public(public)
            self._known[key] = target.with_secrets(self._secrets) if self._secrets else target
        return self._known[key]

    def delivery(self, run: RunFolder, on_progress: Callable[[int, int], None] = lambda _records, _points: None) -> Delivery:
        """Return the delivery of a run.

        Raises:
            MultitrackError: the target cannot be set up here.
        """
        target = self.target_of(run)
        return Delivery(run, self._name, target.connect(), target.filters, on_progress=on_progress)


class Courier:
    """Delivers the pending runs of a store to one target until there are none."""

    def __init__(self, store: Store, target: str, secrets: Mapping[str, str] | None = None, *, linger: float = LINGER) -> None:
        self._store = store
        self._target = target
        self._secrets = secrets
        self._linger = linger
        self._lock = FileLock(store.courier_lock(target))

    def work(self) -> None:
        """Deliver. Returns at once if another courier is at work, else when nothing has been pending for a while."""
        # A run that comes while we leave either finds our lock released and starts another courier, or is seen in the last look.
        while self._lock.acquire():
            try:
                left = self._deliver_pending()
            finally:
                self._lock.release()
            if all(run.id in left for run in self._store.pending(self._target)):
                return

    def _deliver_pending(self) -> set[str]:
        """Work until idle; return the ids of the runs that were left alone."""
        targets = Targets(self._target, self._secrets)
        dispatcher = Dispatcher(targets.delivery, self._parallel(targets), self._delivered)
        try:
            last_use = last_success = time.monotonic()
            while dispatcher.refused is None:
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
            try:
                return targets.target_of(run).connect().parallel
            except MultitrackError as error:
                log.warning("%s: %s", run.id, error)
        return 1

    def _any_alive(self) -> bool:
        from .journal import Journal

        return any(Journal(run).is_alive() for run in self._store.pending(self._target))

    def _delivered(self, run: RunFolder) -> None:
        self._store.remove_pending(self._target, run)
        log.info("%s is delivered", run.id)


def main() -> int:
    """Run the courier for the target named on the command line; the working folder is the store."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = orjson.loads(sys.stdin.buffer.read() or b"{}")
    linger = float(os.environ.get("MULTITRACK_COURIER_LINGER", LINGER))
    Courier(Store(Path.cwd()), sys.argv[1], given.get("secrets"), linger=linger).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Sync: deliver in the foreground what couriers have not delivered: after an outage, on a laptop, in a batch job's epilogue."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .config.targets import Target
from .delivery import Delivery, Dispatcher, Ledger, Progress, Targets, settle
from .errors import ConfigError, MultitrackError, did_you_mean
from .journal import Journal, RunFolder, Store

PATIENCE = 300.0
"""Seconds to keep trying a service that is down, where no timeout was given."""
POLL = 0.1
RESCAN = 2.0
"""Seconds between two looks for new runs, when watching."""
RETRY_STOPPED = 600.0
"""Seconds after which a watch tries again what was refused or left alone."""
_CLOSE_TIMEOUT = 5.0


@dataclass(frozen=True)
class Outcome:
    """How one run stands at one target in the end."""

    run: str
    alive: bool
    """Whether the run still goes on."""
    progress: Progress

    @property
    def ok(self) -> bool:
        """Whether the target has all there is."""
        return self.progress.done or (self.alive and self.progress.behind == 0 and self.progress.state != "stopped")


@dataclass
class SyncReport:
    """What a sync did."""

    outcomes: list[Outcome] = field(default_factory=list)
    records: int = 0
    """Records that services acknowledged meanwhile."""
    seconds: float = 0.0
    hanging: bool = False
    """Whether a service still holds a thread of this process, which cannot be ended but with the process."""

    @property
    def ok(self) -> bool:
        """Whether everything is delivered."""
        return all(outcome.ok for outcome in self.outcomes)

    @property
    def left(self) -> list[Outcome]:
        """What is not delivered."""
        return [outcome for outcome in self.outcomes if not outcome.ok]


@dataclass(frozen=True)
class LaneProgress:
    """One target, for a progress bar."""

    target: str
    runs: int
    delivered_runs: int
    records: int
    """To deliver altogether."""
    delivered: int
    note: str
    """What it waits for, if for anything: an error, another process."""


def sync(
    store: Store,
    run_ids: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    *,
    to: Target | None = None,
    again: bool = False,
    watch: bool = False,
    timeout: float | None = None,
    on_progress: Callable[[Sequence[LaneProgress]], None] = lambda _lanes: None,
) -> SyncReport:
    """Deliver what is pending; return when all of it is delivered, refused, or given up.

    What a service refused before is tried again. Ctrl-C ends it at a point from which the next one goes on.

    Args:
        run_ids: these runs; all runs of the store if left out.
        targets: to these targets only, by name.
        to: deliver to this target, and to no other, whether the runs were meant for it or not.
        again: deliver from the first record again, for a service that has lost what it had.
        watch: go on with what comes, until `timeout` or Ctrl-C.
        timeout: seconds; if left out, a target that does not answer for 5 minutes is given up.
        on_progress: told several times a second how the targets stand.

    Raises:
        RunNotFoundError: the store has no such run.
        ConfigError: no run has such a target; or `again`, and another process is delivering the run.
    """
    started = time.monotonic()
    deadline = started + (math.inf if timeout is None else timeout)
    lanes = _Lanes(store, run_ids, [to.name] if to is not None else targets, to)
    if to is not None:
        _mean_for(store, lanes.runs(), to)
    if targets:
        _check_names(targets, lanes.runs())
    if again:
        _forget(lanes.runs(), lanes.wanted)
    try:
        lanes.scan()
        next_scan = started + RESCAN
        while time.monotonic() < deadline:
            lanes.poll()
            on_progress(lanes.progress())
            if not watch and lanes.settled(patience=PATIENCE if timeout is None else math.inf):
                break
            if watch and time.monotonic() > next_scan:
                next_scan = time.monotonic() + RESCAN
                lanes.retry_stopped()
                lanes.scan()
            time.sleep(POLL)
    except KeyboardInterrupt:
        if not watch:
            lanes.close()
            raise
    hanging = not lanes.close()
    return SyncReport(lanes.outcomes(), lanes.delivered, time.monotonic() - started, hanging)


def _mean_for(store: Store, runs: Iterable[RunFolder], target: Target) -> None:
    for run in runs:
        ledger = Ledger(run, target.name)
        if target.name not in {known.target for known in Ledger.of(run)} or ledger.read_target() != target.public():
            ledger.write_target(target.public())
        store.add_pending(target.name, run)


def _check_names(targets: Sequence[str], runs: Iterable[RunFolder]) -> None:
    known = {ledger.target for run in runs for ledger in Ledger.of(run)}
    for name in targets:
        if name not in known:
            there = f"there are {', '.join(sorted(known))}" if known else "they have none"
            raise ConfigError(f"these runs have no target {name!r};{did_you_mean(name, known)} {there}; add one with --to ADDRESS")


def _forget(runs: Iterable[RunFolder], wanted: Callable[[str], bool]) -> None:
    for run in runs:
        for ledger in Ledger.of(run):
            if wanted(ledger.target):
                if not ledger.lock.acquire():
                    raise ConfigError(f"another process is delivering run {run.id} to {ledger.target}; wait until it has ended")
                with ledger.lock:
                    ledger.forget()


class _Lanes:
    """One lane a target; they do not wait for each other."""

    def __init__(self, store: Store, run_ids: Sequence[str] | None, targets: Sequence[str] | None, chosen: Target | None) -> None:
        self._store = store
        self._run_ids = run_ids
        self._names = targets
        self._chosen = chosen
        self._lanes: dict[str, _Lane] = {}

    @property
    def delivered(self) -> int:
        return sum(lane.delivered for lane in self._lanes.values())

    def runs(self) -> list[RunFolder]:
        return [self._store.get(run_id) for run_id in self._run_ids] if self._run_ids else list(self._store.runs())

    def wanted(self, target: str) -> bool:
        return not self._names or target in self._names

    def scan(self) -> None:
        """Take on what is not delivered."""
        for run in self.runs():
            for ledger in Ledger.of(run):
                if self.wanted(ledger.target):
                    if ledger.target not in self._lanes:
                        self._lanes[ledger.target] = _Lane(self._store, ledger.target, self._chosen)
                    self._lanes[ledger.target].take(run, ledger)

    def poll(self) -> None:
        for lane in self._lanes.values():
            lane.poll()

    def settled(self, patience: float) -> bool:
        return all(lane.settled(patience) for lane in self._lanes.values())

    def retry_stopped(self) -> None:
        for lane in self._lanes.values():
            lane.retry_stopped()

    def progress(self) -> list[LaneProgress]:
        return [lane.progress() for lane in self._lanes.values()]

    def outcomes(self) -> list[Outcome]:
        return [outcome for lane in self._lanes.values() for outcome in lane.outcomes()]

    def close(self) -> bool:
        return all([lane.close() for lane in self._lanes.values()])  # noqa: C419 - every one of them


class _Lane:
    """All runs to one target."""

    def __init__(self, store: Store, target: str, chosen: Target | None) -> None:
        self._store = store
        self._target = target
        self._chosen = chosen
        self._ledgers: dict[str, Ledger] = {}
        self._done: set[str] = set()
        self._expected = 0
        self._last_success = self._stopped_since = time.monotonic()
        self.delivered = 0
        self._mutex = threading.Lock()
        self._dispatcher = self._dispatch()

    def _dispatch(self) -> Dispatcher:
        self._targets = Targets(self._target, chosen=self._chosen)
        return Dispatcher(self._make, 4, self._delivered)

    def _make(self, run: RunFolder) -> Delivery:
        return self._targets.delivery(run, self._count)

    def _count(self, records: int, _points: int) -> None:
        with self._mutex:  # several runs at a time
            self.delivered += records

    def _delivered(self, run: RunFolder) -> None:
        if settle(self._store, self._target, run):
            self._done.add(run.id)

    def take(self, run: RunFolder, ledger: Ledger) -> None:
        """Take a run on unless the target has it."""
        if run.id in self._ledgers and run.id not in self._done:
            return
        progress = ledger.progress()
        if progress.done:
            return
        self._done.discard(run.id)
        self._ledgers[run.id] = ledger
        self._expected += progress.behind
        self._dispatcher.add(run)

    def poll(self) -> None:
        self._dispatcher.poll()
        if not self._dispatcher.backoff.failures:
            self._last_success = time.monotonic()
        if not (self._dispatcher.refused or self._dispatcher.failed):
            self._stopped_since = time.monotonic()

    def settled(self, patience: float) -> bool:
        """Whether there is nothing more to wait for."""
        if self._dispatcher.refused or time.monotonic() - self._last_success > patience:
            return True
        return all(state == "caught up" or (state == "busy" and self._has_all(run)) for run, state in self._dispatcher.states().items())

    def _has_all(self, run_id: str) -> bool:
        ledger = self._ledgers[run_id]
        return Outcome(run_id, Journal(ledger.run).is_alive(), ledger.progress()).ok

    def retry_stopped(self) -> None:
        if time.monotonic() - self._stopped_since > RETRY_STOPPED:
            self._dispatcher.close(_CLOSE_TIMEOUT)
            self._dispatcher = self._dispatch()
            for run_id, ledger in self._ledgers.items():
                if run_id not in self._done:
                    self._dispatcher.add(ledger.run)

    def progress(self) -> LaneProgress:
        total = max(self._expected, self.delivered)
        return LaneProgress(self._target, len(self._ledgers), len(self._done), total, self.delivered, self._note())

    def _note(self) -> str:
        dispatcher, states = self._dispatcher, list(self._dispatcher.states().values())
        if dispatcher.refused:
            return self._targets.hidden(str(dispatcher.refused))
        if "retrying" in states:
            return next((status.error for ledger in self._open() if (status := ledger.status()).state == "retrying" and status.error), "")
        if states and all(state == "busy" for state in states):
            behind = sum(ledger.progress().behind for ledger in self._open())
            return f"its courier is at work, {behind:,} records to go"
        return ""

    def _open(self) -> Iterator[Ledger]:
        return (ledger for run_id, ledger in self._ledgers.items() if run_id in self._dispatcher.states())

    def outcomes(self) -> Iterator[Outcome]:
        for run_id, ledger in self._ledgers.items():
            try:
                yield Outcome(run_id, Journal(ledger.run).is_alive(), ledger.progress())
            except (OSError, MultitrackError):
                if ledger.run.exists():
                    raise

    def close(self) -> bool:
        return self._dispatcher.close(_CLOSE_TIMEOUT)

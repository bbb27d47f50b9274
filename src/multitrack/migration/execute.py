"""Moving runs: several at a time, each to its end or not at all, and none at the expense of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ..adapt import Losses
from ..backend import Backend, RunRef, Source
from ..config.filters import Filters
from ..delivery import Delivery
from ..delivery.dispatch import Backoff
from ..errors import AuthError, MigrationError, MultitrackError, TransientError
from ..journal import RunFolder
from .plan import Planned, generations
from .report import Action, MigrationReport, Outcome
from .stage import Stage, Staged

ATTEMPTS = 5
"""How often a run is tried when a service fails, with longer and longer waits in between."""
DOWN_AFTER = 3
"""How many runs in a row a service may fail for good before it is taken to be down, and the rest is left for another day."""

LOOK = 0.5
"""Seconds that the main thread sleeps at a time: a Ctrl-C that comes just as it falls asleep does not wake it."""


class Migration:
    """One source, one destination, and the runs that are to be moved.

    Args:
        source: where they are read.
        stage: where they are kept in between.
        target: the name of the destination in the runs' ledgers.
        backend: the destination.
        filters: what of the runs the destination gets.
        attach: whether their neutral records go along.
        keep: whether staged runs are kept once they have arrived.
    """

    def __init__(
        self, source: Source, stage: Stage, target: str, backend: Backend, filters: Filters, *, attach: bool = True, keep: bool = False
    ) -> None:
        self._source = source
        self._stage = stage
        self._target = target
        self._backend = backend
        self._filters = filters
        self._attach = attach
        self._keep = keep
        self._stop = threading.Event()
        self._failures_in_a_row = 0

    def run(self, planned: Iterable[Planned], report: MigrationReport, on_outcome: Callable[[Outcome], None]) -> None:
        """Move the runs, and note in `report` what became of each."""
        todo = {item.run.id: item for item in planned}
        for generation in generations([item.run for item in todo.values()]):
            self._run_generation([todo[run.id] for run in generation], report, on_outcome)
        report.untried = len(todo) - len(report.outcomes) if report.stopped else 0

    def _run_generation(self, items: list[Planned], report: MigrationReport, on_outcome: Callable[[Outcome], None]) -> None:
        """Move runs that do not depend on each other."""
        waiting = iter(items)
        with ThreadPoolExecutor(max_workers=self._backend.parallel, thread_name_prefix="multitrack-migration") as pool:
            under_way: set[Future[Outcome | None]] = set()
            try:
                while True:
                    # A few at a time: a hundred thousand runs must neither lie in a queue nor be waited for after a Ctrl-C.
                    while not self._stop.is_set() and len(under_way) < self._backend.parallel and (item := next(waiting, None)):
                        under_way.add(pool.submit(self._move, item, report))
                    if not under_way:
                        return
                    done, under_way = wait(under_way, timeout=LOOK, return_when=FIRST_COMPLETED)
                    for future in done:
                        if (outcome := future.result()) is not None:
                            report.add(outcome)
                            on_outcome(outcome)
            except BaseException:
                self._stop.set()
                raise

    def _move(self, item: Planned, report: MigrationReport) -> Outcome | None:
        run = item.run
        if item.standing == "unchanged":
            return Outcome(run.id, run.project, run.name, "unchanged", url=run.url)
        try:
            outcome = self._try(item)
        except AuthError as error:
            self._halt(report, str(error))
            return _failed(run, error)
        except TransientError as error:
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= DOWN_AFTER:
                self._halt(report, f"{self._failures_in_a_row} runs in a row failed, the last by: {error}")
            return _failed(run, error)
        except Exception as error:  # noqa: BLE001 - one bad run never ends the others
            return _failed(run, error)
        self._failures_in_a_row = 0
        return outcome

    def _halt(self, report: MigrationReport, why: str) -> None:
        report.stopped = report.stopped or why
        self._stop.set()

    def _try(self, item: Planned) -> Outcome:
        backoff = Backoff()
        while True:
            try:
                return self._deliver(item)
            except TransientError as error:
                pause = backoff.fail(error.retry_after)
                if backoff.failures >= ATTEMPTS or self._stop.is_set():
                    raise
                deadline = time.monotonic() + pause
                while time.monotonic() < deadline and not self._stop.is_set():
                    time.sleep(0.1)

    def _deliver(self, item: Planned) -> Outcome:
        run = item.run
        staged, borrowed = self._bring(run)
        if staged.retold and item.standing not in ("new", "partial"):
            raise MigrationError(
                "something of the run was taken away at its source since it was brought here, which cannot be told of a run that is here "
                "already: bring it to a place where it is not, or as it was recorded, with --as-recorded"
            )
        with Delivery(
            staged.folder, self._target, self._backend, self._filters, attach=self._attach, version=run.version, recheck=True
        ) as delivery:
            whole = delivery.advance()
            progress = delivery.ledger.progress()
        if whole and not borrowed and not self._keep:
            self._stage.drop(run)
        action: Action = "migrated" if item.standing in ("new", "partial") else "updated"
        return Outcome(
            run.id,
            run.project,
            run.name,
            action if whole else "running",
            records=progress.delivered,
            points=progress.points,
            url=progress.url,
            problems=tuple(staged.problems),
            notices=tuple(staged.notices),
            losses=Losses.from_json(progress.losses),
            rejected=progress.rejected,
        )

    def _bring(self, run: RunRef) -> tuple[Staged, bool]:
        """Return the run's journal, and whether it is the source's own."""
        own = self._source.journal(run)
        return (Staged(RunFolder(own)), True) if own is not None else (self._stage.bring(run), False)


def _failed(run: RunRef, error: Exception) -> Outcome:
    text = str(error) if isinstance(error, MultitrackError) else f"{type(error).__name__}: {error}"
    return Outcome(run.id, run.project, run.name, "failed", error=" ".join(text.split()))

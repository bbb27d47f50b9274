"""Many runs to one target at a time: who is next, who waits after a failure, who is out.

A failure of the service (`TransientError`) holds all runs back, for longer each time; a refused login ends the target; whatever else
goes wrong concerns one run, and the others go on. Runs get their turns in slices, so that a long one does not keep the others waiting.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Literal

from ..errors import AuthError, MultitrackError, TransientError
from ..journal import RunFolder
from ..records import now
from .deliver import Delivery, DeliveryBusyError
from .ledger import Ledger, Status

log = logging.getLogger("multitrack.delivery")

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds to wait after the first failure, doubled with each further one, and at most."""
IDLE_WAIT = 1.0
"""Seconds between two looks at a run that goes on."""
SLICE = 5.0
"""Seconds of a run's turn."""
UNEXPECTED_FAILURES = 5
"""How often in a row a run may fail in a way that no adapter foresaw before it is left alone."""


def _pause_after(failures: int) -> float:
    return min(FIRST_WAIT * 2.0 ** min(failures, 10), LONGEST_WAIT)


class Backoff:
    """How long to leave a service alone: doubling, with jitter so that many clients do not come back at once, and as asked by it."""

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0

    def fail(self, retry_after: float | None = None) -> float:
        """Count a failure; return the seconds to wait."""
        pause = _pause_after(self.failures) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not cryptography
        pause = max(pause, retry_after or 0.0)
        self.failures += 1
        self.until = time.monotonic() + pause
        return pause

    def succeed(self) -> None:
        """The service is back."""
        self.failures = 0
        self.until = 0.0


JobState = Literal["waiting", "busy", "caught up", "retrying"]
"""`busy`: another process delivers the run. `caught up`: the run goes on, and the target has what there is."""


@dataclass
class _Job:
    delivery: Delivery
    due: float = 0.0
    failures: int = 0
    state: JobState = "waiting"
    future: Future[bool] | None = field(default=None, repr=False)


class Dispatcher:
    """Delivers runs to one target with a few threads. `poll` is called again and again, by one thread.

    Args:
        make: makes the delivery of a run.
        parallel: how many runs at a time.
        on_delivered: told when the target has a whole run.
    """

    def __init__(self, make: Callable[[RunFolder], Delivery], parallel: int, on_delivered: Callable[[RunFolder], None]) -> None:
        self._make = make
        self._on_delivered = on_delivered
        self._pool = ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="multitrack-delivery")
        self._jobs: dict[str, _Job] = {}
        self.backoff = Backoff()
        self.failed: dict[str, str] = {}
        """Run id to the error, for runs that are left alone."""
        self.refused: AuthError | None = None
        """The service refused the login: nothing goes any further."""

    @property
    def active(self) -> int:
        """How many runs are not delivered and not left alone."""
        return len(self._jobs)

    def states(self) -> dict[str, JobState]:
        """Return how each active run stands, by its id."""
        return {run_id: job.state for run_id, job in self._jobs.items()}

    def add(self, run: RunFolder) -> None:
        """Take a run on; one that is known already, active or left alone, does not change."""
        if run.id in self._jobs or run.id in self.failed or self.refused is not None:
            return
        try:
            self._jobs[run.id] = _Job(self._make(run))
        except MultitrackError as error:
            log.error("%s: %s; this run is left alone until the next sync", run.id, error)  # noqa: TRY400 - foreseen: no traceback
            self.failed[run.id] = str(error)
        except OSError as error:  # the run was deleted just now, or the disk refuses: the next look tells
            log.warning("%s: %s", run.id, error)

    def poll(self) -> None:
        """Collect what has ended and start what is due. Returns at once."""
        for run_id, job in list(self._jobs.items()):
            if job.future is not None and job.future.done():
                future, job.future = job.future, None
                self._collect(run_id, job, future)
        moment = time.monotonic()
        if self.refused is not None or moment < self.backoff.until:
            return
        for job in self._jobs.values():
            if job.future is None and moment >= job.due:
                job.future = self._pool.submit(job.delivery.advance, SLICE)

    def close(self, timeout: float | None = None) -> bool:
        """Wait for the deliveries under way and let go of all; return False if some still hang after `timeout` seconds."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait([job.future for job in self._jobs.values() if job.future is not None], timeout)
        hanging = [job for job in self._jobs.values() if job.future is not None and not job.future.done()]
        for job in self._jobs.values():
            if job not in hanging:
                if self.refused is not None and job.delivery.ledger.status().state == "delivering":  # was under way at the refusal
                    self._note(job.delivery.ledger, Status("stopped", str(self.refused), 1, now()))
                job.delivery.close()
        return not hanging

    def _collect(self, run_id: str, job: _Job, future: Future[bool]) -> None:
        try:
            whole = future.result()
        except DeliveryBusyError:
            job.state, job.due = "busy", time.monotonic() + IDLE_WAIT
        except TransientError as error:
            self._hold_back(run_id, job, error)
        except AuthError as error:
            self._refuse(error)
        except (MultitrackError, ImportError) as error:
            self._leave_alone(run_id, job, str(error))
        except Exception as error:  # noqa: BLE001 - an SDK may raise anything; the other runs must go on
            self._wonder(run_id, job, error)
        else:
            self._go_on(run_id, job, whole)

    def _go_on(self, run_id: str, job: _Job, whole: bool) -> None:
        self.backoff.succeed()
        if job.failures:  # it works again: the others need not sit out their waits
            for other in self._jobs.values():
                other.due = 0.0 if other.state == "retrying" else other.due
        job.failures = 0
        if whole:
            job.delivery.close()
            del self._jobs[run_id]
            self._on_delivered(job.delivery.journal.run)
        elif job.delivery.caught_up:
            job.state, job.due = "caught up", time.monotonic() + IDLE_WAIT
        else:
            job.state, job.due = "waiting", 0.0

    def _hold_back(self, run_id: str, job: _Job, error: TransientError) -> None:
        moment = time.monotonic()
        if moment >= self.backoff.until:  # else: another run has just met the same outage
            self.backoff.fail(error.retry_after)
        job.failures += 1
        # Its own wait as well: where only this run fails, the others' success must not make it try every second.
        job.due = max(self.backoff.until, moment + _pause_after(job.failures - 1) / 2)
        job.state = "retrying"
        log.warning("%s: %s; trying again in %.0f s", run_id, error, job.due - moment)
        self._note(job.delivery.ledger, Status("retrying", str(error), job.failures, now()))

    def _refuse(self, error: AuthError) -> None:
        if self.refused is None:
            log.error("%s; nothing more is sent to this target", error)
        self.refused = error
        for job in self._jobs.values():
            self._note(job.delivery.ledger, Status("stopped", str(error), 1, now()))

    def _wonder(self, run_id: str, job: _Job, error: Exception) -> None:
        if not job.delivery.journal.run.exists():
            log.info("%s was deleted", run_id)
            job.delivery.close()
            del self._jobs[run_id]
            return
        job.failures += 1
        job.state, job.due = "retrying", time.monotonic() + min(2.0**job.failures, LONGEST_WAIT)
        text = f"{type(error).__name__}: {error}"
        log.error("%s: unexpected", run_id, exc_info=error)
        self._note(job.delivery.ledger, Status("retrying", text, job.failures, now()))
        if job.failures >= UNEXPECTED_FAILURES:
            self._leave_alone(run_id, job, text)

    def _leave_alone(self, run_id: str, job: _Job, error: str) -> None:
        log.error("%s: %s; this run is left alone until the next sync", run_id, error)
        self.failed[run_id] = error
        del self._jobs[run_id]
        self._note(job.delivery.ledger, Status("stopped", error, job.failures + 1, now()))
        job.delivery.close()

    @staticmethod
    def _note(ledger: Ledger, status: Status) -> None:
        try:
            ledger.set_status(status)
        except OSError as error:
            log.warning("%s", error)

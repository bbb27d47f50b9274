"""Many runs to one target at a time: who is next, who waits after a failure, who is out.

A failure of the service (`TransientError`) holds all runs back, for longer each time; a refused login ends the target; whatever else
goes wrong concerns one run, and the others go on.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

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
UNEXPECTED_FAILURES = 5
"""How often in a row a run may fail in a way that no adapter foresaw before it is left alone."""


class Backoff:
    """How long to leave a service alone: doubling, with jitter so that many clients do not come back at once, and as asked by it."""

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0

    def fail(self, retry_after: float | None = None) -> float:
        """Count a failure; return the seconds to wait."""
        wait = min(FIRST_WAIT * 2**self.failures, LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not cryptography
        wait = max(wait, retry_after or 0.0)
        self.failures += 1
        self.until = time.monotonic() + wait
        return wait

    def succeed(self) -> None:
        self.failures = 0
        self.until = 0.0


@dataclass
class _Job:
    delivery: Delivery
    due: float = 0.0
    failures: int = 0
    future: Future[bool] | None = field(default=None, repr=False)


class Dispatcher:
    """Delivers runs to one target with a few threads.

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

    def add(self, run: RunFolder) -> None:
        """Take a run on; one that is known already, delivered or failed, does not change."""
        if run.id not in self._jobs and run.id not in self.failed and self.refused is None:
            try:
                self._jobs[run.id] = _Job(self._make(run))
            except MultitrackError as error:
                self.failed[run.id] = str(error)

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
                job.future = self._pool.submit(job.delivery.advance)

    def close(self) -> None:
        """Wait for the deliveries under way and let go of all."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for job in self._jobs.values():
            job.delivery.close()

    def _collect(self, run_id: str, job: _Job, future: Future[bool]) -> None:
        try:
            whole = future.result()
        except DeliveryBusyError:
            job.due = time.monotonic() + IDLE_WAIT
        except TransientError as error:
            wait = self.backoff.fail(error.retry_after) if time.monotonic() >= self.backoff.until else self.backoff.until - time.monotonic()
            job.failures += 1
            log.warning("%s: %s; trying again in %.0f s", run_id, error, wait)
            self._note(job.delivery.ledger, Status("retrying", str(error), self.backoff.failures, now()))
        except AuthError as error:
            self.refused = error
            log.error("%s; nothing more is sent to this target", error)
            for other in self._jobs.values():
                self._note(other.delivery.ledger, Status("stopped", str(error), 1, now()))
        except MultitrackError as error:
            self._leave_alone(run_id, job, str(error))
        except Exception as error:  # noqa: BLE001 - an SDK may raise anything; the other runs must go on
            job.failures += 1
            job.due = time.monotonic() + min(2.0**job.failures, LONGEST_WAIT)
            log.exception("%s: unexpected", run_id)
            self._note(job.delivery.ledger, Status("retrying", f"{type(error).__name__}: {error}", job.failures, now()))
            if job.failures >= UNEXPECTED_FAILURES:
                self._leave_alone(run_id, job, f"{type(error).__name__}: {error}")
        else:
            job.failures = 0
            self.backoff.succeed()
            if whole:
                job.delivery.close()
                del self._jobs[run_id]
                self._on_delivered(job.delivery.journal.run)
            else:
                job.due = time.monotonic() + IDLE_WAIT

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

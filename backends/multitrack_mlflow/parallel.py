"""Requests to a server, a few at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from multitrack.errors import AuthError, BackendError, PermanentError, TransientError

Item = TypeVar("Item")


class Requests:
    """Does things by several threads; where `parallel` is False, by the caller's own, one after the other. Used by one thread."""

    def __init__(self, at_a_time: int, *, parallel: bool) -> None:
        self._at_a_time = at_a_time
        self._parallel = parallel
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: set[Future[None]] = set()

    def each(self, do: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Do it for every item, and return when all are done.

        Raises:
            BackendError: the one of several that must be heeded first: a refused login, then an outage, then a refused item. What had not
                begun by then is not done.
        """
        items = list(items)
        if len(items) > 1:
            self.begin(do, items)
            self.wait()
        else:
            for item in items:
                do(item)

    def begin(self, do: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Do it for every item, and return when the last ones are under way: at most as many as are done at a time.

        Raises:
            BackendError: likewise; it may be about what was begun before.
        """
        for item in items:
            if not self._parallel:
                do(item)
                continue
            if len(self._under_way) >= self._at_a_time:
                self._collect(wait(self._under_way, return_when=FIRST_COMPLETED).done)
            self._pool = self._pool or ThreadPoolExecutor(self._at_a_time, thread_name_prefix="multitrack-mlflow")
            self._under_way.add(self._pool.submit(do, item))

    def wait(self) -> None:
        """Return when everything is done.

        Raises:
            BackendError: likewise.
        """
        self._collect(wait(self._under_way).done)

    def close(self) -> None:
        """Let what is under way end, whatever comes of it, and end the threads. Never raises."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
        self._under_way.clear()

    def _collect(self, done: set[Future[None]]) -> None:
        """Take note of what is done; after a failure, wait for the rest, and raise."""
        if any(future.exception() is not None for future in done):
            done = self._under_way
            wait(done)
        failures = [error for future in done if (error := future.exception()) is not None]
        self._under_way = self._under_way - done
        if failures:
            raise min(failures, key=_urgency)


def _urgency(error: BaseException) -> int:
    kinds: tuple[type[BackendError], ...] = (AuthError, TransientError, PermanentError)
    return next((rank for rank, kind in enumerate(kinds) if isinstance(error, kind)), -1)

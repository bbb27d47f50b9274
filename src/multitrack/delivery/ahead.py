"""One thing made ready ahead: while a batch is on its way, the next one is prepared in a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """Calls `make`, by itself and in order, and at most once more than its results were taken.

    What was begun has ended when the `with` block is left, however it is left, and what was not taken is dropped: whoever holds a lock in
    there can release it without anything still going on.
    """

    def __init__(self, make: Callable[[], Item | None]) -> None:
        self._make = make
        self._pool: ThreadPoolExecutor | None = None
        self._coming: Future[Item | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    @property
    def pending(self) -> bool:
        """Whether something was begun and not taken."""
        return self._coming is not None

    def begin(self) -> None:
        """Make the next one from now on; nothing if that has been begun already."""
        if self._coming is not None:
            return
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="multitrack-prepare")
        try:
            self._coming = self._pool.submit(self._make)
        except RuntimeError:  # the interpreter is about to end and starts no more threads: `take` makes it then
            self._coming = None

    def take(self) -> Item | None:
        """Return what was begun, or make it now; None when there is none as of now.

        Raises:
            Exception: whatever making it raised.
        """
        coming, self._coming = self._coming, None
        found = None if coming is None else coming.result()
        return self._make() if found is None else found

    def drop(self) -> None:
        """Wait until what was begun has ended, and forget it: its result, and its error too."""
        coming, self._coming = self._coming, None
        if coming is not None:
            wait([coming])

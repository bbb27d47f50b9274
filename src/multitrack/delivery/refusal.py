"""A refused batch: which of its entries is at fault, found by halving."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..backend import Entry, Rejection
from ..errors import PermanentError

ALL_ALIKE = 100
"""After so many refusals in a row for the same reason, and nothing taken, it is not the entries."""


def write_halving(write: Callable[[Sequence[Entry]], Sequence[Rejection]], entries: Sequence[Entry]) -> list[Rejection]:
    """Hand over, in order, whatever the service takes of a batch; return the entries that it refuses.

    Raises:
        PermanentError: it takes none of them, whichever they are.
    """
    refused: list[Rejection] = []
    taken = False
    parts = [entries]
    while parts:
        part = parts.pop()
        try:
            rejections = write(part)
        except PermanentError as error:
            if len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
                continue
            refused.append(Rejection(part[0].writer, part[0].seq, str(error)))
            if not taken and len(refused) >= ALL_ALIKE and len({rejection.reason for rejection in refused}) == 1:
                raise PermanentError(f"every record of the run is refused: {error}") from error
        else:
            refused += rejections
            taken = taken or len(rejections) < len(part)
    return refused

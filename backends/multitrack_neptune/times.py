"""Times that an exporting machine shifted, set right; and the sign by which such a shift is told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from multitrack.records import Microseconds

QUARTER = 15 * 60 * 1_000_000
"""Offsets from UTC are whole numbers of quarter hours."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLY, _LATE = 5_000_000, 60_000_000
"""How much before and after its creation a run's first point may come and still count as coming right then."""


def mender(zone: str) -> Callable[[Sequence[Microseconds]], list[Microseconds]]:
    """Return a function that takes local times of a zone, marked as UTC, and gives what they are in UTC.

    Of an hour that the clocks went through twice the first pass is meant; of one that they left out, the time after it.
    """
    local = ZoneInfo(zone)
    offsets: dict[int, int] = {}

    def offset(quarter: int) -> int:
        try:
            wall = (_EPOCH + timedelta(microseconds=quarter * QUARTER)).replace(tzinfo=local)
            shift = wall.utcoffset() or timedelta()
        except OverflowError:  # no calendar has this time
            shift = timedelta()
        return offsets.setdefault(quarter, shift // timedelta(microseconds=1))

    def mend(times: Sequence[Microseconds]) -> list[Microseconds]:
        return [time - (offsets[quarter] if (quarter := time // QUARTER) in offsets else offset(quarter)) for time in times]

    return mend


def find_shift(created: Microseconds, first: Microseconds) -> int | None:
    """Return by how many quarter hours a run's first point seems to be shifted; None if there is no sign of it.

    An hour at least: no place is nearer to UTC than that and not on it.
    """
    quarters = (first - created + _EARLY) // QUARTER
    rest = first - created - quarters * QUARTER
    return quarters if abs(quarters) >= 4 and rest <= _LATE else None


def may_be_right(quarters: int, last: Microseconds, heard: Microseconds | None) -> bool:
    """Return whether a run may have waited for its first point: that comes late, and the last one before the run was last heard of."""
    return quarters > 0 and heard is not None and last <= heard + _LATE


def describe_shift(quarters: int) -> str:
    """Return a shift as an offset from UTC: `+02:00`, `-03:30`."""
    minutes = abs(quarters) * 15
    return f"{'-' if quarters < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def iso(time: Microseconds) -> str:
    """Return a time as ISO text with its offset; `datetime.fromisoformat` reads it back exactly."""
    try:
        return (_EPOCH + timedelta(microseconds=time)).isoformat()
    except OverflowError:  # beyond the years 1 to 9999
        return f"{time} microseconds since 1970-01-01T00:00:00+00:00"

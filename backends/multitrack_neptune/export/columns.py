"""From Arrow's columns to Python's lists, without numpy. Pure."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_MILLION = 1_000_000


def flat(column: Any) -> Any:
    """Return a chunked array as a single one."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def to_list(column: Any) -> list[Any]:
    """Return the values. Of int64 and double columns without nulls many times as fast as Arrow's own `to_pylist`."""
    code = {"int64": "q", "double": "d"}.get(str(column.type))
    if code is None or column.null_count or not len(column):
        return column.to_pylist()  # type: ignore[no-any-return]
    return memoryview(column.buffers()[1]).cast(code)[column.offset : column.offset + len(column)].tolist()  # type: ignore[call-overload, no-any-return]


def steps(column: Any) -> list[int | float | None]:
    """Return a column of decimals with six places: whole ones are ints, the others the floats nearest to them."""
    try:
        return to_list(column.cast(pa.int64()))  # whole ones only: Arrow refuses to cut
    except pa.ArrowInvalid:
        # A decimal is an integer of 16 bytes, and 18 digits fit into the lower half.
        halves = memoryview(column.buffers()[1]).cast("q")
        millionths = halves[2 * column.offset : 2 * (column.offset + len(column)) : 2].tolist()
        there = column.is_valid().to_pylist() if column.null_count else repeat(True)
        return [_step(value) if known else None for value, known in zip(millionths, there, strict=False)]


def _step(millionths: int) -> int | float:
    whole, rest = divmod(millionths, _MILLION)
    return millionths / _MILLION if rest else whole


def microseconds(column: Any, missing: int) -> list[int]:
    """Return a column of times; `missing` stands for those that are not there."""
    found = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return to_list(pc.fill_null(found, missing) if found.null_count else found)

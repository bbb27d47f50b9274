"""Tables in memory: pandas, polars, Arrow. Each column has a digest, and the table one of these; columns are hashed on all cores.

The order of rows is part of it, since batches are formed from it, and so is the order of columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ..records import DataColumn, Omission
from .columns import ColumnHash, hash_arrow, hash_numbers, hash_texts
from .digest import TABLE, table_digest
from .found import Found, Inquiry
from .hashing import cores

NO_PYARROW = "pyarrow is not installed: pip install 'multitrack[data]'"


class Column(NamedTuple):
    """A column that is to be hashed."""

    name: str
    type: str
    hash: Callable[[], ColumnHash]


def describe_pandas(frame: Any, inquiry: Inquiry) -> Found:
    """Say what a DataFrame or a Series is. An index counts as columns, unless it is just the rows' numbers."""
    frame = frame.to_frame() if frame.ndim == 1 else frame
    columns = [] if _is_plain(frame.index) else list(_pandas_columns(frame.index.to_frame(index=False), "index"))
    return describe_table(len(frame), [*columns, *_pandas_columns(frame, "column")], inquiry)


def _is_plain(index: Any) -> bool:
    return type(index).__name__ == "RangeIndex" and (index.start, index.step, index.name) == (0, 1, None)


def _pandas_columns(frame: Any, what: str) -> Iterable[Column]:
    for place, name in enumerate(frame.columns):
        series = frame.iloc[:, place]
        named = name if isinstance(name, str) else what if what == "index" and len(frame.columns) == 1 else str(name)
        yield Column(named, str(series.dtype), lambda series=series: _hash_series(series))  # type: ignore[misc]


def _hash_series(series: Any) -> ColumnHash:
    if series.dtype.__class__.__module__.partition(".")[0] == "numpy" and series.dtype.kind != "O":
        return hash_numbers(series.to_numpy())
    try:
        import pyarrow as pa
    except ImportError:
        if series.dtype == object or str(series.dtype).startswith("str"):
            return hash_texts(series.tolist())
        raise ImportError(NO_PYARROW) from None
    try:
        array = _zoned(series) if getattr(series.dtype, "tz", None) is not None else pa.Array.from_pandas(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TypeError(f"its values have no common type: {error}") from None
    return hash_arrow(array.chunks or [pa.array([], array.type)] if isinstance(array, pa.ChunkedArray) else [array])


def _zoned(series: Any) -> Any:
    """Return times in a zone as Arrow's; what pyarrow itself does for that, pandas 3 warns of."""
    import pyarrow as pa

    moments = series.dt.tz_convert(None).to_numpy()
    return pa.array(moments, pa.timestamp(series.dtype.unit, str(series.dtype.tz)), from_pandas=True)


def describe_polars(frame: Any, inquiry: Inquiry) -> Found:
    """Say what a polars DataFrame or Series is."""
    frame = frame.to_frame() if type(frame).__name__ == "Series" else frame

    def hash_one(series: Any) -> ColumnHash:
        try:
            import pyarrow as pa
        except ImportError:
            raise ImportError(NO_PYARROW) from None
        array = series.to_arrow()
        return hash_arrow(array.chunks if isinstance(array, pa.ChunkedArray) else [array])

    columns = [
        Column(series.name, str(series.dtype), lambda series=series: hash_one(series))  # type: ignore[misc]
        for series in frame.get_columns()
    ]
    return describe_table(frame.height, columns, inquiry)


def describe_arrow(table: Any, inquiry: Inquiry) -> Found:
    """Say what an Arrow table or record batch is."""
    import pyarrow as pa

    def hash_one(values: Any) -> ColumnHash:
        chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
        return hash_arrow(chunks or [pa.array([], values.type)])

    columns = [
        Column(field.name, str(field.type), lambda values=values: hash_one(values))  # type: ignore[misc]
        for field, values in zip(table.schema, table.columns, strict=True)
    ]
    return describe_table(table.num_rows, columns, inquiry)


def describe_table(rows: int, columns: Sequence[Column], inquiry: Inquiry) -> Found:
    """Hash the columns, unless the content is not to be read."""
    if inquiry.read is False:
        return Found(rows=rows, columns=[DataColumn(name=column.name, type=column.type) for column in columns])
    with ThreadPoolExecutor(cores(), thread_name_prefix="multitrack-hash") as pool:
        done = list(pool.map(_hash_column, columns))
    hashed = [column for column, _ in done]
    omitted = [Omission(name=column.name, reason=problem) for column, problem in done if problem is not None]
    digest = table_digest(rows, hashed)
    failure = f"column {omitted[0].name!r}: {omitted[0].reason}" if omitted else None
    return Found(rows=rows, columns=hashed, digest=digest, algorithm=digest and TABLE, omitted=omitted, failure=failure)


def _hash_column(column: Column) -> tuple[DataColumn, str | None]:
    digest, problem = None, None
    try:
        digest = column.hash().hexdigest()
    except Exception as error:  # noqa: BLE001 - a library's refusal of one column says nothing about the others
        problem = f"it has no digest: {error}"
    return DataColumn(name=column.name, type=column.type, digest=digest), problem

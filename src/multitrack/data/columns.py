"""Digests of columns: the same for the same values, whichever library holds them, and however they are cut into chunks.

A column is hashed as three streams, each cut where it may be: a byte for each row that says whether there is a value, the lengths of
values that have one (texts, lists), and the values, little-endian, with zeros where there is none. Its digest is SHA-256 over `KIND`,
`ROWS`, and the three streams' SHA-256, each with a zero byte behind it, then the same of each inner column under its name.

NaN counts as a missing value, as in pandas; dictionaries and categories count as the values they stand for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ROWS = 1 << 20
"""Rows that are converted at a time."""


class ColumnHash:
    """One column while it is hashed, in as many parts as it comes in."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.rows = 0
        self._valid = hashlib.sha256()
        self._lengths = hashlib.sha256()
        self._values = hashlib.sha256()
        self._inner: dict[str, ColumnHash] = {}

    def add(self, valid: np.ndarray[Any, Any], values: Any = None, lengths: np.ndarray[Any, Any] | None = None) -> None:
        """Add rows.

        Args:
            valid: bool, one a row.
            values: of all rows as bytes, or an array of numbers; zero where there is none.
            lengths: int64, of each row's value.
        """
        self.rows += len(valid)
        self._valid.update(_bytes_of(valid))
        if lengths is not None:
            self._lengths.update(_bytes_of(lengths))
        if values is not None:
            self._values.update(values if isinstance(values, bytes | memoryview) else _bytes_of(values))

    def inner(self, name: str, kind: str) -> ColumnHash:
        """Return a column within this one."""
        return self._inner.setdefault(name, ColumnHash(kind))

    def hexdigest(self) -> str:
        """Return the digest of what was added."""
        parts = [self.kind, str(self.rows), *(part.hexdigest() for part in (self._valid, self._lengths, self._values))]
        whole = hashlib.sha256("".join(f"{part}\0" for part in parts).encode())
        for name, column in self._inner.items():
            whole.update(f"{name}\0{column.hexdigest()}\0".encode("utf-8", "surrogatepass"))
        return whole.hexdigest()


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    import numpy as np

    little = array.dtype.newbyteorder("<")
    return np.ascontiguousarray(array.astype(little, copy=False)).data.cast("B") if len(array) else memoryview(b"")


# -- numpy


def hash_numbers(values: np.ndarray[Any, Any]) -> ColumnHash:
    """Hash a column of numpy's: bool, numbers, dates and durations.

    Raises:
        TypeError: it holds something else.
    """
    column = ColumnHash(_numpy_kind(values.dtype))
    for start in range(0, len(values), _ROWS):
        _add_numbers(column, values[start : start + _ROWS])
    return column


def _add_numbers(column: ColumnHash, values: np.ndarray[Any, Any]) -> None:
    import numpy as np

    kind = values.dtype.kind
    missing = np.isnat(values) if kind in "mM" else np.isnan(values) if kind in "fc" else np.zeros(len(values), bool)
    if kind in "mM":
        values = np.ascontiguousarray(values).view(values.dtype.str.replace(kind, "i").partition("[")[0])
    column.add(~missing, np.where(missing, values.dtype.type(0), values) if missing.any() else values)


def _numpy_kind(dtype: np.dtype[Any]) -> str:
    if dtype.kind in "biufc":
        return dtype.name
    if dtype.kind in "mM":
        import numpy as np

        unit, count = np.datetime_data(dtype)
        if count == 1:
            return f"{'timestamp' if dtype.kind == 'M' else 'duration'}[{unit}]"
    raise TypeError(f"values of type {dtype} have no fixed form")


def hash_texts(values: Sequence[Any]) -> ColumnHash:
    """Hash a column of texts; None, and what is not equal to itself (NaN, NaT, NA), are missing.

    Raises:
        TypeError: it holds something else.
    """
    column = ColumnHash("string")
    for start in range(0, len(values), _ROWS):
        _add_texts(column, values[start : start + _ROWS])
    return column


def _add_texts(column: ColumnHash, values: Sequence[Any]) -> None:
    import numpy as np

    texts = [_text(value) for value in values]
    contents = [b"" if text is None else text.encode("utf-8", "surrogatepass") for text in texts]
    column.add(
        np.fromiter((text is not None for text in texts), bool, len(texts)),
        b"".join(contents),
        np.fromiter(map(len, contents), "<i8", len(contents)),
    )


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:  # noqa: PLR0124 - NaN
        return None
    raise TypeError(f"values of several types: texts, and a {type(value).__name__}")


# -- Arrow


def hash_arrow(chunks: Sequence[pa.Array]) -> ColumnHash:
    """Hash a column of Arrow's, given as its chunks (one at least, empty or not).

    Raises:
        TypeError: it holds values that have no fixed form.
    """
    column = ColumnHash(_arrow_kind(_plain(chunks[0][:0]).type))
    for chunk in chunks:
        for start in range(0, len(chunk), _ROWS):
            _add_arrow(column, _plain(chunk.slice(start, _ROWS)))
    return column


def _plain(array: pa.Array) -> pa.Array:
    """Return the values themselves, where an array stands for others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    while True:
        if isinstance(array.type, pa.BaseExtensionType):
            array = array.storage
        elif pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        elif pa.types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        else:
            return array


def _arrow_kind(kind: pa.DataType) -> str:
    for is_one, name, _ in _ARROW_KINDS():
        if is_one(kind):
            return str(name(kind)) if callable(name) else str(name)
    raise TypeError(f"values of type {kind} have no fixed form")


def _add_arrow(column: ColumnHash, array: pa.Array) -> None:
    for is_one, _, add in _ARROW_KINDS():
        if is_one(array.type):
            add(column, array, array.is_valid().to_numpy(zero_copy_only=False))
            return


def _ARROW_KINDS() -> Iterator[tuple[Callable[[Any], bool], Any, Callable[..., None]]]:  # noqa: N802 - a table, made when pyarrow is there
    import pyarrow as pa

    types = pa.types
    yield types.is_boolean, "bool", _add_bools
    yield types.is_integer, str, _add_fixed
    yield types.is_floating, lambda kind: f"float{kind.bit_width}", _add_floats
    yield lambda kind: types.is_large_string(kind) or types.is_string(kind) or types.is_string_view(kind), "string", _add_strings
    yield types.is_timestamp, lambda kind: f"timestamp[{kind.unit}{', ' + kind.tz if kind.tz else ''}]", _add_fixed
    yield types.is_date, "date", _add_dates
    yield types.is_time, "time", _add_times
    yield types.is_duration, lambda kind: f"duration[{kind.unit}]", _add_fixed
    yield _is_binary, "binary", _add_strings
    yield types.is_decimal, "decimal", lambda column, array, valid: _add_strings(column, array.cast(pa.string()), valid)
    yield types.is_struct, "struct", _add_struct
    yield lambda kind: types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind), "list", _add_lists
    yield types.is_null, "null", lambda column, array, valid: column.add(valid)  # noqa: ARG005


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    tests = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(is_one(kind) for is_one in tests)


def _add_bools(column: ColumnHash, array: Any, valid: Any) -> None:
    import pyarrow as pa

    column.add(valid, array.cast(pa.uint8()).fill_null(0).to_numpy(zero_copy_only=False))


def _add_fixed(column: ColumnHash, array: Any, valid: Any) -> None:
    import pyarrow as pa

    if not pa.types.is_integer(array.type):
        array = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())
    column.add(valid, array.fill_null(0).to_numpy(zero_copy_only=False))


def _add_dates(column: ColumnHash, array: Any, valid: Any) -> None:
    import pyarrow as pa

    _add_fixed(column, array.cast(pa.date32()), valid)


def _add_times(column: ColumnHash, array: Any, valid: Any) -> None:
    import pyarrow as pa

    _add_fixed(column, array.cast(pa.time64("ns")), valid)  # a day has few enough of them: the unit need not count


def _add_floats(column: ColumnHash, array: Any, valid: Any) -> None:
    import numpy as np

    values = array.to_numpy(zero_copy_only=False)  # a missing one is NaN
    missing = np.isnan(values) | ~valid
    column.add(~missing, np.where(missing, values.dtype.type(0), values) if missing.any() else values)


def _add_strings(column: ColumnHash, array: Any, valid: Any) -> None:
    import numpy as np
    import pyarrow as pa

    array = array.cast(pa.large_binary() if _is_binary(array.type) else pa.large_string())
    array = array.fill_null(b"" if _is_binary(array.type) else "")
    _, offsets, content = array.buffers()
    places = np.frombuffer(offsets, "<i8", len(array) + 1, array.offset * 8) if len(array) else np.zeros(1, "<i8")
    column.add(valid, memoryview(content)[places[0] : places[-1]] if content is not None else b"", np.diff(places))


def _add_struct(column: ColumnHash, array: Any, valid: Any) -> None:
    column.add(valid)
    for field, values in zip(array.type, array.flatten(), strict=True):
        plain = _plain(values)
        _add_arrow(column.inner(field.name, _arrow_kind(plain.type)), plain)


def _add_lists(column: ColumnHash, array: Any, valid: Any) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.list_value_length(array).cast(pa.int64()).fill_null(0)
    column.add(valid, lengths=lengths.to_numpy(zero_copy_only=False))
    values = _plain(array.flatten())  # without what stands behind missing lists
    _add_arrow(column.inner("item", _arrow_kind(values.type)), values)

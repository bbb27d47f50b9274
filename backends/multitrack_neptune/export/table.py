"""The rows of an export's parquet files: only those that are wanted, a batch at a time, whatever their order."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from multitrack.errors import PermanentError
from multitrack.records import Microseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BATCH = 131_072
"""Rows that are read at a time."""
FILE = pa.struct([("path", pa.string())])
HISTOGRAM = pa.struct([("type", pa.string()), ("edges", pa.list_(pa.float64())), ("values", pa.list_(pa.float64()))])
SCHEMA = pa.schema(
    [
        ("project_id", pa.string()),
        ("run_id", pa.string()),
        ("attribute_path", pa.string()),
        ("attribute_type", pa.string()),
        ("step", pa.decimal128(18, 6)),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("int_value", pa.int64()),
        ("float_value", pa.float64()),
        ("string_value", pa.string()),
        ("bool_value", pa.bool_()),
        ("datetime_value", pa.timestamp("ms", tz="UTC")),
        ("string_set_value", pa.list_(pa.string())),
        ("file_value", FILE),
        ("histogram_value", HISTOGRAM),
    ]
)
"""Every neptune-exporter there has been writes this."""
VALUES = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
    "float_series": "float_value",
    "string_series": "string_value",
    "histogram_series": "histogram_value",
    "file": "file_value",
    "file_set": "file_value",
    "artifact": "file_value",
    "file_series": "file_value",
}
"""Where the values of each type stand."""

UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError)
"""What Arrow raises over files that are damaged: texts that are no UTF-8, columns that are not there, times beyond all years."""


class Part:
    """One parquet file of a run.

    Raises:
        PermanentError: it is damaged, or its columns are not those of an export.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, read_dictionary=["attribute_path", "attribute_type"])
            _check(path, self._file.schema_arrow)
            metadata = self._file.metadata
            self._places = {metadata.schema.column(number).path: number for number in range(metadata.num_columns)}
        except UNREADABLE as error:
            raise damaged(path, error) from None

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._file.close()

    def fingerprint(self) -> str:
        """Return a text that changes with the content: of the file's directory, which holds sizes, counts and extremes."""
        metadata = self._file.metadata
        told = [(group.num_rows, group.total_byte_size, group.column(0).data_page_offset) for group in self._groups()]
        extremes = [str(self._extremes(group, name)) for group in self._groups() for name in ("timestamp", "float_value", "string_value")]
        return hashlib.sha256(repr((self.path.name, self.path.stat().st_size, metadata.num_rows, told, extremes)).encode()).hexdigest()

    def identity(self, expected: tuple[str, str] | None = None) -> tuple[str, str] | None:
        """Return the project's and the run's id; if there are no rows, what is expected.

        Raises:
            PermanentError: the part holds rows of several runs, or of another one than expected.
        """
        found = {name: self._ids(name) for name in ("project_id", "run_id")}
        if not all(found.values()):
            return expected
        ids = (min(found["project_id"]), min(found["run_id"]))
        if any(len(values) > 1 for values in found.values()) or expected not in (None, ids):
            raise PermanentError(f"{self.path.name} holds rows of another run")
        return ids

    def _ids(self, name: str) -> set[str]:
        extremes = [self._extremes(group, name) for group in self._groups() if group.num_rows]
        return {value for pair in extremes for value in pair or ()} if None not in extremes else set(self._read(name))

    def _read(self, name: str) -> list[str]:
        return [value for value in pc.unique(self._file.read(columns=[name])[name]).to_pylist() if value is not None]

    def times(self) -> tuple[Microseconds, Microseconds] | None:
        """Return the earliest and the latest time of a point, as the file's directory has them; None if it has none."""
        found = [extremes for group in self._groups() if (extremes := self._extremes(group, "timestamp")) is not None]
        if not found:
            return None
        moments = (min(low for low, _ in found), max(high for _, high in found))
        low, high = ((moment - _EPOCH) // timedelta(microseconds=1) for moment in moments)
        return low, high

    def rows(self, types: Collection[str], *, prefix: str | None = None, columns: Sequence[str] = ()) -> Iterator[Any]:
        """Yield tables of the rows whose attribute has one of these types, with path, type and the columns asked for.

        Stretches of the file in which, by its directory, there are none are not read.

        Args:
            types: names of attribute types.
            prefix: only attributes whose paths start with it.
            columns: names of further columns.
        """
        groups = [number for number, group in enumerate(self._groups()) if self._may_hold(group, types, prefix)]
        wanted = pa.array(sorted(types))
        names = ["attribute_path", "attribute_type", *columns]
        try:
            for batch in self._file.iter_batches(BATCH, row_groups=groups, columns=names) if groups else ():
                table = pa.Table.from_batches([batch])
                chosen = pc.is_in(table["attribute_type"], value_set=wanted)
                if prefix is not None:
                    chosen = pc.and_(chosen, pc.starts_with(table["attribute_path"].cast(pa.string()), prefix))
                table = table if pc.all(chosen).as_py() else table.filter(chosen)
                if table.num_rows:
                    yield table
        except UNREADABLE as error:
            raise damaged(self.path, error) from None

    def strange(self) -> set[tuple[str, str]]:
        """Return paths and types of the attributes whose type is none of `VALUES`. Stretches of a single, known type are not looked at."""
        mixed = [number for number, group in enumerate(self._groups()) if self._single_type(group) not in VALUES]
        found: set[tuple[str, str]] = set()
        known = pa.array(sorted(VALUES))
        try:
            for batch in self._file.iter_batches(BATCH, row_groups=mixed, columns=["attribute_path", "attribute_type"]) if mixed else ():
                rows = batch.filter(pc.invert(pc.is_in(batch.column("attribute_type"), value_set=known)))
                found.update(zip(rows.column("attribute_path").to_pylist(), rows.column("attribute_type").to_pylist(), strict=True))
        except UNREADABLE as error:
            raise damaged(self.path, error) from None
        return {(str(path), str(kind)) for path, kind in found}

    def _single_type(self, group: Any) -> str | None:
        extremes = self._extremes(group, "attribute_type")
        return extremes[0] if extremes is not None and extremes[0] == extremes[1] else None

    def _groups(self) -> Iterator[Any]:
        metadata = self._file.metadata
        return (metadata.row_group(number) for number in range(metadata.num_row_groups))

    def _extremes(self, group: Any, name: str) -> tuple[Any, Any] | None:
        """Return the least and the greatest value of a column in a stretch of the file, where its directory has them."""
        statistics = group.column(self._places[name]).statistics
        return (statistics.min, statistics.max) if statistics is not None and statistics.has_min_max else None

    def _may_hold(self, group: Any, types: Collection[str], prefix: str | None) -> bool:
        found = self._extremes(group, "attribute_type")
        if found is not None and not any(found[0] <= kind <= found[1] for kind in types):
            return False
        paths = self._extremes(group, "attribute_path") if prefix is not None else None
        return paths is None or prefix is None or (paths[0] <= prefix + "\U0010ffff" and paths[1] >= prefix)


def damaged(path: Path, error: Exception) -> PermanentError:
    """Return what to say of a file that cannot be read."""
    reason = " ".join(str(error).split()).removesuffix(".")
    return PermanentError(f"{path.name} cannot be read: {reason[:200]}")


def _check(path: Path, schema: Any) -> None:
    """Refuse columns that are not an export's: what cannot be understood is not guessed at."""
    wrong = []
    for field in SCHEMA:
        if field.name not in schema.names:
            wrong.append(f"no column {field.name}")
        elif not _fits(schema.field(field.name).type, field.type):
            wrong.append(f"{field.name} is {schema.field(field.name).type}, not {field.type}")
    wrong += [f"an unknown column {name}" for name in schema.names if name not in SCHEMA.names and not name.startswith("__index")]
    if wrong:
        raise PermanentError(f"{path.name}: not the columns of a neptune-exporter that is known here: {'; '.join(wrong)}")


def _fits(type_: Any, wanted: Any) -> bool:
    if pa.types.is_dictionary(type_) or pa.types.is_large_string(type_):
        return bool(pa.types.is_string(wanted))
    if pa.types.is_list(wanted) or pa.types.is_struct(wanted):
        return str(type_).replace("element:", "item:") == str(wanted).replace("element:", "item:")
    return bool(type_ == wanted)

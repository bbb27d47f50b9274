"""Folders as neptune-exporter writes them: its columns, its file names, snappy, a `.tmp` until a run is done and part 0 renamed last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
        ("file_value", pa.struct([("path", pa.string())])),
        (
            "histogram_value",
            pa.struct([("type", pa.string()), ("edges", pa.list_(pa.float64())), ("values", pa.list_(pa.float64()))]),
        ),
    ]
)
CREATED = datetime(2025, 7, 1, 12, 0, tzinfo=UTC)
Row = dict[str, Any]


def us(moment: datetime) -> int:
    """Return a time in microseconds since 1970."""
    return round(moment.timestamp() * 1000) * 1000


def scalar(path: str, value: Any, kind: str | None = None) -> Row:
    """Return the row of an attribute with a single value; its type is told by the value's, unless it is given."""
    kind = kind or {bool: "bool", int: "int", float: "float", str: "string", datetime: "datetime", list: "string_set"}[type(value)]
    return {"attribute_path": path, "attribute_type": kind, f"{kind}_value": value}


def file(path: str, place: str, kind: str = "file", step: Any = None, time: datetime | None = None) -> Row:
    """Return the row of a file that lies at `place`, below the project's folder."""
    return {
        "attribute_path": path, "attribute_type": kind, "step": decimal(step), "timestamp": time, "file_value": {"path": place},
    }  # fmt: skip


def point(path: str, step: Any, time: datetime | None, value: Any, kind: str = "float_series") -> Row:
    """Return a row of a series."""
    column = {"float_series": "float_value", "string_series": "string_value", "histogram_series": "histogram_value"}[kind]
    return {"attribute_path": path, "attribute_type": kind, "step": decimal(step), "timestamp": time, column: value}


def decimal(step: Any) -> Decimal | None:
    """Return a step as the exporter writes it."""
    return None if step is None else Decimal(repr(step)).quantize(Decimal("1.000000"))


def sys_2x(run: str, *, created: datetime = CREATED, **more: Any) -> list[Row]:
    """Return what Neptune 2.x notes of every run."""
    told = {"id": run, "creation_time": created, "owner": "ada", "failed": False, "running_time": 60.0, **more}
    return [scalar(f"sys/{name}", value) for name, value in told.items()]


def sys_3x(run: str, *, created: datetime = CREATED, **more: Any) -> list[Row]:
    """Return what Neptune 3.x notes of every run, whose own number has nothing to do with the id that the user gave it."""
    told = {"id": f"NUM-{len(run)}", "custom_run_id": run, "creation_time": created, "owner": "ada", "failed": False, **more}
    return [scalar(f"sys/{name}", value) for name, value in told.items()]


def sanitize(name: str) -> str:
    """Return an id as it stands in names of files."""
    clean = "".join(char if char.isalnum() or char in "_-" else "_" for char in name)
    return f"{clean}-{blake2b(name.encode(), digest_size=8).hexdigest()}"


class Export:
    """A folder that is being exported to."""

    def __init__(self, root: Path, project: str = "acme/vision") -> None:
        self.root = root
        self.project = project

    def run(self, run: str, *parts: Sequence[Iterable[Row]], done: bool = True, scope: str = "", data: str = "data") -> list[Path]:
        """Write a run: each part is a sequence of batches of rows. Returns the files."""
        folder = self.root / data / sanitize(self.project) / scope
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number, batches in enumerate(parts):
            path = folder / f"{sanitize(run)}_part_{number}.parquet.tmp"
            with pq.ParquetWriter(path, SCHEMA, compression="snappy") as writer:
                for rows in batches:
                    filled = [{"project_id": self.project, "run_id": run, **row} for row in rows]
                    writer.write_batch(pa.RecordBatch.from_pylist(filled, schema=SCHEMA))
            paths.append(path)
        if not done:
            return paths
        return [path.rename(path.with_suffix("")) for path in reversed(paths)][::-1]

    def content(self, place: str, content: bytes, files: str = "files") -> Path:
        """Write a file; returns where it lies."""
        path = self.root / files / sanitize(self.project) / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

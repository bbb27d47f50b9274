"""Data sets of Hugging Face's `datasets`: the fingerprint that the library itself keeps of how the data came to be.

It is there without reading the data, and changes with every step of a pipeline; `read=True` hashes the rows instead, as of any table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..records import DataColumn
from .columns import ColumnHash, hash_arrow
from .found import Found, Inquiry
from .places import safe_url
from .tables import Column, describe_table

FINGERPRINT = "hugging_face-fingerprint"
_ROWS = 10_000
"""Rows that are read at a time."""


def describe_dataset(dataset: Any, inquiry: Inquiry) -> Found:
    """Say what a `datasets.Dataset` is."""
    from dataclasses import replace

    types = {name: _type_name(feature) for name, feature in dataset.features.items()}
    origin = _origin(dataset, inquiry)
    if inquiry.read:
        hashes: dict[str, Callable[[], ColumnHash]] = {name: partial(_hash_column, dataset, name) for name in types}
        columns = [Column(name, types[name], hash_it) for name, hash_it in hashes.items()]
        return replace(describe_table(dataset.num_rows, columns, inquiry), **origin)
    return Found(
        digest=str(dataset._fingerprint),
        algorithm=FINGERPRINT,
        rows=dataset.num_rows,
        size=dataset.info.dataset_size,
        columns=[DataColumn(name=name, type=type) for name, type in types.items()],
        **origin,
    )


def describe_stream(dataset: Any, inquiry: Inquiry) -> Found:
    """Say what a `datasets.IterableDataset` is: it has neither rows nor a fingerprint to go by."""
    features = dataset.features or {}
    columns = [DataColumn(name=name, type=_type_name(feature)) for name, feature in features.items()]
    return Found(columns=columns, failure="a streamed data set has no fingerprint", **_origin(dataset, inquiry))


def _hash_column(dataset: Any, name: str) -> ColumnHash:
    tables = dataset.select_columns([name]).with_format("arrow").iter(batch_size=_ROWS)
    return hash_arrow([chunk for table in tables for chunk in table.column(name).chunks] or [_no_rows(dataset, name)])


def _no_rows(dataset: Any, name: str) -> Any:
    import pyarrow as pa

    return pa.array([], dataset.features.arrow_schema.field(name).type)


def _origin(dataset: Any, inquiry: Inquiry) -> dict[str, Any]:
    """Return where the data comes from, as far as the library tells: the hub's name of it is in the addresses of what was downloaded."""
    info = dataset.info
    downloaded = [url for url in info.download_checksums or {} if isinstance(url, str)]
    source = next((url for url in downloaded if url.startswith("hf://")), None) or (downloaded[0] if downloaded else None)
    parts = {"dataset": info.dataset_name or info.builder_name, "config": info.config_name, "split": dataset.split}
    return {
        "uri": safe_url(source, inquiry.mask) if source else None,
        "source_type": "hugging_face",
        "tags": {f"hugging_face.{name}": str(part) for name, part in parts.items() if part is not None},
    }


def _type_name(feature: Any) -> str:
    return str(getattr(feature, "dtype", None) or feature)

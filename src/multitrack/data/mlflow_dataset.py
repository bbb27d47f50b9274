"""Data set objects of MLflow's, `mlflow.data.from_pandas(...)` and its kin: they say themselves what they are."""

from __future__ import annotations

import json
from typing import Any

from ..records import DataColumn
from .found import Found, Inquiry

MLFLOW = "mlflow"
"""MLflow computes its digest in a way of its own for each type: the MD5 of some rows, a table's version, ..."""


def describe_dataset(dataset: Any, inquiry: Inquiry) -> Found:
    """Say what an `mlflow.data.dataset.Dataset` is, as MLflow would store it."""
    told = dataset.to_dict()
    schema, profile = _parse(told.get("schema")), _parse(told.get("profile"))
    source = told.get("source")
    return Found(
        uri=inquiry.mask.text(source) if isinstance(source, str) else None,
        source_type=told.get("source_type"),
        digest=told.get("digest"),
        algorithm=MLFLOW,
        rows=_rows(profile),
        columns=_columns(schema),
        data_schema=schema,
        profile=profile,
    )


def _parse(text: Any) -> Any:
    """Return what a JSON text says where exactly this text comes of it again; else the text."""
    try:
        value = json.loads(text)
        return value if json.dumps(value) == text else text
    except (TypeError, ValueError):
        return text


def _rows(profile: Any) -> int | None:
    rows = profile.get("num_rows") if isinstance(profile, dict) else None
    return rows if isinstance(rows, int) else None


def _columns(schema: Any) -> list[DataColumn]:
    specs = schema.get("mlflow_colspec") if isinstance(schema, dict) else None
    return [DataColumn(name=str(spec.get("name")), type=str(spec.get("type"))) for spec in specs or () if isinstance(spec, dict)]

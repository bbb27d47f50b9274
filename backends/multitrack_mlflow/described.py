"""What MLflow's page shows of a data set that multitrack looked at: source, schema and profile in MLflow's own forms. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from multitrack.records import DataColumn, DataVersion

_BY_URI = frozenset(
    {"local", "s3", "r2", "b2", "gs", "wasbs", "ftp", "sftp", "hdfs", "viewfs", "abfss", "dbfs", "abfs", "az", "adl", "memory", "file"}
)
"""Source types that MLflow, or a reader of its pages, finds as `{"uri": ...}`."""
_TYPES = {
    "int64": "long", "int32": "integer", "int16": "integer", "int8": "integer", "uint8": "integer", "uint16": "integer", "uint32": "long",
    "double": "double", "float64": "double", "float32": "float", "float": "float", "bool": "boolean", "boolean": "boolean",
    "str": "string", "string": "string", "large_string": "string", "object": "string", "category": "string", "categorical": "string",
    "binary": "binary", "date": "datetime",
}  # fmt: skip
"""MLflow's word for a column's type, by what comes before `[` or `(` in other libraries' words."""


def source(record: DataVersion) -> str:
    """Return where the data is, in the form that MLflow has for this type of source.

    As it is where MLflow has none, and where nobody said how the digest was made: then it is a text of MLflow's already, from another run.
    """
    if record.uri is None or record.algorithm is None or record.uri.startswith("{"):
        return record.uri or ""
    if record.source_type in _BY_URI:
        return json.dumps({"uri": record.uri})
    if record.source_type == "http":
        return json.dumps({"url": record.uri})
    return record.uri


def schema(record: DataVersion) -> Any:
    """Return the schema: the user's own, else the columns as MLflow's `ColSpec`s."""
    if record.data_schema is not None or not record.columns:
        return record.data_schema
    return {"mlflow_colspec": [{"type": _type(column), "name": column.name, "required": False} for column in record.columns]}


def _type(column: DataColumn) -> str:
    word = re.split(r"[\[(]", column.type, maxsplit=1)[0].lower()
    return "datetime" if word.startswith(("datetime", "timestamp")) else _TYPES.get(word, column.type)


def profile(record: DataVersion) -> Any:
    """Return the profile: the user's own, else what was counted when the data was looked at."""
    if record.profile is not None or not (record.columns or (record.size is not None and record.source_type is not None)):
        return record.profile
    counted = {
        "num_rows": record.rows,
        "num_elements": record.rows * len(record.columns) if record.rows is not None and record.columns else None,
        "num_files": len(record.files) or None,
        "size": record.size,
    }
    return {name: value for name, value in counted.items() if value is not None} or None

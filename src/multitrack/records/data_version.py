"""Which data a run was trained and tested on."""

from __future__ import annotations

from typing import Literal

from .base import ParamValue, Record, Struct


class DataFile(Struct):
    """One file of a data set."""

    path: str
    """Relative to the data set's `uri`, with forward slashes."""
    size: int
    """Bytes."""
    digest: str


class DataVersion(Record):
    """One data set as it was when the run used it. `name`, `role` and `digest` together name it within a run."""

    kind: Literal["data_version"] = "data_version"
    name: str
    role: str | None = None
    """What it was used for: `train`, `validation`, `test`, ..."""
    uri: str | None = None
    source_type: str | None = None
    """What `uri` is: `local`, `http`, `s3`, `hugging_face`, ..., or a JSON description of the source."""
    digest: str | None = None
    algorithm: str | None = None
    """How `digest` was computed, for example `sha256`."""
    size: int | None = None
    """Bytes."""
    rows: int | None = None
    files: list[DataFile] = []
    data_schema: ParamValue = None
    """Column names and types, in the form of the tool that described them."""
    profile: ParamValue = None
    """Summary statistics, in the form of the tool that computed them."""
    tags: dict[str, str] = {}

"""Which data a run was trained and tested on."""

from __future__ import annotations

from typing import Literal

from .base import ArtifactRef, Omission, ParamValue, Record, Struct


class DataFile(Struct):
    """One file of a data set."""

    path: str
    """Relative to the data set's `uri`, with forward slashes."""
    size: int
    """Bytes."""
    digest: str | None = None
    """None: the content was not read."""


class DataColumn(Struct):
    """One column of a table, or one array of several."""

    name: str
    type: str
    """In the words of the library that held it."""
    digest: str | None = None
    """Of its values in their order, and of their type: which columns have changed can be told without the data."""


class DataVersion(Record):
    """One data set as it was when the run used it. `name`, `role` and `digest` together name it within a run."""

    kind: Literal["data_version"] = "data_version"
    name: str
    role: str | None = None
    """What it was used for: `train`, `validation`, `test`, ..."""
    uri: str | None = None
    """Where it was: of local data an absolute file URI. Without credentials."""
    path: str | None = None
    """Local data's place relative to the project's root (of the git repository, else the working folder), if it lies below that."""
    source_type: str | None = None
    """What `uri` is: `local`, `http`, `s3`, `hugging_face`, ..., or a JSON description of the source."""
    digest: str | None = None
    algorithm: str | None = None
    """How `digest` was computed: `sha256` (a file's content), `sha256-tree` (several files), `sha256-table`, `etag`, ..."""
    version: str | None = None
    """What those who keep the data call this version of it: an object's version id, `md5:...` where DVC tracks it, a revision."""
    size: int | None = None
    """Bytes."""
    rows: int | None = None
    files: list[DataFile] = []
    selected: list[str] = []
    """Which files below `uri` it is, where it is not all of them: names and patterns, relative to it."""
    file_list: ArtifactRef | None = None
    """A file of the run that lists the files, one JSON object a line with `path`, `size` and `digest`: they are too many for a record."""
    columns: list[DataColumn] = []
    data_schema: ParamValue = None
    """Column names and types, in the form of the tool that described them."""
    profile: ParamValue = None
    """Summary statistics, in the form of the tool that computed them."""
    omitted: list[Omission] = []
    """What could not be read, or was left out: files by their paths; `digest` where there should be one."""
    tags: dict[str, str] = {}

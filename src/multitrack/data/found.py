"""What is found out about data, whatever it is; and what finding out needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..masking import Mask
from ..records import DataColumn, Omission, ParamValue
from .cache import HashCache
from .progress import ReadingProgress


class Entry(NamedTuple):
    """A file of a data set. A `NamedTuple`, since there may be millions."""

    path: str
    """Relative to the data set, with forward slashes."""
    size: int
    """Bytes."""
    digest: str | None
    """None: it could not be read, or was not to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The fields of a `DataVersion`, as far as the data tells them; `files` are still all of them."""

    uri: str | None = None
    path: str | None = None
    source_type: str | None = None
    digest: str | None = None
    algorithm: str | None = None
    version: str | None = None
    size: int | None = None
    rows: int | None = None
    files: Sequence[Entry] = ()
    selected: Sequence[str] = ()
    columns: Sequence[DataColumn] = ()
    data_schema: ParamValue = None
    profile: ParamValue = None
    omitted: Sequence[Omission] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    failure: str | None = None
    """Why there is no digest where there should be one."""


@dataclass(frozen=True, kw_only=True)
class Inquiry:
    """How data is to be looked at."""

    read: bool | None = None
    """Whether the content is read and hashed. None: of what lies on a local disk or in memory, yes; elsewhere, no."""
    root: Path = field(default_factory=Path.cwd)
    """Of the project: paths below it are told relative to it."""
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    """What fsspec needs to get in. Never recorded."""
    mask: Mask = field(default_factory=Mask)
    cache: HashCache = field(default_factory=HashCache)
    progress: ReadingProgress = field(default_factory=ReadingProgress)

"""What Comet holds of a run, in its own words, whether it came from the service or from an archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from multitrack.records import Microseconds, Value

CHUNK = 10_000
"""Points in a column at most."""


@dataclass(frozen=True, slots=True)
class NativeAsset:
    """A file of the run, or a reference to one."""

    id: str
    name: str
    type: str = "asset"
    step: int | float | None = None
    time: int | None = None
    """Milliseconds."""
    size: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    uri: str | None = None
    """Of a remote asset."""
    model: str | None = None
    """The model that it is a file of (`groupingName`)."""


@dataclass(frozen=True, slots=True)
class ConsoleText:
    """A piece of what was printed: not a line, but what one `write` brought."""

    text: str
    time: int | None = None
    """Milliseconds."""
    stderr: bool = False


@dataclass(slots=True)
class Column:
    """Points of one metric, at most `CHUNK` of them. `steps` and `epochs` are None where no point has one; times in milliseconds."""

    name: str
    times: list[int]
    values: list[Value]
    steps: list[int | float | None] | None = None
    epochs: list[int | float | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeRun:
    """A run, all but its points and its files' contents."""

    key: str
    project: str
    workspace: str | None = None
    start: int | None = None
    """Milliseconds."""
    end: int | None = None
    state: Literal["running", "finished", "failed", "crashed"] = "finished"
    """As Comet tells it; what our own `multitrack.status` says goes before it."""
    trouble: str | None = None
    """What Comet's SDK says that it could not log."""
    tags: Sequence[str] = ()
    others: Mapping[str, Any] = field(default_factory=dict)
    """Values are text at the service, any JSON value in an archive."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """By their joined names."""
    typed_as_text: bool = False
    """Whether all values are text because the service has no other: then `decode` looks what they stand for."""
    git: Mapping[str, Any] = field(default_factory=dict)
    """`parent` (the commit), `branch`, `origin`, `root`, `user`."""
    patch: str | None = None
    file_name: str | None = None
    packages: Sequence[str] = ()
    """`name==version`."""
    os_packages: Sequence[str] = ()
    system: Mapping[str, Any] = field(default_factory=dict)
    """System details, in the words of Comet's messages: `hostname`, `os`, `python_version`, `user`, ..."""
    gpus: Sequence[Mapping[str, Any]] = ()
    """`gpuIndex`, `name`, `uuid`, `totalMemory` (bytes)."""
    output: Sequence[ConsoleText] = ()
    assets: Sequence[NativeAsset] = ()
    html: str | None = None
    graph: str | None = None
    url: str | None = None
    deleted: bool = False
    version: str | None = None


def microseconds(milliseconds: int | None) -> Microseconds | None:
    """Return Comet's time as ours."""
    return None if milliseconds is None else int(milliseconds) * 1000

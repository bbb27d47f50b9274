"""A run in W&B's words, wherever it was read: from a log on a disk, or from the service. Times are microseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multitrack.records import Microseconds

CHUNK = 10_000
"""Points in a column at most, as the contract of a source has it."""


@dataclass(frozen=True, slots=True)
class NativeFile:
    """A file of a run: one of its run files, or of the artifacts that it logged."""

    name: str
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeRun:
    """A run, without history, system metrics, console and files."""

    id: str
    project: str
    entity: str | None = None
    name: str | None = None
    notes: str | None = None
    group: str | None = None
    job_type: str | None = None
    sweep: str | None = None
    host: str | None = None
    user: str | None = None
    tags: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    """Nested, without its `value` wrappings; `_wandb` may be among the keys."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    state: str | None = None
    """W&B's word; None where only `exit_code` tells."""
    started: Microseconds | None = None
    ended: Microseconds | None = None
    commit: str | None = None
    remote: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """As `wandb-metadata.json` has it."""
    url: str | None = None
    version: str | None = None
    """See `RunRef.version`."""

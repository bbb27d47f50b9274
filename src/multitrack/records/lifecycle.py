"""A run's life: how it starts, what people call it, what it prints, how it ends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import RUN_ID, Ending, Microseconds, Record, Struct


class Origin(Struct):
    """Where a migrated run comes from."""

    source: str
    """The address that it was read from, without credentials."""
    project: str
    run: str
    """The run's id there."""


class RunStarted(Record):
    """The first record of a run; `time` is its start."""

    kind: Literal["run_started"] = "run_started"
    id: str = Field(pattern=f"^{RUN_ID.pattern}$")
    project: str
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    parent: str | None = None
    """The id of the run that this one is a part of."""
    tags: dict[str, str | None] = {}
    """A bare tag has the value None."""
    notes: str | None = None
    user: str | None = None
    host: str | None = None
    reproduces: str | None = None
    """The run that this one repeats: its id, or the address of a run elsewhere (`ADDRESS#ID`)."""
    origin: Origin | None = None


class RunUpdated(Record):
    """What changed about the run itself: every field that is not None replaces what stood before."""

    kind: Literal["run_updated"] = "run_updated"
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    tags: dict[str, str | None] = {}
    """Added to the tags there are."""
    removed_tags: list[str] = []
    status: Literal["scheduled", "running"] | None = None
    """`running`: a run that had ended goes on."""
    deleted: bool | None = None
    """Whether its service keeps the run among the deleted ones."""


class LogLines(Record):
    """Lines of console output, each with its time; without their line ends."""

    kind: Literal["log_lines"] = "log_lines"
    stream: Literal["stdout", "stderr"] = "stdout"
    label: str | None = None
    """Which of several processes printed them, for example `rank 3`; None for the one that leads the run."""
    times: list[Microseconds]
    lines: list[str]


class CaptureFailed(Record):
    """Something was to be recorded by itself and could not be. Of several with one `what` the last one counts."""

    kind: Literal["capture_failed"] = "capture_failed"
    what: str
    """`code`, `environment`, `system`, `console`, ..."""
    error: str


class RunFinished(Record):
    """How the run ended; `time` is its end."""

    kind: Literal["run_finished"] = "run_finished"
    status: Ending
    error: str | None = None
    """The exception that ended it, in one or more lines."""

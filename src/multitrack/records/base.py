"""What every record shares: strictness, the time stamp, and the values that records carry."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypeAliasType

FORMAT_VERSION = 1
"""Version of the journal format. A reader refuses a journal whose version is higher than its own."""

RUN_ID = re.compile(r"[0-9a-z]{32}")
"""What a run id looks like: 32 lowercase letters and digits. Every service that lets us choose accepts it."""

Microseconds = Annotated[int, Field(description="Microseconds since 1970-01-01T00:00:00Z; negative before it.")]
"""A point in time, UTC. An int is exact, ordered, and quick to write."""

RunStatus = Literal["scheduled", "running", "finished", "failed", "killed", "crashed"]
"""`crashed` is a verdict that readers derive: neither finished nor alive."""

Ending = Literal["finished", "failed", "killed", "crashed"]
"""The statuses that end a run."""


class Struct(BaseModel):
    """Strict and frozen. Unknown fields are refused here; the codec keeps them when it reads a record."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Omission(Struct):
    """Something that a record leaves out, and why: it is too large, holds what looks like a secret, or cannot be read."""

    name: str
    """A path, or what else the thing is called."""
    reason: str


class Record(Struct):
    """One thing that happened in a run. `kind` tells what, `time` tells when."""

    kind: str
    time: Microseconds


class TaggedValue(Struct):
    """A value that JSON has no word for: the codec writes it as an object tagged `{"$": TAG, ...}`."""

    TAG: ClassVar[str]


class Histogram(TaggedValue):
    """A distribution: `counts[i]` values lie between `edges[i]` and `edges[i + 1]`."""

    TAG: ClassVar[str] = "histogram"

    edges: list[float]
    counts: list[int | float]

    def __str__(self) -> str:
        """Return one short line, for listings; `repr` has all of it."""
        between = f", {self.edges[0]:.4g} to {self.edges[-1]:.4g}" if self.edges else ""
        return f"histogram of {sum(self.counts):,}{between}"


class ArtifactRef(TaggedValue):
    """A value that is a file: this run's artifact of this name and content."""

    TAG: ClassVar[str] = "artifact"

    name: str
    sha256: str
    media_type: str | None = None

    def __str__(self) -> str:
        """Return the artifact's name, for listings."""
        return self.name


_TAGGED = {"type": "object", "properties": {"$": {"type": "string"}}, "required": ["$"]}

Step = Annotated[int | float, WithJsonSchema({"anyOf": [{"type": "number"}, _TAGGED]})]
"""Where a point lies on its axis. Fractional, negative and repeated steps are allowed; a missing one stays missing."""

Value = Annotated[
    bool | int | float | str | Histogram | ArtifactRef,
    WithJsonSchema({"anyOf": [{"type": ["boolean", "number", "string"]}, _TAGGED]}),
]
"""What a metric's point may hold."""

ParamValue = TypeAliasType(
    "ParamValue",
    "Annotated[bool | int | float | str | list[ParamValue] | dict[str, ParamValue] | None, WithJsonSchema({})]",
)
"""A hyperparameter: whatever JSON can say, plus NaN, the infinities, and ints and texts of any size."""


def now() -> int:
    """Return the present time in microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def new_run_id() -> str:
    """Return a fresh run id."""
    return secrets.token_hex(16)


def new_writer_id() -> str:
    """Return a fresh writer id. Random, never a pid or a rank: those are used again."""
    return secrets.token_hex(8)


def derive_writer_id(run_id: str, version: str | None) -> str:
    """Return the writer's id for a run that another tool recorded: the same whenever this version of the run is read.

    The first half stands for the run, the second for its version, so that a later version can replace an earlier one.
    """
    return "".join(hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:8] for part in (run_id, version or ""))


def is_derived(writer: str, run_id: str) -> bool:
    """Return whether a writer's id stands for some version of this run, by `derive_writer_id`."""
    return len(writer) == 16 and writer[:8] == derive_writer_id(run_id, None)[:8]


def replaces(writer: str, other: str) -> bool:
    """Return whether two writers' ids stand for two versions of one run, by `derive_writer_id`."""
    return writer != other and len(writer) == len(other) == 16 and writer[:8] == other[:8]

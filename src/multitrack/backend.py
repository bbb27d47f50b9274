"""The contract between multitrack and a tracking service, on one screen.

A backend is a package that registers a `Backend` subclass under the entry-point group `multitrack.backends`. The class says what
the service can hold (`capabilities`) and makes sinks and sources. Its module imports no SDK: `sink.py` and `source.py` do.

    journal ──adapt──> Batch ──> Sink ──> service         Sink: one run at one service
    service ──> Source ──> records ──> journal            Source: every run at one service

Records reach a sink already fitted to the capabilities; a sink only translates. A source reports what the service holds, under
the service's own names; what multitrack left there to restore the original from is used by `restore`, centrally.

Identity, the same for every backend, carried by ordinary tags (`TAG_*` below): a sink finds its run by `TAG_RUN_ID` before
it creates one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from .records import Artifact, Microseconds, Record, RunStarted, RunStatus

RESERVED_TAGS = "multitrack."
"""Tags that start with this are multitrack's own; a user's tag that does is renamed on delivery."""
RESERVED_ARTIFACTS = "multitrack/"
"""Artifacts whose names start with this are multitrack's own."""
TAG_RUN_ID = "multitrack.run_id"
TAG_ORIGIN = "multitrack.origin"
TAG_PARENT = "multitrack.parent"
TAG_COMPLETE = "multitrack.complete"
ATTACHED_RECORDS = "multitrack/records.jsonl.zst"


# -- what a service can hold ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NameRule:
    """Which names a service takes. The defaults take every non-empty name."""

    max_length: int | None = None
    """In characters."""
    allowed: str | None = None
    """A regular-expression character class, without its brackets, that every character must match."""
    path: bool = False
    """Names are relative, normalised paths: no empty, `.` or `..` part, no slash at either end."""
    ignores_case: bool = False
    """Two names that differ in case only are one name there."""
    leaf_or_folder: bool = False
    """`a` and `a/b` cannot stand side by side."""
    reserved: tuple[str, ...] = ()
    """Beginnings of names that the service, or multitrack's mapping onto it, keeps for itself."""
    reserved_names: tuple[str, ...] = ()
    """Whole names that it keeps for itself."""


PointType = Literal["bool", "int", "float", "str", "histogram", "artifact"]
RecordKind = Literal[
    "code_version", "data_version", "hyperparameters", "metrics", "points", "summary", "metric_definition",
    "environment", "artifact", "model", "log_lines", "run_started", "run_updated", "run_finished",
    "capture_failed",
]  # fmt: skip
ALL_KINDS: frozenset[RecordKind] = frozenset(RecordKind.__args__)  # type: ignore[attr-defined]
ALL_POINT_TYPES: frozenset[PointType] = frozenset(PointType.__args__)  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What a service can hold as it is. The defaults hold everything; a backend states where its service holds less.

    `adapt` does the rest: it renames, converts, and declares each loss, in the same way for every backend.
    """

    writes: bool = True
    reads: bool = True
    kinds: frozenset[RecordKind] = ALL_KINDS
    """Records that have a place at the service; the others live in the attached records only."""
    metric_names: NameRule = NameRule()
    param_names: NameRule = NameRule()
    tag_names: NameRule = NameRule()
    artifact_names: NameRule = NameRule()

    point_types: frozenset[PointType] = ALL_POINT_TYPES
    """Types that a point keeps. Where int or bool is missing they become floats; other missing types are left out."""
    nan: bool = True
    infinities: bool = True
    """Where False, they become the largest finite floats."""
    largest_int: int | None = None
    """Ints beyond it, either way, become floats in points and text in params."""
    text_length: int | None = None
    """Characters of a text that is a point; the start of a longer one goes there, and the loss is declared."""
    kept_points: int | None = None
    """Where set, the service itself keeps this many points of a metric, of more a sample. They are all sent, and the loss is declared."""
    equal_points: Literal["kept", "merged"] = "kept"
    """Whether a point with the same metric, time, step and value as another is a second point."""
    steps: Literal["any", "int"] = "any"
    """Where only ints fit, the floor of a fractional step goes there."""
    step_range: tuple[int, int] | None = None
    missing_steps: bool = True
    """Where False, the point's ordinal among its metric's points without a step takes the place of the step."""
    time_resolution: Microseconds = 1
    earliest_time: Microseconds | None = None

    nested_params: bool = True
    """Where False, `{"model": {"depth": 3}}` becomes `model.depth`."""
    param_path_length: int | None = None
    """Characters of a nested param's keys, one between any two counted in; what is longer stands under one name, at the top."""
    typed_params: bool = True
    """Where False, a param's value becomes text: a str as it is, anything else as Python's `str`, lists as JSON."""
    finite_params: bool = False
    """Whether NaN and the infinities have no place in params; they become text: `nan`, `inf`, `-inf`."""
    param_length: int | None = None
    """Characters of a param's text; the start of a longer one goes there, and the loss is declared."""
    changing_params: bool = True
    """Where False, the first value stays, and the last one stands in a tag `multitrack.param.NAME`."""
    param_sources: bool = True
    """Whether it is kept where params come from: `default`, `command line`, ..."""
    bare_tags: bool = True
    """Where False, a tag without a value gets an empty one."""
    tag_length: int | None = None
    system_prefix: str | None = None
    """Where set, resource usage is told from other metrics by this beginning of the name: `system/`."""
    artifact_details: bool = True
    """Whether an artifact keeps its type, step, media type and metadata."""
    references: bool = True
    """Whether an artifact may be a reference without content."""
    chooses_run_id: bool = True
    statuses: frozenset[RunStatus] = frozenset({"scheduled", "running", "finished", "failed", "killed", "crashed"})
    """A status that is missing here becomes `failed` (an ending) or `running`."""


EVERYTHING = Capabilities()
"""What the journal itself can hold."""


# -- what passes between multitrack and a backend ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A record under the name it has for ever: (run, writer, sequence number)."""

    writer: str
    seq: int
    record: Record


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive entries for one target. Batch `number` (1, 2, ...) of a run always holds the same entries."""

    number: int
    entries: Sequence[Entry]
    files: Callable[[Artifact], Path]
    """The local file that holds an artifact's content."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An entry that the service will never take, and its reason. A `seq` of -1 stands for a line of the journal that is no record."""

    writer: str
    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class Position:
    """What the **service** holds of a run: not what was handed to an SDK, but what the service has acknowledged."""

    batches: int | None
    """Batches 1 to this one are there: 0 for a run that was created just now. None: the service holds the run but keeps no count of
    batches, and what was committed locally decides."""
    marker: str | None = None
    """The text of the run's `TAG_COMPLETE` tag, where the run is there already and has one."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """How a run is brought to its end at a service: files first, then status and time, and the tags last of all."""

    status: RunStatus
    time: Microseconds | None
    error: str | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    """Artifacts of multitrack's own: name to local file."""
    tags: Mapping[str, str] = field(default_factory=dict)
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class RunRef:
    """A run as a listing shows it: enough to filter by and to read it."""

    id: str
    """The run's neutral id: its `TAG_RUN_ID` tag, else its own id if that is 32 lowercase alphanumerics, else `derive_run_id`."""
    native_id: str
    project: str
    name: str | None = None
    status: RunStatus | None = None
    started: Microseconds | None = None
    ended: Microseconds | None = None
    parent: str | None = None
    """The parent's neutral id."""
    tags: Mapping[str, str | None] = field(default_factory=dict)
    params: Mapping[str, Any] | None = None
    """As far as the listing tells; None where it does not."""
    metrics: Mapping[str, Any] | None = None
    """The value that stands for each metric, as far as the listing tells; None where it does not."""
    deleted: bool = False
    url: str | None = None
    version: str | None = None
    """A text that changes whenever the run is seen to have changed; it tells a migration what need not be read again."""


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """Which runs: every condition that is given must hold. A source pushes down what it can; `matches` decides."""

    projects: Sequence[str] | None = None
    """Exact names."""
    ids: Sequence[str] | None = None
    """Neutral or native ids."""
    tags: Mapping[str, str | None] = field(default_factory=dict)
    """None: the tag is there, whatever its value."""
    statuses: Sequence[RunStatus] | None = None
    since: Microseconds | None = None
    """Started at or after."""
    until: Microseconds | None = None
    """Started before."""
    deleted: bool = False
    """Whether deleted runs are wanted as well."""

    def matches(self, run: RunRef) -> bool:
        """Return whether the run meets every condition."""
        return (
            (self.projects is None or run.project in self.projects)
            and (self.ids is None or run.id in self.ids or run.native_id in self.ids)
            and all(k in run.tags and (v is None or run.tags[k] == v) for k, v in self.tags.items())
            and (self.statuses is None or run.status in self.statuses)
            and (self.since is None or (run.started is not None and run.started >= self.since))
            and (self.until is None or (run.started is not None and run.started < self.until))
            and (self.deleted or not run.deleted)
        )


# -- what an adapter implements ---------------------------------------------------------------------------------------


class Sink(ABC):
    """One run at one service. Used by one thread at a time.

    Every method raises TransientError, PermanentError or AuthError, and nothing else of the SDK's. Whatever was delivered is
    delivered again after a crash: writing a batch twice must count once.
    """

    @abstractmethod
    def open(self, run: RunStarted) -> Position:
        """Find the run by its `TAG_RUN_ID` or create it, and return what the service holds of it."""

    @abstractmethod
    def write(self, batch: Batch) -> Sequence[Rejection]:
        """Hand a batch over. PermanentError means that nothing of the batch, or of its rest, was taken because of some entry in it.

        A sink that hands batches on to a queue may raise it later: from `flush`, or from the next `write`.

        The first batch after the run was concluded takes its `TAG_COMPLETE` away: it is not whole any more. A batch of which the
        target's filters leave nothing is never written.
        """

    @abstractmethod
    def flush(self) -> Position:
        """Wait until the service has acknowledged what was written, and return the position it has reached."""

    @abstractmethod
    def finish(self, conclusion: Conclusion) -> None:
        """Conclude the run, in the order that `Conclusion` tells. May be called again after more batches."""

    def url(self) -> str | None:
        """Return the page where people see the run; None when there is none."""
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of connections and helpers. Never raises."""


class Source(ABC):
    """All runs at one service, read-only. Used by several threads at a time."""

    @abstractmethod
    def projects(self) -> Iterator[str]:
        """Yield the names of the projects that hold runs."""

    @abstractmethod
    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match, project by project, each project's oldest first."""

    @abstractmethod
    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield everything that the service holds of the run: RunStarted first, unsampled, in an order that is the same each time.

        Artifacts come without content (`sha256` may be None); `fetch` brings it. A RunFinished is yielded only for a run that ended.
        Chunks (`Points`) hold at most 10,000 points.
        """

    def problems(self, run: RunRef) -> Sequence[str]:  # noqa: ARG002 - for those who override it
        """Return what of the run could not be read, counted and named, a line each. Asked once `read` has gone through all of it."""
        return ()

    @abstractmethod
    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Write an artifact's content to the file `to`. PermanentError: the service has lost it."""

    def notices(self, run: RunRef | None = None) -> Sequence[str]:  # noqa: ARG002 - for those who override it
        """Return what people should know of a run that `read` has gone through: what is missing from it or looks wrong, a line each.

        Without a run: what is to be said of the place and belongs to none of its runs.
        """
        return ()

    def journal(self, run: RunRef) -> Path | None:  # noqa: ARG002 - for those who override it
        """Return the folder of the run's journal where the source is made of journals, so that it need not be copied; else None."""
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of connections. Never raises."""


class BackendSettings(BaseModel):
    """Settings of a target, as config files and `MULTITRACK_<TARGET>__<SETTING>` name them. Subclass it and describe each field.

    A `SecretStr` field is refused in a project's config file and never written, logged or shown. `json_schema_extra={"env": [...]}` names
    the vendor's own variables that say the same, for the documentation: the SDK reads those itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Backend(ABC):
    """A tracking service. Instances are one configured **target** each: `location` and `settings` say where and how."""

    name: ClassVar[str]
    """As in the entry point and in addresses: `mlflow`."""
    label: ClassVar[str]
    """As its own people write it: `MLflow`."""
    extra: ClassVar[str | None] = None
    """The extra to install: `pip install 'multitrack[mlflow]'`."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Import names that must be there; looked up, not imported."""
    capabilities: ClassVar[Capabilities]
    settings_type: ClassVar[type[BackendSettings]] = BackendSettings
    parallel: ClassVar[int] = 4
    """How many runs a courier or a migration delivers at a time."""

    def __init__(self, location: str | None, settings: BackendSettings | None = None) -> None:
        """`location` has gone through `resolve`; `settings` is a `settings_type`."""
        self.location = location
        self.settings = settings if settings is not None else self.settings_type()

    @classmethod
    def resolve(cls, location: str | None, base: Path) -> str | None:  # noqa: ARG003 - for those who override it
        """Return the location with relative paths made absolute against `base` and defaults filled in. Credentials are refused.

        Raises:
            ConfigError: the location cannot be one of this service's.
        """
        return location

    @classmethod
    def requires_for(cls, location: str | None) -> tuple[str, ...]:  # noqa: ARG003 - for those who override it
        """Return what of `requires` this location needs; it has gone through `resolve`. A folder may need less than a server."""
        return cls.requires

    @classmethod
    def login_files(cls, location: str | None, home: Path) -> Sequence[Path]:  # noqa: ARG003 - for those who override it
        """Return the files below `home` from which the vendor's SDK takes a login for this location, and which hold one. For `doctor`."""
        return ()

    def check(self) -> str:
        """Ask the service whether it is there and lets us in; return one line for people, such as its version and our name there.

        Raises:
            BackendError: it is not, or does not.
        """
        return f"{self.label} has no check of its own"

    @abstractmethod
    def sink(self) -> Sink:
        """Return a sink for one run. Imports the SDK."""

    @abstractmethod
    def source(self) -> Source:
        """Return a source. Imports the SDK."""


def derive_run_id(service: str, project: str, native_id: str) -> str:
    """Return the neutral id of a foreign run whose own id cannot serve: 32 hexadecimal digits, always the same for the same run."""
    import hashlib

    return hashlib.sha256("\0".join((service, project, native_id)).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def entry_points(entries: Iterable[Entry]) -> Iterator[tuple[str, int | float | None, Microseconds, Any, str]]:
    """Yield (name, step, time, value, source) for every point of the entries' Metrics and Points, in their order."""
    from .records import Metrics, Points

    for entry in entries:
        record = entry.record
        if isinstance(record, Metrics):
            for name, value in record.values.items():
                yield name, record.step, record.time, value, record.source
        elif isinstance(record, Points):
            steps = record.steps or [None] * len(record.times)
            for step, time, value in zip(steps, record.times, record.values, strict=True):
                yield record.name, step, time, value, record.source

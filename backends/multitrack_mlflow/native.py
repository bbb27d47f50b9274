"""What the readers bring from MLflow, before it becomes records: MLflow's own words, in plain types.

Both readers, the client's and the SQL one, fill the same forms, so that everything after them is written once. Times are
milliseconds, as MLflow keeps them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from multitrack.backend import RunFilter
from multitrack.records import Step, Value

CHUNK = 10_000
"""Points in a column at most, as the contract of a source has it."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment: what multitrack calls a project."""

    id: str
    name: str
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class LatestMetric:
    """A metric's last point by (step, time, value): what MLflow shows in a listing."""

    key: str
    value: float
    time: int
    step: int


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A data set that a run used, and the tags of that use."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None
    profile: str | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelLink:
    """A logged model that a run produced (`output`) or used."""

    model_id: str
    output: bool
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeRun:
    """A run, without the history of its metrics."""

    id: str
    experiment: Experiment
    name: str | None
    user: str | None
    status: str
    start: int | None
    end: int | None
    deleted: bool
    artifact_uri: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    latest: Mapping[str, LatestMetric]
    datasets: Sequence[DatasetInput]
    outputs: Sequence[ModelLink] = ()
    inputs: Sequence[ModelLink] | None = None
    """Models that it used; None in a listing, which does not tell."""

    @property
    def version(self) -> str:
        """A text that changes whenever anything changes that a listing shows: the last point of every metric included."""
        shown = [
            [self.experiment.name, self.name, self.user, self.status, self.start, self.end, self.deleted, self.artifact_uri],
            sorted(self.tags.items()),
            sorted(self.params.items()),
            sorted((m.key, repr(m.value), m.time, m.step) for m in self.latest.values()),
            sorted((d.name, d.digest, sorted(d.tags.items())) for d in self.datasets),
            sorted((link.model_id, link.step or 0) for link in self.outputs),
        ]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Score:
    """A logged model's metric, measured by a run."""

    name: str
    value: float
    time: int
    step: int
    run_id: str | None
    dataset_name: str | None
    dataset_digest: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeModel:
    """A logged model."""

    id: str
    name: str
    artifact_uri: str
    created: int
    status: str
    status_message: str | None
    type: str | None
    source_run: str | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    scores: Sequence[Score]


@dataclass(slots=True)
class Column:
    """Consecutive points of one metric: lists of equal length."""

    key: str
    times: list[int] = field(default_factory=list)
    steps: list[Step | None] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)


class Reader(Protocol):
    """A road into an MLflow store. Every method raises BackendErrors only, and may be called by several threads."""

    def experiments(self, *, deleted: bool) -> list[Experiment]:
        """Return the experiments by name; the deleted ones too where asked for."""

    def holds_runs(self, experiment: Experiment) -> bool:
        """Return whether the experiment has a run that is not deleted."""

    def runs(self, experiment: Experiment, wanted: RunFilter) -> Iterator[NativeRun]:
        """Yield the experiment's runs, oldest first: at least those that match."""

    def find(self, ids: Sequence[str]) -> list[NativeRun]:
        """Return the runs, deleted ones included, that have one of these ids as their own or in their `multitrack.run_id` tag."""

    def run(self, native_id: str) -> NativeRun | None:
        """Return a run with its `inputs`; None when there is none of this id."""

    def columns(self, run: NativeRun) -> Iterator[Column]:
        """Yield every point of every metric: by key, then time, step, NaN last, value; up to `CHUNK` points a column."""

    def models(self, run: NativeRun) -> list[tuple[ModelLink, NativeModel]]:
        """Return the logged models that the run produced or used, each once, by id."""

    def close(self) -> None:
        """Let go of connections."""

"""The reading API: runs at any address, in one form."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from .address import Address
from .backend import TAG_COMPLETE, Backend, RunFilter, RunRef, Source
from .config import load_settings
from .errors import ConfigError, MultitrackError, RunNotFoundError
from .fields import find_param, flatten, lookup, params_of, tags_of
from .listing import Runs, best_of, pandas
from .migration import make_filter
from .query import parse
from .recall import Recalled, recall
from .records import Artifact, ArtifactRef, CodeVersion, DataVersion, Environment, Origin, RunStatus
from .state import RunState, last_values
from .state import Series as Columns

if TYPE_CHECKING:
    import pandas as pd

    from .media.image import Image
    from .media.table import Table


def open(address: str | Address = "local", *, as_recorded: bool = False) -> Store:
    """Open the runs at an address for reading: `local`, `mlflow:http://127.0.0.1:5000`, or a target's name.

    Args:
        address: where; a run id in it is left aside, see `Store.run`.
        as_recorded: show runs that multitrack delivered there as they were recorded, not as people changed them since.

    Raises:
        ConfigError: there is no such address, or it cannot be read.
        BackendError: the service cannot be reached.
    """
    target = load_settings(Path.cwd(), os.environ).target(address)
    backend = target.connect()
    if not backend.capabilities.reads:
        raise ConfigError(f"{target} cannot be read: the {backend.label} backend only writes")
    return Store(str(target), backend, as_recorded=as_recorded)


class Store:
    """All runs at one address. Use it in a `with` block, or `close` it."""

    def __init__(self, address: str, backend: Backend, *, as_recorded: bool = False) -> None:
        self.address = address
        self._backend = backend
        self._as_recorded = as_recorded
        self._source: Source = backend.source()

    def projects(self) -> list[str]:
        """Return the projects' names."""
        return list(self._source.projects())

    def runs(
        self,
        project: str | Sequence[str] | None = None,
        *,
        ids: Sequence[str] | None = None,
        tags: Mapping[str, str | None] | None = None,
        status: RunStatus | Sequence[RunStatus] | None = None,
        since: datetime | float | None = None,
        until: datetime | float | None = None,
        params: Mapping[str, Any] | None = None,
        where: str | None = None,
        deleted: bool = False,
    ) -> Runs:
        """Return the runs that match, project by project, the oldest first. What a run holds is read when it is asked for.

        Args:
            project: one name or several.
            ids: only these runs.
            tags: tags that must be there; with the value, unless that is None.
            status: one status or several.
            since, until: started in between; datetimes, or seconds since 1970.
            params: params that must have these values, by dotted name. Each run is read to find out.
            where: a condition such as `params.lr < 0.1 and metrics.val/acc > 0.9`; see `multitrack.query`. It goes by what the listing
                tells, and reads a run only where that tells nothing.
            deleted: whether deleted runs are wanted as well.

        Raises:
            ConfigError: `where` is not understood.
        """
        wanted = make_filter(
            projects=[project] if isinstance(project, str) else project,
            runs=ids,
            tags=tags,
            statuses=[status] if isinstance(status, str) else status,
            since=since,
            until=until,
            deleted=deleted,
        )
        condition = None if where is None else parse(where)

        def find() -> Iterator[RunView]:
            for ref in self._source.runs(wanted):
                view = self._view(ref)
                if condition is not None and not condition.matches(lookup(view)):
                    continue
                if all(find_param(view.params, name) == value for name, value in (params or {}).items()):
                    yield view

        return Runs(find, self.address)

    def best(
        self,
        metric: str,
        project: str | Sequence[str] | None = None,
        *,
        goal: Literal["min", "max"] | None = None,
        where: str | None = None,
    ) -> RunView:
        """Return the run with the best value of a metric: the value that stands for it, see `Run.define_metric`.

        Runs without the metric, and those where it is NaN or no number, are never the best; of equal ones, it is the first to have started.

        Args:
            metric: its name.
            project: one name or several.
            goal: `min` or `max`; if left out, what the latest run with the metric defines, else `max`.
            where: a condition, as for `runs`.

        Raises:
            RunNotFoundError: no run has a number there; the message names the nearest metric.
            ConfigError: an argument is wrong.
        """
        if goal not in (None, "min", "max"):
            raise ConfigError(f"goal is 'min' or 'max', not {goal!r}")
        try:
            return best_of(self.runs(project, where=where), metric, goal)
        except LookupError as error:
            raise RunNotFoundError(f"{self.address}: {error}") from None

    def to_pandas(self, project: str | Sequence[str] | None = None, **conditions: Any) -> pd.DataFrame:
        """Return a DataFrame with a row for each run; arguments as for `runs`, columns as for `Runs.to_pandas`. Needs pandas."""
        return self.runs(project, **conditions).to_pandas()

    def run(self, id: str) -> RunView:
        """Return the run with this id: ours, or the service's own.

        Raises:
            RunNotFoundError: there is none.
        """
        for ref in self._source.runs(RunFilter(ids=[id], deleted=True)):
            return self._view(ref)
        raise RunNotFoundError(f"{self.address} has no run {id!r}; `multitrack runs {self.address}` lists those it has")

    def _view(self, ref: RunRef) -> RunView:
        return RunView(self._source, with_verdict(ref), self._backend, as_recorded=self._as_recorded)

    def close(self) -> None:
        """Let go of connections."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<multitrack.Store {self.address}>"


def with_verdict(ref: RunRef) -> RunRef:
    """Return a listed run with the status that it was delivered with: many a service has no word for `crashed`."""
    if ref.status != "failed" or (text := ref.tags.get(TAG_COMPLETE)) is None:
        return ref
    try:
        marker = json.loads(text)
    except json.JSONDecodeError:  # somebody has edited the tag
        return ref
    return replace(ref, status="crashed") if isinstance(marker, dict) and marker.get("status") == "crashed" else ref


class RunView:
    """A run to read. What the listing tells is there at once; the rest is read from the service when it is first asked for."""

    def __init__(self, source: Source, ref: RunRef, backend: Backend, *, as_recorded: bool = False) -> None:
        self._source = source
        self._backend = backend
        self._as_recorded = as_recorded
        self.ref = ref

    @property
    def id(self) -> str:
        """The run's id with us, the same wherever the run is."""
        return self.ref.id

    @property
    def native_id(self) -> str:
        """The run's id at the service."""
        return self.ref.native_id

    @property
    def project(self) -> str:
        return self.ref.project

    @property
    def name(self) -> str | None:
        return self.ref.name

    @property
    def status(self) -> RunStatus | None:
        """`crashed`, where a run that multitrack recorded vanished, whatever the service calls that; None if nobody knows."""
        return self.ref.status

    @property
    def started(self) -> datetime | None:
        """UTC, to the resolution that the service keeps."""
        return _moment(self.ref.started)

    @property
    def ended(self) -> datetime | None:
        """UTC; None while the run goes on."""
        return _moment(self.ref.ended)

    @property
    def url(self) -> str | None:
        return self.ref.url

    @property
    def tags(self) -> dict[str, str | None]:
        """A bare tag has the value None."""
        return self.state.tags

    @property
    def notes(self) -> str | None:
        return self.state.notes

    @property
    def params(self) -> dict[str, Any]:
        """Nested and typed as they were recorded; as texts where only a service that keeps texts has them."""
        return self.state.params

    @cached_property
    def summary(self) -> dict[str, Any]:
        """One value a metric: what its definition asks for, or its last; and what was set explicitly."""
        return last_values(self.state)

    @property
    def latest(self) -> Mapping[str, Any]:
        """One value a metric, like `summary`, but as the listing tells it, where it does: the run need not be read."""
        return self.summary if self.ref.metrics is None else self.ref.metrics

    @property
    def metric_names(self) -> list[str]:
        return list(self.state.metrics)

    def metrics(self, name: str) -> Series:
        """Return all points of a metric.

        Raises:
            KeyError: the run has no such metric; the message names the nearest.
        """
        if name not in self.state.metrics:
            from .errors import did_you_mean

            raise KeyError(f"run {self.id} has no metric {name!r}.{did_you_mean(name, self.metric_names)}")
        return Series(name, self.state.metrics[name])

    @property
    def code(self) -> CodeVersion | None:
        return self.state.code

    @property
    def data(self) -> list[DataVersion]:
        return list(self.state.data.values())

    @property
    def environment(self) -> Environment | None:
        """The first node's."""
        return next(iter(self.state.environments.values()), None)

    @property
    def artifacts(self) -> dict[str, Artifact]:
        return self.state.artifacts

    def download(self, name: str, to: str | Path) -> Path:
        """Write an artifact's content to the file `to`, and return that.

        Raises:
            KeyError: the run has no such artifact.
            PermanentError: the service has lost it.
        """
        from .adapt import Adapter

        there = self._recalled.native_artifact(name, Adapter(self._backend.capabilities))
        if there is None:
            raise KeyError(f"run {self.id} has no artifact {name!r}")
        path = Path(to)
        self._source.fetch(self.ref, there, path)
        return path

    def image(self, metric: str, step: float | None = None) -> Image:
        """Return the last image among a metric's points, or the last at a step; a figure that is an image, too.

        Raises:
            KeyError: there is none; or the service holds none that multitrack recorded as a point.
            PermanentError: the service has lost it.
        """
        from .media.image import Image

        found = self._last_file(metric, step, "an image", "image/")
        caption = self.artifacts[found.name].metadata.get("caption") if found.name in self.artifacts else None
        return Image(self._content(found.name), caption=caption if isinstance(caption, str) else None)

    def table(self, metric: str, step: float | None = None) -> Table:
        """Return the last table among a metric's points, or the last at a step.

        Raises:
            KeyError: there is none; or the service holds none that multitrack recorded as a point.
            PermanentError: the service has lost it.
        """
        from .media.table import Table

        return Table.from_json(self._content(self._last_file(metric, step, "a table", "application/json").name))

    def _last_file(self, metric: str, step: float | None, what: str, media_type: str) -> ArtifactRef:
        series = self.metrics(metric)
        for at, value in zip(reversed(series["step"]), reversed(series["value"]), strict=True):
            if isinstance(value, ArtifactRef) and (value.media_type or "").startswith(media_type) and step in (None, at):
                return value
        raise KeyError(f"run {self.id} has no point of {metric!r} that is {what}" + (f", at step {step}" if step is not None else ""))

    def _content(self, name: str) -> bytes:
        with tempfile.TemporaryDirectory(prefix="multitrack-") as folder:
            return self.download(name, Path(folder) / "content").read_bytes()

    @property
    def journal(self) -> Path | None:
        """The folder of the run's journal, where it lies in a local store."""
        return self._source.journal(self.ref)

    @property
    def origin(self) -> Origin | None:
        """Where a migrated run comes from."""
        return self.state.origin

    @property
    def state(self) -> RunState:
        """Everything, as one object."""
        return self._recalled.state

    @cached_property
    def _recalled(self) -> Recalled:
        return recall(self._source, self.ref, self._backend.capabilities, as_recorded=self._as_recorded)

    def _repr_html_(self) -> str:
        from .notebook import card

        facts: dict[str, Any] = {
            "run": self.id,
            "project": self.project,
            "status": self.status,
            "started": self.started,
            "ended": self.ended,
        }
        try:
            sections = {"params": flatten(params_of(self)), "metrics": dict(self.latest), "tags": tags_of(self)}
        except MultitrackError as error:  # the service is away: what the listing told is shown all the same
            facts, sections = {**facts, "unread": error}, {}
        return card(self.name or self.id, facts, sections, self.url)

    def __repr__(self) -> str:
        return f"<multitrack.RunView {self.id} {self.name!r} of {self.project!r}: {self.ref.status}>"


class Series:
    """All points of one metric, in the order in which they arrived: `series["step"]`, `["time"]`, `["value"]`, of the same length."""

    def __init__(self, name: str, columns: Columns) -> None:
        self.name = name
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns)

    def __getitem__(self, column: str) -> list[Any]:
        """Return a column: `step` (int, float or None), `time` (datetime, UTC) or `value`.

        Raises:
            KeyError: it is none of these.
        """
        if column == "step":
            return list(self._columns.steps)
        if column == "time":
            return [_moment(time) for time in self._columns.times]
        if column == "value":
            return list(self._columns.values)
        raise KeyError(f"a series has the columns 'step', 'time' and 'value', not {column!r}")

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame with the columns `step`, `time` and `value`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        frame: pd.DataFrame = pandas().DataFrame({column: self[column] for column in ("step", "time", "value")})
        return frame

    def __repr__(self) -> str:
        return f"<multitrack.Series {self.name!r}, {len(self):,} points>"


def _moment(microseconds: int | None) -> datetime | None:
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)

"""One run to read, and its metrics."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .backend import Backend, RunRef, Source
from .errors import MultitrackError
from .fields import flatten, params_of, tags_of
from .listing import pandas
from .recall import Recalled, recall
from .records import Artifact, ArtifactRef, CodeVersion, DataVersion, Environment, Origin, RunStatus
from .state import ColumnName, RunState, StoredSeries, last_values
from .state import Series as Columns

if TYPE_CHECKING:
    import pandas as pd

    from .media.image import Image
    from .media.table import Table


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
        return Image(self.content(found.name), caption=caption if isinstance(caption, str) else None)

    def table(self, metric: str, step: float | None = None) -> Table:
        """Return the last table among a metric's points, or the last at a step.

        Raises:
            KeyError: there is none; or the service holds none that multitrack recorded as a point.
            PermanentError: the service has lost it.
        """
        from .media.table import Table

        return Table.from_json(self.content(self._last_file(metric, step, "a table", "application/json").name))

    def _last_file(self, metric: str, step: float | None, what: str, media_type: str) -> ArtifactRef:
        series = self.metrics(metric)
        for at, value in zip(reversed(series["step"]), reversed(series["value"]), strict=True):
            if isinstance(value, ArtifactRef) and (value.media_type or "").startswith(media_type) and step in (None, at):
                return value
        raise KeyError(f"run {self.id} has no point of {metric!r} that is {what}" + (f", at step {step}" if step is not None else ""))

    def content(self, name: str) -> bytes:
        """Return an artifact's content; see `download`, for large ones."""
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
        return recall(self._source, self.ref, self._backend.capabilities, as_recorded=self._as_recorded, keep_records=False)

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


_COLUMNS: dict[str, ColumnName] = {"step": "steps", "time": "times", "value": "values"}


class Series:
    """All points of one metric, in the order in which they arrived: `series["step"]`, `["time"]`, `["value"]`, of the same length.

    Of a large run of the local store, each column is read when it is asked for, and not kept; `len` reads nothing.
    """

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
        if column not in _COLUMNS:
            raise KeyError(f"a series has the columns 'step', 'time' and 'value', not {column!r}")
        found = self._columns.column(_COLUMNS[column])
        return [_moment(time) for time in found] if column == "time" else list(found)

    def __iter__(self) -> Iterator[tuple[int | float | None, datetime, Any]]:
        """Yield (step, time, value) of each point. Of a large run of the local store, a part at a time is in memory."""
        for step, time, value in self._columns.points():
            yield step, _to_datetime(time), value

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame with the columns `step`, `time` and `value`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        columns, frame = self._columns, None
        library = pandas()
        if isinstance(columns, StoredSeries):
            frame = columns.stored.frame()
        if frame is None:
            frame = library.DataFrame({column: self[column] for column in ("step", "time", "value")})
        found: pd.DataFrame = frame
        return found

    def __repr__(self) -> str:
        return f"<multitrack.Series {self.name!r}, {len(self):,} points>"


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _to_datetime(microseconds)


def _to_datetime(microseconds: int) -> datetime:
    seconds, rest = divmod(microseconds, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)

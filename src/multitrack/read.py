"""The reading API: runs at any address, in one form."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from .address import Address
from .backend import TAG_COMPLETE, Backend, RunFilter, RunRef, Source
from .config import load_settings
from .errors import ConfigError, RunNotFoundError
from .fields import find_param, lookup
from .listing import Runs, best_of
from .migration import make_filter
from .query import parse
from .records import RunStatus
from .view import RunView, Series

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunView", "Series", "Store", "open", "with_verdict"]


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

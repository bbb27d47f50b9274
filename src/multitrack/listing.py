"""Several runs together: as a table, and the best of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .errors import MissingExtraError
from .fields import complaints, row_of
from .query import Field
from .state import definition_of

if TYPE_CHECKING:
    import pandas as pd

    from .view import RunView


class Runs:
    """The runs that were asked for. They are listed anew each time one iterates over them."""

    def __init__(self, find: Callable[[], Iterator[RunView]], address: str) -> None:
        self._find = find
        self._address = address

    def __iter__(self) -> Iterator[RunView]:
        return self._find()

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame with a row for each run: `id`, `name`, `project`, `status`, `started`, `ended` (UTC), `params.NAME`,
        `metrics.NAME` and `tags.NAME`. What a run does not have is missing there.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        rows = [row_of(view) for view in self]
        columns = dict.fromkeys(("id", "name", "project", "status", "started", "ended"))
        for group in ("params.", "metrics.", "tags."):
            columns |= dict.fromkeys(name for row in rows for name in row if name.startswith(group))
        frame: pd.DataFrame = pandas().DataFrame(rows, columns=list(columns))
        return frame

    def _repr_html_(self) -> str:
        from .notebook import grid

        rows = ([view.id, view.name, view.project, view.status, view.started, _shorten(view.latest)] for view in self)
        return grid(("run", "name", "project", "status", "started", "metrics"), rows)

    def __repr__(self) -> str:
        return f"<multitrack.Runs at {self._address}>"


def best_of(views: Iterable[RunView], metric: str, goal: Literal["min", "max"] | None = None) -> RunView:
    """Return the run with the best value of a metric; see `Store.best`.

    Raises:
        LookupError: no run has a number there.
    """
    by_start = sorted(views, key=lambda view: view.ref.started or 0)
    ranked = [view for view in by_start if _is_rankable(view.latest.get(metric))]
    if not ranked:
        told = complaints(by_start, [Field("metrics", metric)]) or [f"no run has a number for the metric {metric!r}"]
        raise LookupError(told[0] if by_start else "there are no such runs")
    choose = min if (goal or goal_of(by_start, metric)) == "min" else max
    return choose(ranked, key=lambda view: view.latest[metric])


def goal_of(views: Sequence[RunView], metric: str) -> Literal["min", "max"]:
    """Return whether less or more of a metric is better: what the latest of the runs that have it defines, else `max`. Reads that run."""
    having = [view for view in views if metric in view.latest]
    if not having:
        return "max"
    latest = max(having, key=lambda view: view.ref.started or 0)
    definition = definition_of(metric, latest.state)
    return (definition.goal if definition is not None else None) or "max"


def _is_rankable(value: Any) -> bool:
    """Return whether a value is a number that is less or greater than others."""
    return isinstance(value, int | float) and value == value  # noqa: PLR0124 - NaN is not


def pandas() -> Any:
    """Return the module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("to_pandas needs pandas: pip install pandas") from None
    return pd


def _shorten(values: Mapping[str, Any], most: int = 3) -> str:
    shown = [f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in list(values.items())[:most]]
    return ", ".join(shown) + (", ..." if len(values) > most else "")

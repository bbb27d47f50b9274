"""`multitrack runs`"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..backend import RESERVED_TAGS
from .output import AsJson, print_json, print_table
from .selection import Deleted, Projects, Since, Statuses, Tags, Until, parse_statuses, parse_tags, parse_time

if TYPE_CHECKING:
    from ..read import RunView

_SHOWN_METRICS = 3


def runs(
    address: Annotated[
        str, typer.Argument(help="Where: `local`, a target's name, or an address such as mlflow:http://127.0.0.1:5000.")
    ] = "local",
    project: Projects = None,
    tag: Tags = None,
    status: Statuses = None,
    since: Since = None,
    until: Until = None,
    deleted: Deleted = False,
    metric: Annotated[list[str] | None, typer.Option("--metric", "-m", help="A metric to show a column of; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="At most this many, the last ones.")] = None,
    as_json: AsJson = False,
) -> None:
    """List runs, here or at a service."""
    from .. import read

    with read.open(address) as store:
        chosen = list(
            store.runs(
                project,
                tags=parse_tags(tag),
                status=parse_statuses(status),
                since=parse_time(since, "--since"),
                until=parse_time(until, "--until"),
                deleted=deleted,
            )
        )
        if limit is not None:
            chosen = chosen[-limit:] if limit > 0 else []
        if as_json:
            print_json([describe(view) for view in chosen])
        elif not chosen:
            print(f"no runs at {store.address}")
        else:
            _print(chosen, metric)


def describe(view: RunView) -> dict[str, Any]:
    """Return what the listing tells of a run, in terms of JSON."""
    from ..records import to_wire
    from ..summary import iso_time

    ref = view.ref
    told = {
        "id": ref.id,
        "native_id": ref.native_id,
        "project": ref.project,
        "name": ref.name,
        "status": ref.status,
        "started": iso_time(ref.started),
        "ended": iso_time(ref.ended),
        "parent": ref.parent,
        "tags": {name: value for name, value in ref.tags.items() if not name.startswith(RESERVED_TAGS)},
        "params": ref.params if ref.params is not None else view.params,
        "metrics": view.latest,
        "url": ref.url,
        "deleted": ref.deleted,
    }
    return dict(to_wire(told))


def _print(views: Sequence[RunView], metrics: Sequence[str] | None) -> None:
    names = list(metrics or _common_metrics(views))
    header = ["RUN", "NAME", "PROJECT", "STATUS", "STARTED", "TOOK", *names]
    print_table(header, [_row(view, names) for view in views])


def _common_metrics(views: Sequence[RunView]) -> list[str]:
    counts: dict[str, int] = {}
    for view in views:
        for name in view.latest:
            counts[name] = counts.get(name, 0) + 1
    return sorted(counts, key=lambda name: -counts[name])[:_SHOWN_METRICS]


def _row(view: RunView, names: Sequence[str]) -> list[str]:
    status = view.status or "unreadable"
    state = f"{status}, deleted" if view.ref.deleted else status
    values = [show_value(view.latest.get(name)) for name in names]
    return [view.id, view.name or "", view.project, state, show_time(view.started), show_duration(view.started, view.ended), *values]


def show_time(moment: datetime | None) -> str:
    """Return a time for people, in their own time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


def show_duration(started: datetime | None, ended: datetime | None) -> str:
    """Return how long a run took."""
    from ..wording import duration

    return duration((ended - started).total_seconds()) if started and ended else "-"


def show_value(value: Any) -> str:
    """Return a value for people: floats to six significant digits."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return "{...}"
    return str(value)

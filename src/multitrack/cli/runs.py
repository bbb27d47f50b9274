"""`multitrack runs`"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .output import AsJson, print_json, print_table
from .selection import Deleted, Filter, Projects, Since, Statuses, Tags, Until, parse_statuses, parse_tags, parse_time

if TYPE_CHECKING:
    from ..query import Condition, Field
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
    condition: Filter = None,
    sort: Annotated[
        str | None, typer.Option("--sort", "-s", help="By this field; by a metric, the best first, by anything else the smallest.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="The other way round.")] = False,
    top: Annotated[int | None, typer.Option("--top", min=1, help="The first ones of the order.")] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", "-c", help="Fields to show, with commas: name,params.lr,metrics.val/acc,duration")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", "-m", help="A metric to show a column of; may be repeated.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="At most this many, the last ones.")] = None,
    as_json: AsJson = False,
) -> None:
    """List runs, here or at a service.

    Fields are id, name, project, status, started, ended, duration, params.NAME, metrics.NAME and tags.NAME.
    """
    from .. import read
    from ..export import describe_run
    from ..query import Field, parse, parse_field
    from ..records import to_wire

    if sort is None and (top is not None or reverse):
        raise ConfigError(f"{'--top' if top is not None else '--reverse'} needs an order: --sort FIELD; --limit N shows the last runs")
    order = parse_field(sort) if sort is not None else None
    shown = [field for text in split_fields(columns) if str(field := parse_field(text)) != "id"] if columns is not None else None
    wanted = parse(condition) if condition is not None else None

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
        there = chosen
        asked = [*(wanted.fields() if wanted else ()), *(shown or ()), *(Field("metrics", name) for name in metric or ())]
        chosen = choose(chosen, wanted, order, reverse=reverse)[:top]
        if limit is not None:
            chosen = chosen[-limit:] if limit > 0 else []
        warn(there, [*asked, *([order] if order else [])])
        if as_json:
            print_json([to_wire(describe_run(view)) for view in chosen])
        elif not chosen:
            print(
                f"none of the {len(there):,} runs at {store.address} meets the filter"
                if there and wanted
                else f"no runs at {store.address}"
            )
        elif shown is not None:
            print_table(["RUN", *map(str, shown)], [[view.id, *(_cell(view, field) for field in shown)] for view in chosen])
        else:
            fields = [field for field in dict.fromkeys(([order] if order else []) + asked) if field.group is not None]
            _print(chosen, metric, fields)


def choose(views: list[RunView], wanted: Condition | None, order: Field | None, *, reverse: bool = False) -> list[RunView]:
    """Return the runs that meet a condition, in an order: by a metric the best first, by any other field the smallest."""
    from ..fields import lookup, sort_views
    from ..listing import goal_of

    chosen = views if wanted is None else [view for view in views if wanted.matches(lookup(view))]
    if order is None:
        return chosen
    descending = order.group == "metrics" and goal_of(chosen, order.name) == "max"
    return sort_views(chosen, order, descending=descending != reverse)


def warn(views: Sequence[RunView], fields: Sequence[Field]) -> None:
    """Say which fields no run has: misspelt ones would otherwise just find nothing."""
    from ..fields import complaints

    for line in complaints(views, fields) if views else ():
        print(f"multitrack: {line}", file=sys.stderr)


def split_fields(text: str) -> list[str]:
    """Return the fields of a text with commas; one in quotes may hold commas itself."""
    parts = re.findall(r"""(?:"[^"]*"|'[^']*'|[^,"'])+""", text)
    return [part.strip() for part in parts if part.strip()]


def _print(views: Sequence[RunView], metrics: Sequence[str] | None, fields: Sequence[Field]) -> None:
    names = list(metrics or _common_metrics(views))
    more = [field for field in fields if not (field.group == "metrics" and field.name in names)]
    header = ["RUN", "NAME", "PROJECT", "STATUS", "STARTED", "TOOK", *names, *map(str, more)]
    print_table(header, [[*_row(view, names), *(_cell(view, field) for field in more)] for view in views])


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


def _cell(view: RunView, field: Field) -> str:
    from ..fields import lookup
    from ..query import MISSING
    from ..wording import duration

    if field.group is None and field.name in ("started", "ended"):
        return show_time(getattr(view, field.name))
    value = lookup(view)(field)
    if value is MISSING:
        return "-"
    if field.group == "tags" and not value:  # a bare one; many a service has an empty text for it
        return "yes"
    return duration(value) if field.group is None and field.name == "duration" else show_value(value)


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

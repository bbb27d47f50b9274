"""`multitrack export`"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .output import AsJson, RunProgress, print_json
from .selection import Deleted, Filter, Projects, Statuses, Tags, parse_statuses, parse_tags

if TYPE_CHECKING:
    from ..address import Address
    from ..read import RunView


def export(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="ADDRESS|RUN", help="Addresses, or runs as ID or ADDRESS#ID; all of the local store without any."),
    ] = None,
    to: Annotated[Path, typer.Option("--to", help="The file; .csv, .json or .jsonl.")] = ...,  # type: ignore[assignment]
    points: Annotated[bool, typer.Option("--points", help="A row for each point of each metric, not for each run.")] = False,
    project: Projects = None,
    tag: Tags = None,
    status: Statuses = None,
    condition: Filter = None,
    deleted: Deleted = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write runs, or all their points, to a file: CSV, JSON, or JSON lines.

    In CSV, lists are JSON and no value is an empty cell. In JSON, NaN is {"$": "nan"}.
    """
    from ..address import Address
    from ..export import export_points, export_runs, format_of
    from ..query import parse

    format_of(to)
    if to.exists() and not force:
        raise ConfigError(f"{to} is there already; --force replaces it")
    if not to.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {to.absolute().parent}")
    conditions = {"tags": parse_tags(tag), "status": parse_statuses(status), "where": condition, "deleted": deleted}
    if condition is not None:
        parse(condition)
    addresses = [Address.parse(text) for text in what or ["local"]]
    with ExitStack() as stack:
        chosen = list(_find(stack, addresses, project, conditions))
        progress = stack.enter_context(RunProgress("exporting"))
        progress.expect(len(chosen))
        counted = _count(chosen, progress)
        done = export_points(counted, to) if points else export_runs(counted, to)
    if as_json:
        print_json({"file": to, "runs": done.runs, "points": done.points if points else None, "failures": done.failures})
    else:
        runs = f"{done.runs:,} run{'' if done.runs == 1 else 's'}"
        print(f"{to}: {done.points:,} points of {runs}" if points else f"{to}: {runs}")
        for run, reason in done.failures.items():
            print(f"  {run} is not whole: {reason}")
    if done.failures:
        raise typer.Exit(1)


def _find(stack: ExitStack, addresses: Sequence[Address], project: list[str] | None, conditions: Mapping[str, Any]) -> Iterator[RunView]:
    """Yield the runs, each once, in the order in which they are named."""
    from .. import read

    stores: dict[tuple[str, str | None], read.Store] = {}
    seen: set[tuple[str, str]] = set()
    for address in addresses:
        place = (address.target, address.location)
        if place not in stores:
            stores[place] = stack.enter_context(read.open(address))
        store = stores[place]
        views = [store.run(address.run_id)] if address.run_id else store.runs(project, **conditions)
        for view in views:
            if (key := (store.address, view.id)) not in seen:
                seen.add(key)
                yield view


def _count(views: Sequence[RunView], progress: RunProgress) -> Iterator[RunView]:
    for view in views:
        yield view
        progress.advance(view.name or view.id, 0, failed=False)

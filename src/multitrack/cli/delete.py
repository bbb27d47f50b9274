"""`multitrack delete`"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .output import AsJson, print_json
from .status import Directory, open_store

if TYPE_CHECKING:
    from ..housekeeping import Standing


def delete(
    runs: Annotated[list[str], typer.Argument(help="The runs' ids.")],
    directory: Directory = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even what is not delivered everywhere.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove runs from the local store, with their files, for good. What services have of them stays there."""
    from ..housekeeping import delete as remove
    from ..housekeeping import examine, find_runs, refusals
    from ..quota import in_words

    _, store = open_store(directory)
    standings = [examine(run) for run in find_runs(store, runs)]
    if refused := refusals(standings, force=force):
        raise ConfigError(refused[0] + (f" (and {len(refused) - 1:,} more like it)" if len(refused) > 1 else ""))
    if not yes:
        _ask(standings)
    done = remove(store, standings)
    if as_json:
        print_json({"store": store.root, "removed": [describe_standing(one) for one in done.runs], "bytes": done.bytes})
    else:
        print(f"{count_runs(len(done.runs))} removed, {in_words(done.bytes)}")


def count_runs(count: int) -> str:
    """Return `1 run`, `2 runs`."""
    return f"{count:,} run{'' if count == 1 else 's'}"


def describe_standing(one: Standing) -> dict[str, Any]:
    """Return how a run stands, in terms of JSON."""
    return {
        "run": one.run.id,
        "name": one.name,
        "project": one.project,
        "bytes": one.bytes,
        "whole_at": list(one.whole),
        "reason": one.reason,
    }


def _ask(standings: Sequence[Standing]) -> None:
    from ..quota import in_words

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError("removing runs is for good, and nobody is here to be asked: say it with --yes")
    for one in standings[:10]:
        where = f"also at {', '.join(one.whole)}" if one.reason is None else one.reason
        print(f"{one.run.id}  {one.name or ''}  {one.project}  {in_words(one.bytes)}  {where}", file=sys.stderr)
    if len(standings) > 10:
        print(f"and {len(standings) - 10:,} more", file=sys.stderr)
    only_here = sum(one.reason is not None for one in standings)
    warning = f" {only_here:,} of them cannot be had again from anywhere." if only_here else ""
    if not typer.confirm(f"Remove {count_runs(len(standings))} for good?{warning}", err=True):
        raise typer.Exit(1)

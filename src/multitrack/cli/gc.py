"""`multitrack gc`"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .delete import count_runs, describe_standing
from .output import AsJson, print_json, print_table
from .status import Directory, open_store

if TYPE_CHECKING:
    from ..housekeeping import Removed

_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def gc(
    delivered: Annotated[bool, typer.Option("--delivered", help="Runs that have ended and that every target has whole.")] = False,
    older_than: Annotated[str | None, typer.Option("--older-than", help="Of those, the ones that ended so long ago: 12h, 30d, 8w.")] = None,
    columns: Annotated[bool, typer.Option("--columns", help="Side files of large runs: they are made again when needed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing; tell what would go.")] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Make room in the local store.

    Removes what processes left that died while writing; with --delivered, also the runs, files and all, that every target has whole. Never
    a run that goes on, one that a target still lacks a part of, or one that is nowhere else: `multitrack delete` is for those. With
    --columns, also what makes the reading of large runs quick, and is made again by the next one to read them.
    """
    from ..housekeeping import prune

    if older_than is not None and not delivered:
        raise ConfigError("--older-than chooses among delivered runs: add --delivered")
    _, store = open_store(directory)
    seconds = 0.0 if older_than is None else parse_age(older_than)
    done = prune(store, delivered=delivered, older_than=seconds, columns=columns, dry_run=dry_run)
    if as_json:
        print_json(
            {
                "store": store.root,
                "dry_run": dry_run,
                "removed": [describe_standing(one) for one in done.runs],
                "kept": [describe_standing(one) for one in done.kept],
                "leftovers": done.leftovers,
                "columns": done.columns,
                "bytes": done.bytes,
            }
        )
    else:
        _print(done, delivered=delivered, dry_run=dry_run)


def parse_age(text: str) -> float:
    """Return a time span such as `30d` in seconds.

    Raises:
        ConfigError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhdw])", text.strip().lower())
    if match is None:
        raise ConfigError(f"--older-than: {text!r} is no time span; write 12h, 30d or 8w")
    return float(match[1]) * _SECONDS[match[2]]


def _print(done: Removed, *, delivered: bool, dry_run: bool) -> None:
    from ..quota import in_words

    if dry_run and done.runs:
        rows = [(one.run.id, one.name or "", one.project, in_words(one.bytes), ", ".join(one.whole)) for one in done.runs]
        print_table(("RUN", "NAME", "PROJECT", "SIZE", "WHOLE AT"), rows)
    parts = []
    if delivered:
        parts.append(count_runs(len(done.runs)))
    if done.columns:
        parts.append(f"{done.columns:,} side file{'' if done.columns == 1 else 's'}")
    if done.leftovers or not (delivered or done.columns):
        parts.append(f"{done.leftovers:,} leftover{'' if done.leftovers == 1 else 's'}")
    if not (done.runs or done.leftovers or done.columns):
        print("nothing to remove")
    else:
        print(f"{' and '.join(parts)} {'would be removed' if dry_run else 'removed'}, {in_words(done.bytes)}")
    reasons: dict[str, int] = {}
    for one in done.kept:
        reason = re.sub(r"\d[\d,]* ", "", one.reason) if one.reason else "ended too recently"
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        print(f"  {count_runs(count)} stay{'s' if count == 1 else ''}: {reason}")

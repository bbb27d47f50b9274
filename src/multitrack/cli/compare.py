"""`multitrack compare`"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .output import AsJson, print_json

if TYPE_CHECKING:
    from ..comparison import Comparison
    from ..view import RunView


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Runs to compare: ids in the local store, or ADDRESS#ID.")],
    as_json: AsJson = False,
) -> None:
    """Show what differs between runs, record by record: code, data, params, packages, machine, and the metrics beside each other."""
    from .. import read
    from ..address import Address
    from ..comparison import show_comparison

    addresses = [Address.parse(text) for text in runs]
    if len(addresses) < 2:
        raise ConfigError("compare takes two runs or more: ids in the local store, or ADDRESS#ID; `multitrack runs` lists them")
    if nameless := next((text for text, one in zip(runs, addresses, strict=True) if one.run_id is None), None):
        raise ConfigError(f"{nameless!r} names no run: write its id, 32 letters and digits, or ADDRESS#ID; `multitrack runs` lists them")
    with ExitStack() as stack:
        views = [stack.enter_context(read.open(one)).run(one.run_id or "") for one in addresses]
        places = [str(Address(one.target, one.location)) for one in addresses]
        comparison = _compare(views, ["" if place == "local" else place for place in places])
    if as_json:
        print_json(comparison.to_json())
    else:
        print("\n".join(show_comparison(comparison)))


def _compare(views: Sequence[RunView], places: Sequence[str]) -> Comparison:
    from ..comparison import RunCode, RunData, Subject, code_changes, compare_runs, data_changes

    labels = _labels(views)
    subjects = [Subject(label, view.state, place) for label, view, place in zip(labels, views, places, strict=True)]
    codes = [
        RunCode(label, view.code, view.artifacts, view.content) for label, view in zip(labels, views, strict=True) if view.code is not None
    ]
    data = data_changes([RunData(label, view.data, view.content) for label, view in zip(labels, views, strict=True)])
    return compare_runs(subjects, code_changes(codes, Path.cwd()), data)


def _labels(views: Sequence[RunView]) -> list[str]:
    """Return what the runs are called above their columns: their names where those are short and differ, else the ids' beginnings."""
    names = [view.name or "" for view in views]
    if all(0 < len(name) <= 16 for name in names) and len(set(names)) == len(names):
        return names
    ids = [view.id[:8] for view in views]
    return ids if len(set(ids)) == len(ids) else [f"{one} [{place}]" for place, one in enumerate(ids, start=1)]

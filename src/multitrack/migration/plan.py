"""What there is to do: which runs, in which order, and which of them the destination has already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import orjson

from ..backend import TAG_COMPLETE, Backend, RunFilter, RunRef, Source
from ..delivery.attachment import MAPPING_VERSION
from ..errors import PermanentError

Standing = Literal["new", "partial", "changed", "unchanged"]
"""`partial`: the destination has something of the run, and no completion marker."""


@dataclass(frozen=True)
class Planned:
    """A run that is to be moved."""

    run: RunRef
    standing: Standing


def plan(source: Source, destination: Backend, wanted: RunFilter) -> list[Planned]:
    """Return the runs that match, parents before their children.

    Raises:
        BackendError: a service cannot be read.
    """
    runs = list(source.runs(wanted))
    there = find_markers(destination, {run.project for run in runs}) if runs else {}
    return [Planned(run, standing_of(run, there)) for run in parents_first(runs)]


def find_markers(destination: Backend, projects: Iterable[str]) -> dict[str, str | None]:
    """Return, for every run of these projects at the destination, the text of its completion marker, if it has one.

    Raises:
        BackendError: the destination cannot be read.
    """
    if not destination.capabilities.reads:
        return {}
    try:
        reading = destination.source()
    except PermanentError:  # a store or a database that is not there yet
        return {}
    try:
        found = reading.runs(RunFilter(projects=sorted(projects), deleted=True))
        return {run.id: run.tags.get(TAG_COMPLETE) for run in found}
    finally:
        reading.close()


def standing_of(run: RunRef, there: Mapping[str, str | None]) -> Standing:
    """Return what the destination has of a run."""
    if run.id not in there:
        return "new"
    text = there[run.id]
    if text is None:
        return "partial"
    try:
        marker = orjson.loads(text)
    except orjson.JSONDecodeError:  # somebody has edited it
        return "changed"
    same = isinstance(marker, dict) and marker.get("mapping") == MAPPING_VERSION and marker.get("version") == run.version
    return "unchanged" if same and run.version is not None else "changed"


def parents_first(runs: Sequence[RunRef]) -> list[RunRef]:
    """Return the runs in their order, but each after its parent. A circle of parents is cut where it is met first."""
    return [run for generation in generations(runs) for run in generation]


def generations(runs: Sequence[RunRef]) -> list[list[RunRef]]:
    """Return the runs without a parent among them, then those runs' children, and so on."""
    known = {run.id: run for run in runs}
    depths: dict[str, int] = {}

    for run in runs:
        chain = []
        current: RunRef | None = run
        while current is not None and current.id not in depths and current not in chain:
            chain.append(current)
            current = known.get(current.parent) if current.parent is not None else None
        depth = depths[current.id] + 1 if current is not None and current.id in depths else 0
        for link in reversed(chain):
            depths[link.id] = depth
            depth += 1
    levels: list[list[RunRef]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for run in runs:
        levels[depths[run.id]].append(run)
    return levels

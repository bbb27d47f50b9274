"""A run that multitrack wrote to Neptune, or into an offline folder, read back as records. Pure: see `encode` for the other way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from multitrack.backend import RESERVED_TAGS
from multitrack.errors import RecordError
from multitrack.records import Artifact, MetricSource, Points, Record, RunFinished, RunStarted, RunStatus, RunUpdated, decode, from_wire

from . import names
from .steps import original


class Concluded(NamedTuple):
    """What a conclusion told."""

    status: RunStatus
    time: int | None
    error: str | None
    deleted: bool
    tags: dict[str, str]


def read_conclusion(data: bytes | None) -> Concluded | None:
    """Return a conclusion; None where there is none, or none that can be read."""
    try:
        return None if data is None else Concluded(**from_wire(orjson.loads(data)))
    except (orjson.JSONDecodeError, RecordError, TypeError):
        return None


def read_documents(documents: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of the batches' files, which come in the batches' order."""
    for document in documents:
        for line in document.splitlines():
            yield decode(line)[1]


def ending(concluded: Concluded | None) -> Iterator[Record]:
    """Yield the run's last records."""
    if concluded is None:
        return
    time = concluded.time if concluded.time is not None else 0
    if concluded.tags or concluded.deleted:
        yield RunUpdated(time=time, tags={**concluded.tags}, deleted=concluded.deleted or None)
    if concluded.status in ("finished", "failed", "killed", "crashed"):
        yield RunFinished(time=time, status=concluded.status, error=concluded.error)


def points(name: str, stands: list[float], times: list[int], values: list[Any], told: Mapping[float, str]) -> Points:
    """Return a float series' points with the steps that they had.

    Args:
        name: the metric's.
        stands, times, values: of the points at Neptune.
        told: texts of the series of steps, by where the points stand.
    """
    times = [time // 1000 * 1000 for time in times]
    steps: list[Any] = [original(place, told.get(place)) for place in stands]
    source: MetricSource = "system" if name.startswith(names.SYSTEM_METRICS) else "user"
    return Points(
        time=times[0],
        name=name,
        steps=steps if any(step is not None for step in steps) else None,
        times=times,
        values=values,
        source=source,
    )


def own_artifacts(paths: Iterable[str], time: int) -> Iterator[Artifact]:
    """Yield the artifacts that no record tells of: those that came with the conclusion."""
    start = names.ARTIFACTS + names.OURS
    return (Artifact(time=time, name=path.removeprefix(names.ARTIFACTS)) for path in sorted(paths) if path.startswith(start))


def is_metric(path: str) -> bool:
    """Return whether a float series is a metric of ours."""
    return not path.startswith(names.WRITTEN)


def life(records: Iterable[Record]) -> dict[str, Any]:
    """Return what a listing tells of the run: project, name, started, parent, tags, deleted, status, ended."""
    found: dict[str, Any] = {"tags": {}, "status": "running", "deleted": False, "ended": None}
    for record in records:
        if isinstance(record, RunStarted) and "project" not in found:
            found |= {"id": record.id, "project": record.project, "name": record.name, "started": record.time, "parent": record.parent}
            found["tags"] |= record.tags
        elif isinstance(record, RunUpdated):
            found["name"] = record.name or found.get("name")
            found["tags"] = {name: value for name, value in found["tags"].items() if name not in record.removed_tags} | record.tags
            found["deleted"] = found["deleted"] if record.deleted is None else record.deleted
            if record.status is not None:
                found |= {"status": record.status, "ended": None}
        elif isinstance(record, RunFinished):
            found |= {"status": record.status, "ended": record.time}
    if found.get("parent") is None:
        found["parent"] = found["tags"].get(f"{RESERVED_TAGS}parent")
    return found

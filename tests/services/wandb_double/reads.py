"""What the double answers to those who read whole projects: filtered listings, exported histories, consoles line by line.

Filters are MongoDB's, as far as they are used; what is not known here is refused.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from .resolvers import RESOLVERS, connection, resolves
from .state import CONSOLE, HISTORY, Artifact, Project, RefusedError, Run, StoredFile

_CONSOLE_LINE = re.compile(r"(ERROR )?(\d{4}-\d\d-\d\dT\S+) (?:\[([^\]]+)\] )?(.*)", re.DOTALL)
LINES_AT_MOST = 10_000
"""In an answer, whatever is asked for."""


# -- listings -------------------------------------------------------------------------------------------------------------------


@resolves("Query.models")
def _models(double: Any, _: Any, entityName: str | None = None, first: int | None = None, after: str | None = None) -> dict[str, Any]:  # noqa: N803
    entity = double.state.entity(entityName)
    return connection([project for (owner, _), project in sorted(double.state.projects.items()) if owner == entity], first or 50, after)


@resolves("Project.runs")
def _runs(
    _: Any, project: Project, filters: str | None = None, order: str | None = None, first: int | None = None, after: str | None = None
) -> dict[str, Any]:
    if order not in (None, "+created_at", "-created_at"):
        raise RefusedError(400, f"the double does not order by {order}")
    conditions = json.loads(filters or "{}")
    found = sorted(project.runs.values(), key=lambda run: run.created_at, reverse=order == "-created_at")
    return connection([run for run in found if matches(run, conditions)], min(first or 50, 1000), after)


@resolves("Project.runCount")
def _run_count(_: Any, project: Project, filters: str | None = None) -> int:
    return sum(matches(run, json.loads(filters or "{}")) for run in project.runs.values())


def matches(run: Run, conditions: Mapping[str, Any]) -> bool:
    """Return whether a run meets MongoDB's conditions."""
    return all(_meets(run, key, condition) for key, condition in conditions.items())


def _meets(run: Run, key: str, condition: Any) -> bool:
    if key in ("$and", "$or"):
        return (all if key == "$and" else any)(matches(run, one) for one in condition)
    known = {"name": run.name, "state": run.state, "createdAt": run.created_at, "displayName": run.display_name}
    if key not in known:
        raise RefusedError(400, f"the double does not filter by {key}")
    value = known[key]
    if not isinstance(condition, Mapping):
        return bool(value == condition)
    return all(_compare(value, operator, wanted) for operator, wanted in condition.items())


def _compare(value: Any, operator: str, wanted: Any) -> bool:
    if isinstance(value, datetime):
        wanted = datetime.fromisoformat(wanted).replace(tzinfo=UTC)
    if operator == "$in":
        return value in wanted
    if operator == "$ne":
        return bool(value != wanted)
    if operator == "$gte":
        return bool(value >= wanted)
    if operator == "$lt":
        return bool(value < wanted)
    raise RefusedError(400, f"the double does not know {operator}")


# -- histories --------------------------------------------------------------------------------------------------------------------


@lru_cache(200_000)
def _step(line: str) -> int:
    return int(json.loads(line)["_step"])


@resolves("Run.historyKeys")
def _history_keys(_: Any, run: Run) -> dict[str, Any] | None:
    lines = run.lines[HISTORY]
    if not lines:
        return None
    return {"lastStep": _step(lines[-1]), "keys": {key: {} for key in json.loads(lines[-1])}, "sets": []}


def export(double: Any, run: Run, rows: int) -> None:
    """Have the service export the first rows of a run's history to two parquet files; `history` gives the others only."""
    import pyarrow
    from pyarrow import parquet

    exported = [json.loads(line) for line in run.lines[HISTORY][:rows]]
    run.exports = []
    run.exported_rows = rows
    for part in (exported[: rows // 2], exported[rows // 2 :]):
        buffer = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(part), buffer)
        file = StoredFile(f"{run.name}.runhistory.parquet")
        double.url_of(file)
        file.put(buffer.getvalue())
        run.exports.append(file)


@resolves("Run.parquetHistory")
def _parquet_history(double: Any, run: Run, liveKeys: Sequence[str]) -> dict[str, Any]:  # noqa: N803
    live = [json.loads(line) for line in run.lines[HISTORY][run.exported_rows :]]
    data = [{key: float(row[key]) for key in liveKeys} for row in live] if run.exports else None
    return {"parquetUrls": [double.url_of(file) for file in run.exports], "liveData": data}


@resolves("Run.history")
def _history(
    double: Any, run: Run, minStep: int | None = None, maxStep: int | None = None, samples: int | None = None  # noqa: N803
) -> list[str]:  # fmt: skip
    lines = run.lines[HISTORY][run.exported_rows :]
    wanted = min(samples or 500, double.state.rows_at_most)
    if minStep is None and maxStep is None:
        return lines[:: max(-(-len(lines) // wanted), 1)]
    return [line for line in lines if (minStep or 0) <= _step(line) < (maxStep if maxStep is not None else 2**63)][:wanted]


# -- consoles ---------------------------------------------------------------------------------------------------------------------


@resolves("Run.logLines")
def _log_lines(
    _: Any,
    run: Run,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    useImprovedPagination: bool | None = None,  # noqa: N803 - the schema's
) -> dict[str, Any] | None:
    lines = [_log_line(number, line) for number, line in enumerate(run.lines[CONSOLE])]
    if not lines:
        return None
    if last is not None:
        return connection(lines[-last:])
    if not useImprovedPagination:
        raise RefusedError(400, "the double pages consoles in the improved way only")
    return connection(lines, min(first or 100, LINES_AT_MOST), after)


def _log_line(number: int, line: str) -> dict[str, Any]:
    found = _CONSOLE_LINE.fullmatch(line)
    level, timestamp, label, text = found.groups() if found is not None else (None, None, None, line)
    return {"number": number, "timestamp": timestamp, "level": "error" if level else None, "label": label, "line": text}


@resolves("Project.artifact")
def _artifact(_: Any, project: Project, name: str) -> Artifact | None:
    collection = project.collections.get(name.partition(":")[0])
    alias = name.partition(":")[2] or "latest"
    versions = collection.versions if collection is not None else []
    return next((version for version in versions if alias in (f"v{version.version}", *version.aliases)), None)


RESOLVERS |= {
    "Run.projectId": lambda _, run: int(run.project.created_at.timestamp()),
    "Run.sweepName": lambda _, run: run.fields.get("sweep"),
}

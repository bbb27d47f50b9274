"""`run.json`: a run as it stands, for people, for jq, and for listings. Rebuilt from the records whenever they have changed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from .errors import RecordError
from .journal import Journal, RunFolder, write_atomically
from .records import from_wire, to_wire
from .state import Outline, RunState, fold, last_values

_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def summarise(folder: RunFolder) -> dict[str, Any]:
    """Return what `run.json` says, after bringing it up to date.

    Raises:
        RecordError: the journal cannot be read.
        OSError: the file cannot be written.
    """
    summary, fresh = _summary_of(folder)
    if fresh:
        write_atomically(folder.summary, orjson.dumps(to_wire(summary), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return summary


def read_summary(folder: RunFolder) -> dict[str, Any]:
    """Like `summarise`, for a store that may be read-only."""
    with contextlib.suppress(OSError):
        return summarise(folder)
    return _summary_of(folder)[0]


def _summary_of(folder: RunFolder) -> tuple[dict[str, Any], bool]:
    """Return what `run.json` should say, and whether it does not say so yet."""
    journal = Journal(folder)
    sizes, alive = dict(journal.sizes()), journal.is_alive()
    known = _read(folder)
    if known is not None and not alive and known.get("sizes") == sizes and known.get("status") != "running":
        return known, False
    return {"version": _VERSION, **_describe(journal), "sizes": sizes}, True


def _read(folder: RunFolder) -> dict[str, Any] | None:
    try:
        known = from_wire(orjson.loads(folder.summary.read_bytes()))
    except (OSError, orjson.JSONDecodeError, RecordError):
        return None
    return known if isinstance(known, dict) and known.get("version") == _VERSION else None


def _describe(journal: Journal) -> dict[str, Any]:
    outline = Outline()
    outline.take(journal.records_but(outline.take_line))
    if outline.has_means:
        state = fold(journal.records())
        counts = {name: len(series) for name, series in state.metrics.items()}
    else:
        state, counts = outline.state(), outline.counts()
    verdict = journal.verdict()
    state.status, state.ended = verdict.status, verdict.ended
    return {**describe(state), "metrics": counts}


def describe(state: RunState) -> dict[str, Any]:
    """Return a run's state in terms of JSON: times as ISO 8601, of each metric the number of points and the value that stands for it."""
    last: Mapping[str, Any] = last_values(state)
    return {
        "id": state.id,
        "project": state.project,
        "name": state.name,
        "status": state.status,
        "started": iso_time(state.started),
        "started_us": state.started,
        "ended": iso_time(state.ended),
        "ended_us": state.ended,
        "deleted": state.deleted,
        "error": state.error,
        "user": state.user,
        "host": state.host,
        "group": state.group,
        "job_type": state.job_type,
        "parent": state.parent,
        "notes": state.notes,
        "tags": state.tags,
        "params": state.params,
        "summary": dict(last),
        "metrics": {name: len(series) for name, series in state.metrics.items()},
        "data": [{"name": data.name, "role": data.role, "digest": data.digest, "uri": data.uri} for data in state.data.values()],
        "code": {"commit": state.code.commit, "branch": state.code.branch, "dirty": state.code.dirty} if state.code else None,
        "artifacts": {name: artifact.size for name, artifact in state.artifacts.items()},
    }


def iso_time(microseconds: int | None) -> str | None:
    """Return a time as ISO 8601, UTC; None where there is none, or none that a date can say."""
    if microseconds is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None

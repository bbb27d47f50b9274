"""What the service's answers say, in the words of `native`. Pure.

Only fields are asked for that wandb's own SDK asks for: the service refuses a whole question for one field that it does not know.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from multitrack.backend import RunFilter
from multitrack.records import MetricDefinition, Microseconds

from . import names
from .native import NativeRun

RUN_FIELDS = """
    id name displayName state config summaryMetrics tags notes group jobType sweepName commit createdAt heartbeatAt
    historyLineCount eventsLineCount logLineCount fileCount user { username }
"""
CLOCK_SKEW = 86_400_000_000
"""Microseconds by which the clock of a machine that trains may differ from the service's."""
_STARTED_AT = "startedAt"
_HEARTBEATS = 60_000_000
"""Microseconds after its end in which W&B may hear of a run."""
_SUMMARY_RULES: Mapping[int, Literal["min", "max", "mean", "last", "none", "first"]] = {
    1: "min", 2: "max", 3: "mean", 5: "last", 6: "none", 8: "first",
}  # fmt: skip
"""By their numbers in W&B's MetricSummary, which is how a run's config has them."""
_BEST = 4
_DEFINED = 3


def native_run(
    node: Mapping[str, Any], *, entity: str, project: str, url: str | None = None, metadata: Mapping[str, Any] | None = None
) -> NativeRun:
    """Return a run as the service describes it.

    Args:
        node: the answer, with `RUN_FIELDS`.
        entity: whose it is.
        project: W&B's project.
        url: the run's page.
        metadata: the content of `wandb-metadata.json`, where it was read.
    """
    metadata = metadata or {}
    config = config_of(node)
    summary = json.loads(node["summaryMetrics"] or "{}")
    git = metadata.get("git")
    started = microseconds(metadata.get(_STARTED_AT)) or microseconds(node["createdAt"])
    return NativeRun(
        id=node["name"],
        project=project,
        entity=entity,
        name=node["displayName"],
        notes=node["notes"],
        group=node["group"],
        job_type=node["jobType"],
        sweep=node["sweepName"],
        host=metadata.get("host"),
        user=(node["user"] or {}).get("username"),
        tags=list(node["tags"] or ()),
        config=config,
        summary=summary,
        state=node["state"],
        started=started,
        ended=_ended(summary, started, microseconds(node["heartbeatAt"])),
        commit=node["commit"],
        remote=git.get("remote") if isinstance(git, Mapping) else None,
        metadata=metadata,
        url=url,
        version=version_of(node),
    )


def config_of(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config, nested, without its `value` wrappings."""
    config = json.loads(node["config"] or "{}")
    return {key: item["value"] for key, item in config.items() if isinstance(item, Mapping) and "value" in item}


def _ended(summary: Mapping[str, Any], started: Microseconds | None, heartbeat: Microseconds | None) -> Microseconds | None:
    """Return when a run was seen last: W&B notes how many whole seconds it took, and when it heard of it last.

    The second is more exact, but for a run that was brought there later, or was edited.
    """
    own = summary.get(names.CONFIG_INTERNAL)
    runtime = own.get("runtime") if isinstance(own, Mapping) else None
    if started is None or not isinstance(runtime, int | float):
        return heartbeat
    ended = started + round(runtime * 1e6)
    return heartbeat if heartbeat is not None and ended <= heartbeat <= ended + _HEARTBEATS else ended


def version_of(node: Mapping[str, Any]) -> str:
    """Return a text that changes when the run does: its heartbeat, how much there is of it, and a digest of what describes it.

    W&B tells no time of the last change: notes, tags and config may be edited without a heartbeat.
    """
    described = [node[key] for key in ("state", "displayName", "notes", "group", "jobType", "config", "summaryMetrics", "tags")]
    digest = hashlib.sha256(json.dumps(described).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    counts = ".".join(str(node[key] or 0) for key in ("historyLineCount", "eventsLineCount", "logLineCount", "fileCount"))
    return f"{node['heartbeatAt'] or ''} {counts} {digest}"


def microseconds(text: Any) -> Microseconds | None:
    """Return one of W&B's times, which are UTC with or without saying so; None for what is none."""
    if not isinstance(text, str):
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    since = (when if when.tzinfo is not None else when.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def metric_definitions(run: NativeRun) -> Iterator[MetricDefinition]:
    """Yield what W&B knows of how metrics are to be read: messages of its protocol, with the numbers of their fields for keys."""
    internal = run.config.get(names.CONFIG_INTERNAL)
    listed = internal.get("m") if isinstance(internal, Mapping) else None
    told = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    for one in told:
        name = one.get("2") or (one.get("1") if _DEFINED in one.get("6", ()) else None)
        if not isinstance(name, str):
            continue
        axis = one.get("5")
        goal = {1: "min", 2: "max"}.get(one.get("8", 0))
        rules = one.get("7", ())
        fields = {
            "name": name,
            "x": told[axis - 1].get("1") if isinstance(axis, int) and 0 < axis <= len(told) else one.get("4"),
            "goal": goal,
            "summary": next((_SUMMARY_RULES[rule] for rule in rules if rule in _SUMMARY_RULES), goal if _BEST in rules else None),
        }
        yield MetricDefinition.model_validate({"time": run.started or 0, **fields})


def filters_of(wanted: RunFilter) -> dict[str, Any]:
    """Return the conditions that the service can decide, in its words, which are MongoDB's: they let too many runs through, never too few.

    A status of ours is one of several states there, but `finished`. A run starts before it is created there, however late it is brought.
    Tags have values here and none there; times that runs must have started before say nothing of their creation.
    """
    conditions: list[dict[str, Any]] = []
    if wanted.statuses is not None:
        if set(wanted.statuses) == {"finished"}:
            conditions.append({"state": "finished"})
        elif "finished" not in wanted.statuses:
            conditions.append({"state": {"$ne": "finished"}})
    if wanted.since is not None and wanted.since > CLOCK_SKEW:
        since = datetime.fromtimestamp((wanted.since - CLOCK_SKEW) // 1_000_000, UTC)
        conditions.append({"createdAt": {"$gte": since.strftime("%Y-%m-%dT%H:%M:%S")}})
    if not conditions:
        return {}
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def with_ids(filters: Mapping[str, Any], ids: list[str]) -> dict[str, Any]:
    """Return the filters with the condition that the run is one of these; W&B calls a run's id its name."""
    condition = {"name": {"$in": ids}}
    return {"$and": [filters, condition]} if filters else condition

"""How metrics are to be read: our definitions, and the records by which W&B knows them. Pure.

W&B knows patterns by their beginning only (`val/*`), and its SDK makes a definition for each metric that one covers: so do we, for
patterns of any form.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator

from wandb.proto import wandb_internal_pb2 as pb

from multitrack.records import MetricDefinition, Microseconds, from_wire, read_fields, to_wire

from . import names
from .config import Config

_GOALS = {"min": pb.MetricRecord.GOAL_MINIMIZE, "max": pb.MetricRecord.GOAL_MAXIMIZE}


class Definitions:
    """The definitions of one run, kept in its config."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._all = {one.name: one for one in read_definitions(config.own.get(names.DEFINITIONS))}
        self._told: dict[str, bytes] = {}
        self._seen: dict[str, None] = {}
        self._new: list[MetricDefinition] = []

    def add(self, record: MetricDefinition) -> None:
        """Take in a definition; the latest of a name counts, and goes before earlier patterns."""
        self._all.pop(record.name, None)
        self._all[record.name] = record
        self._new.append(record)
        wire = [{**read_fields(one), "time": one.time} for one in self._all.values()]
        self._config.tell(names.DEFINITIONS, json.dumps(to_wire(wire)))

    def of(self, name: str) -> MetricDefinition | None:
        """Return the definition that holds for a metric: an exact name goes before a pattern, a later pattern before an earlier one."""
        exact = self._all.get(name)
        if exact is not None:
            return exact
        patterns = (pattern for pattern in reversed(self._all) if "*" in pattern)
        return next((self._all[pattern] for pattern in patterns if _matches(name, pattern)), None)

    def changes(self, metrics: Iterable[str], *, axis: bool) -> Iterator[pb.MetricRecord]:
        """Yield what W&B must be told, now that these metrics have points. `axis`: the user's own steps are the x-axis."""
        for record in self._new:
            if record.name.endswith("*") and record.name.count("*") == 1:
                yield _record(record, glob=True)
        self._seen.update(dict.fromkeys(metrics))
        self._seen.update(dict.fromkeys(record.name for record in self._new if "*" not in record.name))
        self._new = []
        for name in self._seen:
            definition = self.of(name)
            if definition is None and not axis:
                continue
            told = _record(definition, name=name, axis=axis)
            if self._told.get(name) != (key := told.SerializeToString(deterministic=True)):
                self._told[name] = key
                yield told


def read_definitions(text: object) -> Iterator[MetricDefinition]:
    """Yield the definitions that a run's config tells; nothing where somebody has written something else."""
    try:
        for fields in from_wire(json.loads(text)) if isinstance(text, str) else ():
            yield MetricDefinition.model_validate(fields)
    except (ValueError, TypeError):
        return


def definition_of(metric: pb.MetricRecord, time: Microseconds) -> MetricDefinition | None:
    """Return what W&B knows of a metric as a definition; None for what it has made of a pattern, or for an x-axis."""
    name = metric.name or metric.glob_name
    if not name or metric.expanded_from_glob:
        return None
    rules = ("min", "max", "mean", "last", "first", "none")
    found = {
        "x": metric.step_metric or None,
        "goal": next((goal for goal, there in _GOALS.items() if there == metric.goal), None),
        "summary": next((rule for rule in rules if getattr(metric.summary, rule)), None),
    }
    told = {key: value for key, value in found.items() if value is not None}
    return MetricDefinition.model_validate({"time": time, "name": name, **told}) if told else None


def _record(definition: MetricDefinition | None, *, name: str = "", glob: bool = False, axis: bool = False) -> pb.MetricRecord:
    record = pb.MetricRecord()
    if glob and definition is not None:
        record.glob_name = definition.name
    else:
        record.name = name
        record.expanded_from_glob = definition is not None and "*" in definition.name
    record._control.overwrite = True  # a complete definition, no addition to the one before
    record.options.defined = definition is not None
    x = definition.x if definition is not None else None
    if x is not None or axis:
        record.step_metric = x if x is not None else names.OWN_STEP
    if definition is not None and definition.goal is not None:
        record.goal = _GOALS[definition.goal]
    if definition is not None and definition.summary is not None:
        setattr(record.summary, definition.summary, True)
    return record


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))

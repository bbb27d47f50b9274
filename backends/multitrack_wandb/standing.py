"""What each upload must say again, because wandb-core writes W&B's own part of a run's config anew: metric definitions, the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format
from wandb.proto import wandb_internal_pb2 as pb

_DEFINITIONS, _MACHINES = "m", "e"
"""Keys of W&B's own part of the config."""


class Standing:
    """The definitions and the machine of a run, as they were told last.

    Args:
        held: W&B's own part of the config of a run that is there already.
    """

    def __init__(self, held: Mapping[str, Any] | None = None) -> None:
        held = held or {}
        self._metrics = {_name(metric): metric for metric in _definitions(held.get(_DEFINITIONS))}
        self._machine = _machine(held.get(_MACHINES))

    def learn(self, record: pb.Record) -> None:
        """Take in a record that is uploaded, if it is of this kind."""
        if record.HasField("metric"):
            self._metrics[_name(record.metric)] = record.metric
        elif record.HasField("environment"):
            self._machine = self._machine or pb.EnvironmentRecord()
            self._machine.MergeFrom(record.environment)

    def records(self) -> Iterator[pb.Record]:
        """Yield what the next upload begins with."""
        for metric in self._metrics.values():
            yield pb.Record(metric=metric)
        if self._machine is not None:
            yield pb.Record(environment=self._machine)


def _name(metric: pb.MetricRecord) -> str:
    return str(metric.name or metric.glob_name)


def _definitions(told: Any) -> Iterator[pb.MetricRecord]:
    """Yield the definitions that a config tells: messages as mappings of field numbers, flags as lists of the numbers that are set."""
    listed = told if isinstance(told, list) else []
    for item in listed:
        if not isinstance(item, Mapping):
            continue
        metric = pb.MetricRecord(name=str(item.get("1", "")), glob_name=str(item.get("2", "")), step_metric=str(item.get("4", "")))
        index = item.get("5")
        if isinstance(index, int) and 0 < index <= len(listed):
            metric.step_metric = str(listed[index - 1].get("1", ""))
        _set_flags(metric.options, item.get("6"))
        _set_flags(metric.summary, item.get("7"))
        if isinstance(goal := item.get("8"), int):
            metric.goal = goal
        if _name(metric):
            yield metric


def _set_flags(message: Any, numbers: Any) -> None:
    for number in numbers if isinstance(numbers, list) else ():
        field = message.DESCRIPTOR.fields_by_number.get(number)
        if field is not None:
            setattr(message, field.name, True)


def _machine(told: Any) -> pb.EnvironmentRecord | None:
    """Return the machine that a config tells, by the id of the process that told it."""
    for found in told.values() if isinstance(told, Mapping) else ():
        if isinstance(found, Mapping) and found:
            machine = pb.EnvironmentRecord()
            try:
                json_format.ParseDict(dict(found), machine, ignore_unknown_fields=True)
            except json_format.ParseError:
                continue
            return machine
    return None

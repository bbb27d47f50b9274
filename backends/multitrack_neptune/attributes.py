"""A run's single attributes, and the records that they make. Pure: whoever read them brings them, nothing here looks anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from multitrack.records import Hyperparameters, Microseconds, ParamValue, RunFinished, RunStarted, RunStatus, RunUpdated

from . import names
from .times import iso

Client = Literal["1.x", "scale"]
"""Which client logged the run: the one of Neptune 2.x, or neptune-scale, that of 3.x."""


class Attribute(NamedTuple):
    """One attribute with a single value. A datetime is in microseconds; of files the value is a path."""

    path: str
    type: str
    value: Any


_FIELDS = frozenset(
    names.SYS + name for name in ("name", "creation_time", "owner", "hostname", "description", "tags", "failed", "trashed")
) | frozenset(names.SOURCE_CODE + name for name in ("commit/commit_id", "branch", "dirty", "run_command", "entrypoint"))
"""Attributes that fields of the records hold."""
_REMOTES = "source_code/remote/"
_GROUP_TAGS = "sys/group_tags"


@dataclass(frozen=True)
class Attributes:
    """Those of one run, in the order in which they were read; of two with one path and type the last one counts."""

    project: str
    run: str
    """The run's id: `sys/id` with the 1.x client, `sys/custom_run_id` with neptune-scale."""
    job_type: str | None = None
    first: Microseconds | None = None
    """The time of its first point, as far as a glance tells."""
    last: Microseconds | None = None
    values: Mapping[tuple[str, str], Any] = field(default_factory=dict)
    """By path and type."""

    def get(self, path: str, *types: str) -> Any:
        """Return an attribute's value; None if there is none of these types."""
        return next((value for kind in types if (value := self.values.get((path, kind))) is not None), None)

    def text(self, path: str) -> str | None:
        """Return a text; None if there is none, or an empty one."""
        return self.get(path, "string") or None

    def __iter__(self) -> Iterator[Attribute]:
        return (Attribute(path, kind, value) for (path, kind), value in self.values.items())

    # -- the run's life

    @property
    def client(self) -> Client:
        """Which client logged the run: 1.x names its runs by `sys/id`."""
        if self.text("sys/id") is not None:
            return "1.x" if self.text("sys/id") == self.run else "scale"
        if self.text("sys/custom_run_id") == self.run:
            return "scale"
        return "1.x" if any(kind in ("artifact", "file_set") for _, kind in self.values) else "scale"

    @property
    def name(self) -> str:
        """What people call the run: its name, else its id."""
        return self.text("sys/name") or self.run

    @property
    def started(self) -> Microseconds:
        """When the run was created; where that was not exported, when its first point came."""
        created = self.get("sys/creation_time", "datetime")
        return next((time for time in (created, self.first) if time is not None), 0)

    @property
    def ended(self) -> Microseconds:
        """When the run was last heard of; Neptune keeps no end."""
        found = (self.heard, self.get("sys/modification_time", "datetime"), self.last)
        return max(self.started, next((time for time in found if time is not None), self.started))

    @property
    def heard(self) -> Microseconds | None:
        """The later of the last sign of life and the end of the time that the run took; None where neither was exported."""
        created, seconds = self.get("sys/creation_time", "datetime"), self.get("sys/running_time", "float", "int")
        ran = None if created is None or seconds is None else created + round(seconds * 1_000_000)
        return max((time for time in (ran, self.get("sys/ping_time", "datetime")) if time is not None), default=None)

    @property
    def status(self) -> RunStatus:
        """Whether the run failed: all that Neptune tells."""
        return "failed" if self.get("sys/failed", "bool") else "finished"

    @property
    def deleted(self) -> bool:
        """Whether the run lies in Neptune's trash."""
        return bool(self.get("sys/trashed", "bool"))

    @property
    def groups(self) -> list[str]:
        """The group tags."""
        return sorted(self.get(_GROUP_TAGS, "string_set") or ())

    @property
    def tags(self) -> dict[str, str | None]:
        """The tags, and as tags what Neptune notes of a run beyond what the records have fields for."""
        found: dict[str, str | None] = dict.fromkeys(sorted(self.get("sys/tags", "string_set") or ()))
        if len(self.groups) > 1:
            found |= {names.TAG_GROUPS + group: None for group in self.groups}
        for path, kind, value in self:
            if kind in names.SCALARS and _is_own(path) and not _has_a_field(path):
                found.setdefault(path, tag_text(kind, value))
        return found

    def hosts(self) -> dict[str, str | None]:
        """Return the processes that were monitored, each with the name of its machine, by their marks of 8 digits."""
        found: dict[str, str | None] = {}
        for path, kind in self.values:
            if path.startswith(names.MONITORING) and path.count("/") == 2 and kind in names.SCALARS:
                mark, name = path.split("/")[1:]
                found.setdefault(mark, None)
                if name == "hostname":
                    found[mark] = self.get(path, "string")
        return found

    @property
    def host(self) -> str | None:
        """The machine, or the first of several."""
        return self.text("sys/hostname") or next((host for host in self.hosts().values() if host), None)

    def run_started(self, id: str, parent: str | None) -> RunStarted:
        """Return the run's first record."""
        return RunStarted(
            time=self.started,
            id=id,
            project=self.project,
            name=self.name,
            group=self.groups[0] if len(self.groups) == 1 else None,
            job_type=self.job_type,
            parent=parent,
            tags=self.tags,
            notes=self.text("sys/description"),
            user=self.text("sys/owner"),
            host=self.host,
        )

    def run_ending(self) -> Iterator[RunUpdated | RunFinished]:
        """Yield the run's last records."""
        if self.deleted:
            yield RunUpdated(time=self.ended, deleted=True)
        yield RunFinished(time=self.ended, status="failed" if self.status == "failed" else "finished")

    # -- settings

    def hyperparameters(self) -> Hyperparameters | None:
        """Return what was set; None where nothing was."""
        nested: dict[str, Any] = {}
        # The deepest first: a value whose path is a folder as well gives way.
        for path, kind, value in sorted(self, key=lambda item: item.path.count("/"), reverse=True):
            if kind in names.SCALARS and not _is_own(path):
                put(nested, path, kind, param_value(kind, value))
        return Hyperparameters(time=self.started, values=_in_order(nested)) if nested else None


def put(nested: dict[str, Any], path: str, kind: str, value: ParamValue) -> None:
    """Set a value at its path in nested mappings that hold all deeper ones; where something has its name, as `NAME:TYPE`."""
    *folders, name = path.split("/")
    for folder in folders:
        nested = nested.setdefault(folder, {})
    nested[name if name not in nested else f"{name}:{kind}"] = value


def param_value(kind: str, value: Any) -> ParamValue:
    """Return a scalar as a param: a datetime as ISO text with its offset, a string set as a sorted list."""
    if kind == "datetime":
        return iso(value)
    return sorted(value) if kind == "string_set" else value


def tag_text(kind: str, value: Any) -> str:
    """Return a scalar as a tag's text: texts as they are, datetimes as ISO text, anything else as JSON."""
    value = param_value(kind, value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _in_order(nested: dict[str, Any]) -> dict[str, Any]:
    return {key: _in_order(value) if isinstance(value, dict) else value for key, value in sorted(nested.items())}


def _is_own(path: str) -> bool:
    return path.startswith(names.OWN_NAMESPACES)


def _has_a_field(path: str) -> bool:
    if path == _GROUP_TAGS or path.startswith(_REMOTES):
        return True
    return path in _FIELDS or (path.startswith(names.MONITORING) and path.endswith("/hostname"))

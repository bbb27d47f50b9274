"""Two or more runs compared, record by record. Pure: what a run's files hold is brought by `code`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..fields import flatten
from ..records import DataVersion, Environment
from ..state import RunState, Series, definition_of, last_values
from .code import CodeChange
from .data import DataChange
from .rows import ABSENT, Row, differing, fields_of, wire

_LIFE = ("project", "group", "job_type", "parent", "status", "user", "host", "reproduces")
_CODE_FIELDS = ("vcs", "commit", "branch", "remote", "dirty", "entry_point", "command", "working_dir")
_SOFTWARE = frozenset({"python", "implementation", "prefix_kind", "os", "distribution", "libc", "container", "image", "variables"})
_HARDWARE = frozenset(
    {
        *("architecture", "cpu", "cpu_count", "cpu_physical", "cpu_affinity", "cpu_limit", "memory", "memory_limit"),
        *("gpus", "driver", "cuda", "scheduler"),
    }
)

Goal = Literal["min", "max"]


@dataclass(frozen=True)
class Subject:
    """A run to compare, and what it is called beside the others."""

    label: str
    state: RunState
    address: str = ""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: the value that stands for it in each run, and the best of its points where a goal says which is best."""

    name: str
    values: tuple[Any, ...]
    goal: Goal | None = None
    bests: tuple[Any, ...] = ()
    """The best point of each run; empty without a goal."""

    @property
    def winners(self) -> tuple[int, ...]:
        """The places of the runs that are best at the goal; none where no goal is defined, or no run is better than another."""
        numbers = [(place, value) for place, value in enumerate(self.bests or self.values) if _is_number(value)]
        if self.goal is None or len(numbers) < 2:
            return ()
        best = (min if self.goal == "min" else max)(value for _, value in numbers)
        places = tuple(place for place, value in numbers if value == best)
        return places if len(places) < len(numbers) else ()

    def to_json(self) -> dict[str, Any]:
        """Return the row in terms of JSON."""
        best = {"goal": self.goal, "best": [wire(value) for value in self.bests], "winners": list(self.winners)} if self.goal else {}
        return {"name": self.name, "values": [wire(value) for value in self.values], **best}


@dataclass(frozen=True)
class Comparison:
    """What differs between runs. A section without rows is the same in all of them."""

    subjects: tuple[Subject, ...]
    life: tuple[Row, ...] = ()
    code: tuple[Row, ...] = ()
    data: tuple[Row, ...] = ()
    params: tuple[Row, ...] = ()
    software: tuple[Row, ...] = ()
    packages: tuple[Row, ...] = ()
    hardware: tuple[Row, ...] = ()
    metrics: tuple[MetricRow, ...] = ()
    same: dict[str, int] = field(default_factory=dict)
    """How many params, packages and metrics are the same everywhere."""
    code_changes: tuple[CodeChange, ...] = ()
    """From the first run to each of the others."""
    data_changes: tuple[DataChange, ...] = ()

    SECTIONS = ("life", "code", "data", "params", "software", "packages", "hardware", "metrics")

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        changes = any(change.text or change.note for change in self.code_changes) or bool(self.data_changes)
        return not changes and not any(getattr(self, section) for section in self.SECTIONS)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison in terms of JSON."""
        runs = [
            {"label": one.label, "id": one.state.id, "address": one.address, "name": one.state.name, "started_us": one.state.started}
            for one in self.subjects
        ]
        sections = {section: [row.to_json() for row in getattr(self, section)] for section in self.SECTIONS}
        changes = {
            "code_changes": [change.to_json() for change in self.code_changes],
            "data_changes": [change.to_json() for change in self.data_changes],
        }
        return {"runs": runs, **sections, **changes, "same": self.same}


def compare_runs(
    subjects: Sequence[Subject], code_changes: Sequence[CodeChange] = (), data_changes: Sequence[DataChange] = ()
) -> Comparison:
    """Return what differs between two or more runs; see `code.code_changes` and `data.data_changes` for the rest."""
    states = [subject.state for subject in subjects]
    environments = [_environment(state) for state in states]
    params = [flatten(state.params) for state in states]
    packages = [_packages(environment) for environment in environments]
    metrics = [_shown(state) for state in states]
    different_params, different_packages = differing(params), differing(packages)
    different_metrics = tuple(_metric(row, states) for row in differing(metrics))
    counts = {
        "params": _count(params) - len(different_params),
        "packages": _count(packages) - len(different_packages),
        "metrics": _count(metrics) - len(different_metrics),
    }
    return Comparison(
        subjects=tuple(subjects),
        life=differing([_life(state) for state in states]),
        code=differing([_code(state) for state in states]),
        data=_without_places(differing([_data(state) for state in states])),
        params=different_params,
        software=differing([fields_of(environment, _SOFTWARE.__contains__) for environment in environments]),
        packages=different_packages,
        hardware=differing([fields_of(environment, _HARDWARE.__contains__) for environment in environments]),
        metrics=different_metrics,
        same={what: count for what, count in counts.items() if count},
        code_changes=tuple(code_changes),
        data_changes=tuple(data_changes),
    )


def _count(columns: Sequence[dict[str, Any]]) -> int:
    return len({name for column in columns for name in column})


def _life(state: RunState) -> dict[str, Any]:
    facts = {name: value for name in _LIFE if (value := getattr(state, name)) is not None}
    return {**facts, **{f"tag {name}": "yes" if value is None else value for name, value in state.tags.items()}}


def _environment(state: RunState) -> Environment | None:
    """Return the first node's, which leads the run."""
    return next(iter(state.environments.values()), None)


def _code(state: RunState) -> dict[str, Any]:
    """Return what is told of the code; which interpreter started it is no part of that."""
    found = fields_of(state.code, _CODE_FIELDS.__contains__)
    if len(command := found.get("command", [])) > 1:
        found["command"] = command[1:]
    return found


def _without_places(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows without those that tell where data lay that is the same."""
    changed = {row.name.removesuffix(" digest") for row in rows if row.name.endswith(" digest")}
    return tuple(row for row in rows if not row.name.endswith(" uri") or row.name.removesuffix(" uri") in changed)


def _packages(environment: Environment | None) -> dict[str, str]:
    """Return the versions, and of what comes from elsewhere than an index the commit, or else the place."""
    if environment is None:
        return {}
    found = dict(environment.packages)
    for name, source in environment.sources.items():
        if name in found:
            found[name] += f" ({source.kind} {source.commit[:12] if source.commit else source.url})"
    return found


def _data(state: RunState) -> dict[str, Any]:
    """Return what a data set is known by; of several versions of one name and role in a run, all of their digests."""
    versions: dict[str, list[DataVersion]] = {}
    for one in state.data.values():
        versions.setdefault(f"{one.name} ({one.role})" if one.role else one.name, []).append(one)
    facts: dict[str, Any] = {}
    for label, found in versions.items():
        for name in ("digest", "rows", "size", "uri"):
            values = [value for one in found if (value := getattr(one, name)) is not None]
            if values:
                facts[f"{label} {name}"] = values[0] if len(values) == 1 else sorted(values, key=str)
    return facts


# -- metrics ----------------------------------------------------------------------------------------------------------


def _shown(state: RunState) -> dict[str, Any]:
    """Return the value that stands for each metric; resource usage differs always, and is left to `show`."""
    system = {name for name, series in state.metrics.items() if series.source == "system"}
    return {name: value for name, value in last_values(state).items() if name not in system}


def _metric(row: Row, states: Sequence[RunState]) -> MetricRow:
    goals = (definition.goal for state in reversed(states) if (definition := definition_of(row.name, state)) is not None)
    goal = next((goal for goal in goals if goal is not None), None)
    bests = tuple(_best(state.metrics.get(row.name), goal, value) for state, value in zip(states, row.values, strict=True)) if goal else ()
    return MetricRow(row.name, row.values, goal, bests)


def _best(series: Series | None, goal: Goal, stands: Any) -> Any:
    """Return the best point; without points, the value that stands for the metric."""
    values = [] if series is None else [value for value in series.column("values") if _is_number(value)]
    return (min if goal == "min" else max)(values) if values else stands if _is_number(stands) else ABSENT


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not (isinstance(value, float) and math.isnan(value))

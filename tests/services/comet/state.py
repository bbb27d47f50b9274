"""What the loopback double of Comet holds: workspaces, projects, experiments. No HTTP here."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

EXPERIMENT_KEY = re.compile(r"[0-9a-zA-Z]{32,50}")
NAME_LENGTH = 100
VALUE_LENGTH = 1000
"""Comet: the SDK cuts names and values here, so that longer ones never reach the service. The double refuses them."""
POINTS_KEPT = 15_000
"""Comet: of more points of one metric a sample is what the readers get."""


class Refused(Exception):  # noqa: N818 - it is what the service says, not what went wrong in the double
    """The service's answer to what it does not take."""

    def __init__(self, message: str, *, code: int | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric, as it was sent."""

    name: str
    value: Any
    step: int | float | None
    epoch: int | float | None
    context: str | None
    timestamp: int
    """Milliseconds since the epoch."""


@dataclass(slots=True)
class Asset:
    """A file of an experiment, or a link."""

    id: str
    name: str
    content: bytes
    type: str
    step: int | None = None
    metadata: str | None = None
    link: str | None = None
    created: int = 0
    context: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of console output."""

    text: str
    stderr: bool
    timestamp: int
    offset: int


@dataclass(slots=True)
class Value:
    """A param or an `other`: its history, as (milliseconds, value), and the last one."""

    history: list[tuple[int, str]] = field(default_factory=list)

    @property
    def current(self) -> str:
        return self.history[-1][1]


@dataclass
class Experiment:
    """An experiment."""

    key: str
    workspace: str
    project: str
    owner: str
    created: int
    started: int | None = None
    ended: int | None = None
    alive: bool = True
    crashed: bool = False
    error: str | None = None
    archived: bool = False
    offline: bool = False
    points: list[Point] = field(default_factory=list)
    params: dict[str, Value] = field(default_factory=dict)
    others: dict[str, Value] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    assets: dict[str, Asset] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=dict)
    patch: bytes | None = None
    system: dict[str, Any] = field(default_factory=dict)
    code: str | None = None
    html: str | None = None
    graph: str | None = None
    file_path: str | None = None

    @property
    def name(self) -> str | None:
        value = self.others.get("Name")
        return None if value is None else value.current

    def series(self) -> dict[str, list[Point]]:
        """Return the points by metric, in the order in which they came."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            found.setdefault(point.name, []).append(point)
        return found

    def asset(self, name: str) -> Asset:
        """Return the one asset of this name."""
        (found,) = [asset for asset in self.assets.values() if asset.name == name]
        return found


class Service:
    """Everything that the double holds. Handlers run under `lock`."""

    def __init__(self, keys: dict[str, str], workspaces: dict[str, list[str]], points_kept: int) -> None:
        """`keys` are API keys with the user that each stands for; `workspaces` name who may write; a user's first is the default."""
        self.lock = threading.RLock()
        self.keys = keys
        self.workspaces = workspaces
        self.points_kept = points_kept
        self.experiments: dict[str, Experiment] = {}
        self.projects: dict[tuple[str, str], str] = {}
        """(workspace, name) to id."""
        self.clock = 1_700_000_000_000

    def now(self) -> int:
        """Return the service's time in milliseconds; it goes on with every question."""
        self.clock += 1
        return self.clock

    def user(self, api_key: str | None) -> str:
        """Return whom an API key stands for."""
        if api_key is None or api_key not in self.keys:
            raise Refused("The API key is not registered", code=90212, status=401)
        return self.keys[api_key]

    def workspace_of(self, user: str, wanted: str | None) -> str:
        """Return a workspace that the user may write to."""
        mine = [name for name, users in self.workspaces.items() if user in users]
        if wanted is None:
            return mine[0]
        if wanted not in mine:
            raise Refused(f"Workspace {wanted} does not exist", code=90219)
        return wanted

    def project_id(self, workspace: str, name: str) -> str:
        """Return the id of a project, which is made if it is not there."""
        return self.projects.setdefault((workspace, name), f"{len(self.projects) + 1:032x}")

    def experiment(self, key: Any, user: str) -> Experiment:
        """Return an experiment that the user can see."""
        found = self.experiments.get(key) if isinstance(key, str) else None
        if found is None or user not in self.workspaces[found.workspace]:
            raise Refused(f"no experiment {key}", code=90210)
        return found

    def of_project(self, workspace: str, project: str) -> Iterator[Experiment]:
        """Yield a project's experiments in the order of their creation."""
        return (one for one in self.experiments.values() if (one.workspace, one.project) == (workspace, project))

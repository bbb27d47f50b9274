"""What the double of the W&B service holds, and the rules by which it takes things in.

The rules are those that the service is known to have; where it is not known what the service does with something odd, such as a line
beyond the end of a file, the double refuses it: what a client sends here must be right.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

HISTORY, EVENTS, CONSOLE, SUMMARY = "wandb-history.jsonl", "wandb-events.jsonl", "output.log", "wandb-summary.json"


def now() -> datetime:
    """Return the time that the service notes."""
    return datetime.now(UTC)


class RefusedError(Exception):
    """The service refuses: an HTTP status and a text for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class StoredFile:
    """A file with content, or one that was announced and has none yet."""

    name: str
    content: bytes | None = None
    updated_at: datetime | None = None
    md5: str | None = None
    """Base64, as the client announced it; content that has another one is refused."""
    key: str = ""
    """Under which it is uploaded and downloaded."""

    def put(self, content: bytes) -> None:
        if self.md5 is not None and self.md5 != (got := md5_of(content)):
            raise RefusedError(400, f"{self.name}: the content's MD5 is {got}, {self.md5} was announced")
        self.content = content
        self.updated_at = now()


@dataclass
class ArtifactCollection:
    """All versions of one artifact name."""

    id: str
    name: str
    type: str
    project: Project
    versions: list[Artifact] = field(default_factory=list)
    """The committed ones, oldest first."""


@dataclass
class Artifact:
    """A version of an artifact."""

    id: str
    collection: ArtifactCollection
    project: Project
    digest: str
    run: Run | None
    description: str | None = None
    metadata: str | None = None
    aliases: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    state: str = "PENDING"
    version: int | None = None
    manifest_id: str | None = None
    manifest: StoredFile | None = None
    files: dict[str, StoredFile] = field(default_factory=dict)
    created_at: datetime = field(default_factory=now)

    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the manifest's entries: name to digest, size, reference."""
        if self.manifest is None or self.manifest.content is None:
            return {}
        contents = json.loads(self.manifest.content)["contents"]
        assert isinstance(contents, dict)
        return contents


@dataclass
class Run:
    """A run, called a bucket in the API."""

    id: str
    name: str
    """Its id to people."""
    project: Project
    display_name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    """Key to `{"value": ...}`."""
    summary: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    """The other fields of UpsertBucket: groupName, notes, host, ..."""
    state: str = "running"
    exit_code: int | None = None
    created_at: datetime = field(default_factory=now)
    heartbeat_at: datetime = field(default_factory=now)
    lines: dict[str, list[str]] = field(default_factory=lambda: {HISTORY: [], EVENTS: [], CONSOLE: []})
    files: dict[str, StoredFile] = field(default_factory=dict)
    outputs: list[Artifact] = field(default_factory=list)
    inputs: list[Artifact] = field(default_factory=list)
    exports: list[StoredFile] = field(default_factory=list)
    """Parquet files with the first rows of its history."""
    exported_rows: int = 0
    resent: int = 0
    """Lines that were written over with what stood there already."""

    @property
    def history(self) -> list[dict[str, Any]]:
        """Its rows, in order."""
        return [json.loads(line) for line in self.lines[HISTORY]]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its rows of system metrics, in order."""
        return [json.loads(line) for line in self.lines[EVENTS]]

    @property
    def params(self) -> dict[str, Any]:
        """The config without W&B's wrapping and own key."""
        return {key: item["value"] for key, item in self.config.items() if key != "_wandb"}


@dataclass
class Project:
    """A project of an entity."""

    id: str
    entity: str
    name: str
    runs: dict[str, Run] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    """Ids of deleted runs: the service does not let them be used again."""
    collections: dict[str, ArtifactCollection] = field(default_factory=dict)
    created_at: datetime = field(default_factory=now)


@dataclass
class State:
    """Everything that the service holds. Every method is called under `lock`."""

    keys: dict[str, str] = field(default_factory=lambda: {"k" * 40: "tester"})
    """API key to user name."""
    entities: set[str] = field(default_factory=lambda: {"tester", "team"})
    """Those that the user may write to."""
    foreign_entities: set[str] = field(default_factory=lambda: {"others"})
    """Those that are there, and that the user may not write to."""
    projects: dict[tuple[str, str], Project] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    client_ids: dict[str, str] = field(default_factory=dict)
    stored: dict[str, StoredFile] = field(default_factory=dict)
    """By key."""
    features: set[str] = field(default_factory=set)
    rows_at_most: int = 10_000
    """Rows of a history, or of system metrics, in an answer, whatever is asked for."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    _count: int = 0

    def new_id(self, kind: str) -> str:
        """Return an id such as the service gives."""
        self._count += 1
        return base64.b64encode(f"{kind}:{self._count}".encode()).decode()

    # -- runs --------------------------------------------------------------------------------------------------------------

    def entity(self, name: str | None) -> str:
        """Return the entity that is meant; the user's own where none is named."""
        name = name or "tester"
        if name in self.foreign_entities:
            raise RefusedError(403, f"permission denied: {name}")
        if name not in self.entities:
            raise RefusedError(404, f"entity {name} not found")
        return name

    def find_project(self, entity: str | None, name: str | None) -> Project | None:
        """Return a project, None if there is none."""
        return self.projects.get((entity or "tester", name or "uncategorized"))

    def find_run(self, entity: str | None, project: str | None, name: str) -> Run | None:
        """Return a run, None if there is none."""
        found = self.find_project(entity, project)
        return None if found is None else found.runs.get(name)

    def the_run(self, entity: str, project: str, name: str) -> Run:
        """Return a run that must be there, of an entity that one may write to."""
        run = self.find_run(self.entity(entity), project, name)
        if run is None:
            raise RefusedError(404, f"run {entity}/{project}/{name} not found")
        return run

    def all_runs(self) -> Iterator[Run]:
        """Yield every run."""
        for project in self.projects.values():
            yield from project.runs.values()

    def upsert(self, given: Mapping[str, Any]) -> tuple[Run, bool]:
        """Create a run or change it; return it, and whether it is new."""
        entity = self.entity(given.get("entityName"))
        project_name = given.get("modelName") or "uncategorized"
        _check_name(project_name, "project", 128, '/\\#?%:"')
        name = given.get("name")
        if not name:
            raise RefusedError(400, "run name required")
        _check_name(name, "run", 128, ":;,#?/'")
        for tag in given.get("tags") or ():
            if not 1 <= len(tag) <= 64:
                raise RefusedError(400, f"invalid tag {tag!r}: 1 to 64 characters")
        project = self.projects.get((entity, project_name))
        if project is None:
            project = self.projects[entity, project_name] = Project(self.new_id("Project"), entity, project_name)
        if name in project.deleted:
            raise RefusedError(409, f"run {entity}/{project_name}/{name} was previously created and deleted; try a new run id")
        run = project.runs.get(name)
        inserted = run is None
        if run is None:
            run = project.runs[name] = Run(self.new_id("Run"), name, project, display_name=name)
        elif given.get("id") not in (None, run.id):
            raise RefusedError(400, f"the id {given['id']} is not that of run {name}")
        self._change(run, given)
        return run, inserted

    def _change(self, run: Run, given: Mapping[str, Any]) -> None:
        if given.get("config") is not None:
            config = _object(given["config"], "config")
            for key, item in config.items():
                if not isinstance(item, dict) or "value" not in item:
                    raise RefusedError(400, f"config[{key!r}] is no object with a value")
            run.config = config
        if given.get("summaryMetrics") is not None:
            run.summary = _object(given["summaryMetrics"], "summaryMetrics")
        if given.get("tags") is not None:
            run.tags = list(given["tags"])
        if given.get("displayName"):
            run.display_name = given["displayName"]
        own = {"groupName", "notes", "commit", "host", "jobProgram", "jobRepo", "jobType", "sweep", "description"}
        run.fields |= {key: value for key, value in given.items() if key in own and value is not None}
        run.state = given.get("state") or "running"
        run.heartbeat_at = now()

    def delete_run(self, run_id: str) -> None:
        """Delete a run for good."""
        for project in self.projects.values():
            for name, run in project.runs.items():
                if run.id == run_id:
                    del project.runs[name]
                    project.deleted.add(name)
                    return
        raise RefusedError(404, f"run {run_id} not found")

    # -- file_stream -------------------------------------------------------------------------------------------------------

    def stream(self, run: Run, body: Mapping[str, Any]) -> None:
        """Take in a request to file_stream: all of it, or nothing."""
        unknown = set(body) - {"files", "uploaded", "complete", "exitcode", "preempting", "dropped"}
        if unknown:
            raise RefusedError(400, f"unknown fields {sorted(unknown)}")
        changed = {name: self._overlaid(run, name, chunk) for name, chunk in (body.get("files") or {}).items()}
        for name, lines in changed.items():
            if name == SUMMARY:
                run.summary = _object(lines[-1], name)
            else:
                run.lines[name] = lines
        run.heartbeat_at = now()
        if body.get("complete"):
            run.exit_code = int(body["exitcode"])
            run.state = "finished" if run.exit_code == 0 else "failed"
        else:
            run.state = "preempting" if body.get("preempting") else "running"

    def _overlaid(self, run: Run, name: str, chunk: Mapping[str, Any]) -> list[str]:
        """Return a file's lines with some written at an offset."""
        offset, content = chunk["offset"], chunk["content"]
        if name == SUMMARY:
            return list(content)
        if name not in run.lines:
            raise RefusedError(400, f"there is no stream {name}")
        lines = list(run.lines[name])
        if not 0 <= offset <= len(lines):
            raise RefusedError(400, f"{name}: line {offset} is beyond the end, which is at {len(lines)}")
        if name == HISTORY:
            _check_steps(lines[:offset], content)
        elif name == EVENTS:
            for line in content:
                _object(line, name)
        run.resent += sum(old == new for old, new in zip(lines[offset:], content, strict=False))
        lines[offset : offset + len(content)] = content
        return lines

    # -- files -------------------------------------------------------------------------------------------------------------

    def announce(self, name: str, *, md5: str | None = None) -> StoredFile:
        """Return a new file without content that can be uploaded."""
        file = StoredFile(name, md5=md5)
        file.key = hashlib.sha256(f"{self.new_id('File')}{name}".encode()).hexdigest()[:24]
        self.stored[file.key] = file
        return file

    def announce_run_files(self, run: Run, names: Sequence[str]) -> list[StoredFile]:
        """Return files of a run to upload to. A file that is there stays until its new content has come."""
        files = []
        for name in names:
            if not name or name.startswith("/") or ".." in name.split("/"):
                raise RefusedError(400, f"invalid file name {name!r}")
            known = run.files.setdefault(name, StoredFile(name))
            if not known.key:
                known.key = self.announce(name).key
                self.stored[known.key] = known
            files.append(known)
        return files


def md5_of(content: bytes) -> str:
    """Return the MD5 as W&B writes it: base64."""
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()


def _check_name(name: str, what: str, longest: int, forbidden: str) -> None:
    if not name or len(name) > longest or name != name.strip() or any(character in forbidden for character in name):
        raise RefusedError(400, f"invalid {what} name: {name[:50]!r}")


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RefusedError(400, f"{what}: no JSON: {error}") from None
    if not isinstance(value, dict):
        raise RefusedError(400, f"{what}: no JSON object")
    return value


def _check_steps(before: Sequence[str], content: Sequence[str]) -> None:
    last = json.loads(before[-1])["_step"] if before else -1
    for line in content:
        step = _object(line, HISTORY).get("_step")
        if not isinstance(step, int) or step <= last:
            raise RefusedError(400, f"{HISTORY}: step {step!r} after step {last}")
        last = step

"""One run of an offline folder, whichever client wrote it, as records."""

from __future__ import annotations

import base64
import binascii
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from multitrack.backend import derive_run_id
from multitrack.records import (
    RUN_ID,
    Artifact,
    ArtifactRef,
    CaptureFailed,
    DataVersion,
    Microseconds,
    Omission,
    Points,
    Record,
    RunFinished,
    RunStatus,
    derive_writer_id,
)
from multitrack.records.media_names import media_name

from .. import code, names, requirements
from ..attributes import Attributes
from .files import Kept, find_set, find_upload, image_suffix, sha256_of
from .log import Log
from .messages import FileRef
from .places import Container, Execution
from .records import Console, marks_of, metric_name, points, stream_of, values_of
from .replay import Block, Key, Survey, blocks, survey
from .scale import ScaleFile, ScaleSurvey

LOST = "neptune operations"
"""What `CaptureFailed` calls the part of a run that never reached the disk, or left it."""
_REQUIREMENTS = "source_code/requirements"
_CODE_FILES = "source_code/files"
_TEXT_SERIES = ("float_series", "string_series", "histogram_series")


class OfflineRun(ABC):
    """One run, read when it is asked for."""

    id: str
    native_id: str
    project: str
    parent: str | None = None

    @abstractmethod
    def version(self) -> str:
        """Return a text that changes when the files do."""

    @property
    @abstractmethod
    def attributes(self) -> Attributes:
        """The single attributes."""

    @property
    @abstractmethod
    def status(self) -> RunStatus:
        """How the run ended, as far as its folder tells."""

    @property
    @abstractmethod
    def problems(self) -> list[str]:
        """What the folder does not hold, in words."""

    @property
    @abstractmethod
    def series(self) -> Mapping[Key, Any] | set[Key]:
        """All series."""

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Yield the points of all series, those whose values are files aside."""

    @abstractmethod
    def files(self) -> Iterator[Kept]:
        """Yield the files that are single attributes, or parts of one."""

    @abstractmethod
    def stepped_files(self) -> Iterator[tuple[Artifact, Kept, str]]:
        """Yield the files that are points: the artifact, its content, and the series' path."""

    in_pieces: bool
    """Whether console output is kept as it was written, not line by line."""

    def data(self) -> Iterator[DataVersion]:
        """Yield the data that the run tracked."""
        return iter(())

    # -- records

    def records(self) -> Iterator[Record]:
        """Yield the run."""
        yield self.attributes.run_started(self.id, self.parent)
        yield from (CaptureFailed(time=self.attributes.ended, what=LOST, error=problem) for problem in self.problems[:1])
        files = list(self.files())
        yield from self._code_and_environment(files)
        yield from self.data()
        params = self.attributes.hyperparameters()
        yield from [params] if params is not None else []
        yield from self._series()
        yield from (Artifact(time=self.attributes.started, name=_artifact_name(kept.name), size=kept.size) for kept in files)
        yield from self._stepped()
        if self.status in ("finished", "failed", "crashed"):
            yield RunFinished(time=self.attributes.ended, status=self.status)

    def find(self, name: str) -> Kept | None:
        """Return the file that is the artifact of this name; None if there is none."""
        found = next((kept for kept in self.files() if _artifact_name(kept.name) == name), None)
        return found or next((kept for artifact, kept, _ in self.stepped_files() if artifact.name == name), None)

    def _series(self) -> Iterator[Record]:
        marks = marks_of(self.series)
        printed = Console(in_pieces=self.in_pieces, labelled=len(marks_of(self.series, console_only=True)) > 1)
        for block in self.blocks():
            stream = stream_of(block.key.path) if block.key.type == "string_series" else None
            if stream is not None:
                printed.add(stream, block)
            else:
                yield from points(block, *metric_name(block.key, self.series, marks))
        yield from printed.records()

    def _stepped(self) -> Iterator[Record]:
        for artifact, _, path in self.stepped_files():
            yield artifact
            if artifact.sha256 is not None and artifact.name.startswith("media/"):
                value = ArtifactRef(name=artifact.name, sha256=artifact.sha256, media_type=artifact.media_type)
                yield Points(time=artifact.time, name=path, steps=[artifact.step], times=[artifact.time], values=[value])

    def _code_and_environment(self, files: Iterable[Kept]) -> Iterator[Record]:
        kept = {one.name: one for one in files}
        texts = {path: _text(one) for path in code.text_files(self.attributes) if (one := _of_attribute(kept, path)) is not None}
        modules = [
            ArtifactRef(name=_artifact_name(one.name), sha256=digest)
            for one in kept.values()
            if one.name.startswith(f"{_CODE_FILES}/") and (digest := sha256_of(one)) is not None
        ]
        found = code.code_version(self.attributes, {path: text for path, text in texts.items() if text is not None}, modules)
        yield from [found] if found is not None else []
        listed = _of_attribute(kept, _REQUIREMENTS)
        text = _text(listed) if listed is not None else None
        machine = requirements.environment(text, self.attributes.host, self.attributes.started)
        yield from [machine] if machine is not None else []


def _artifact_name(name: str) -> str:
    return names.CODE_FILES + name.removeprefix(f"{_CODE_FILES}/") if name.startswith(f"{_CODE_FILES}/") else name


def _of_attribute(kept: Mapping[str, Kept], path: str) -> Kept | None:
    """Return the file of an attribute, whose name is the attribute's path and perhaps an ending."""
    return next((one for name, one in kept.items() if name == path or (name.startswith(f"{path}.") and "/" not in name[len(path) :])), None)


def _text(kept: Kept) -> str | None:
    if kept.lost is not None:
        return None
    return kept.read().decode("utf-8", "surrogateescape")


# -- the 1.x client -----------------------------------------------------------------------------------------------------------


class LogRun(OfflineRun):
    """A run of the 1.x client: the logs of all processes that wrote to it, one after the other."""

    in_pieces = True

    def __init__(self, container: Container, project: str, *, look: bool) -> None:
        self._container = container
        self._look = look
        self.native_id = container.id
        self.project = project
        plain = container.id.replace("-", "")
        self.id = plain if RUN_ID.fullmatch(plain) else derive_run_id(names.SERVICE, project, container.id)
        self._logs = [Log(execution.folder) for execution in container.executions]

    def version(self) -> str:
        """Return a text that changes when a log grows, or goes."""
        sizes = [(file.name, file.stat().st_size) for log in self._logs for file in log.files()]
        return derive_writer_id(self.id, repr((names.MAPPING, sizes, self.status)))

    @cached_property
    def surveys(self) -> list[Survey]:
        """What each log leaves standing."""
        return [survey(log) for log in self._logs]

    @cached_property
    def problems(self) -> list[str]:
        """What never reached the disk, what a server has and the disk not any more, and what only the server could do."""
        surveys = self.surveys  # reading them counts
        lines = [line for log in self._logs for line in log.shortfall.lines(log.folder.name)]
        copied = sorted({path for found in surveys for path in found.copied})
        unknown = sorted({kind for found in surveys for kind in found.unknown})
        if copied:
            lines.append(f"the values of {', '.join(copied)} were to be copied from another run by the server")
        if unknown:
            lines.append(f"operations of kinds that are not known here: {', '.join(unknown)}")
        return ["; ".join(lines)] if lines else []

    @cached_property
    def attributes(self) -> Attributes:
        values: dict[tuple[str, str], Any] = {}
        for found in self.surveys:
            values |= values_of(found)
            values |= {(path, "file"): path for path in found.files}
        created = self._container.executions[0].created
        times = [time for found in self.surveys for time in (found.first, found.last) if time is not None]
        start = created if created is not None else min(times, default=None)
        if start is not None:
            values.setdefault(("sys/creation_time", "datetime"), round(start * 1_000_000))
        kind = self._container.type.replace("_", " ")
        last = round(max(times) * 1_000_000) if times else None
        return Attributes(
            self.project, self.native_id, job_type=None if kind == "run" else kind, first=values.get(("sys/creation_time", "datetime")),
            last=last, values=values,
        )  # fmt: skip

    @cached_property
    def status(self) -> RunStatus:
        """`failed` where the client says so; `crashed` where it was killed before it could write what it had accepted."""
        if any(_is_alive(execution, self.attributes.host) for execution in self._container.executions):
            return "running"
        if self.attributes.status == "failed":
            return "failed"
        return "crashed" if any(log.shortfall.lost for log in self._logs) else "finished"

    @cached_property
    def series(self) -> set[Key]:
        return {key for found in self.surveys for key in found.series}

    def blocks(self) -> Iterator[Block]:
        for log, found in zip(self._logs, self.surveys, strict=True):
            yield from blocks(log, found, types=_TEXT_SERIES)

    def files(self) -> Iterator[Kept]:
        for log, found in zip(self._logs, self.surveys, strict=True):
            for path, upload in sorted(found.files.items()):
                yield find_upload(path, upload, log.folder / "upload_path", look=self._look)
            for path, patterns in sorted(found.sets.items()):
                yield from find_set(path, patterns, look=self._look)

    def stepped_files(self) -> Iterator[tuple[Artifact, Kept, str]]:
        for log, found in zip(self._logs, self.surveys, strict=True):
            for block in blocks(log, found, types=("file_series",), chunk=1):
                yield _image(block)

    def data(self) -> Iterator[DataVersion]:
        for found in self.surveys:
            for path in sorted(found.tracked.keys() | found.hashes.keys()):
                places = found.tracked.get(path, [])
                digest = found.hashes.get(path)
                yield DataVersion(
                    time=self.attributes.started,
                    name=path,
                    uri=requirements.without_login(places[0]) if len(places) == 1 else None,
                    source_type="s3" if places and all(place.startswith("s3://") for place in places) else "local" if places else None,
                    digest=digest,
                    algorithm=None if digest is None else "neptune-artifact",
                    selected=[requirements.without_login(place) for place in places] if len(places) > 1 else [],
                    omitted=[] if digest else [Omission(name="digest", reason="the client reads tracked files when it reaches a server")],
                )


def _image(block: Block) -> tuple[Artifact, Kept, str]:
    value = block.values[0] if isinstance(block.values[0], dict) else {"data": block.values[0]}
    data, path, step, time = str(value.get("data") or ""), block.key.path, block.steps[0], block.times[0]
    try:
        content = base64.b64decode(data)
    except (binascii.Error, ValueError):
        content = b""
    suffix = image_suffix(content)
    digest = hashlib.sha256(content).hexdigest()
    name = media_name("image", path, step, digest, suffix)
    media_type = f"image/{'jpeg' if suffix == 'jpg' else suffix}"
    metadata = {key: value[key] for key in ("name", "description") if value.get(key)}
    artifact = Artifact(
        time=time, name=name, sha256=digest, size=len(content), media_type=media_type, step=step, type="image", metadata=metadata
    )
    return artifact, Kept(name, content=data), path


def _is_alive(execution: Execution, host: str | None) -> bool:
    """Return whether the process that writes the log goes on: on this machine, under its id, and begun before the log was."""
    import platform

    if execution.pid is None or execution.created is None or host != platform.node():
        return False
    try:
        return bool(psutil.Process(execution.pid).create_time() <= execution.created)
    except psutil.Error:
        return False


# -- neptune-scale ------------------------------------------------------------------------------------------------------------


class ScaleRun(OfflineRun):
    """A run of neptune-scale: the databases of all processes that wrote to it, one after the other."""

    in_pieces = False

    def __init__(self, files: list[ScaleFile], known: Mapping[tuple[str, str], ScaleRun]) -> None:
        self._files = files
        self._known = known
        self.project, self.native_id = files[0].project, files[0].run_id
        self.id = derive_run_id(names.SERVICE, self.project, self.native_id)

    @property
    def ancestor(self) -> ScaleRun | None:
        """The run that this one was forked off, where it is at hand."""
        name = self._creation.parent
        return self._known.get((self.project, name)) if name is not None else None

    @property
    def parent(self) -> str | None:  # type: ignore[override]
        """Its id."""
        name = self._creation.parent
        return derive_run_id(names.SERVICE, self.project, name) if name is not None else None

    @property
    def _creation(self) -> Any:
        return next((found.creation for found in self.surveys if found.creation.created is not None), self.surveys[0].creation)

    def version(self) -> str:
        """Return a text that changes with every operation."""
        told = [(file.path.name, found.first_id, found.operations) for file, found in zip(self._files, self.surveys, strict=True)]
        return derive_writer_id(self.id, repr((names.MAPPING, told, self.ancestor.version() if self.ancestor else None)))

    @cached_property
    def surveys(self) -> list[ScaleSurvey]:
        """What each database leaves standing."""
        return [file.survey() for file in self._files]

    @cached_property
    def problems(self) -> list[str]:
        lines = []
        for file, found in zip(self._files, self.surveys, strict=True):
            gone = (found.first_id or 1) - 1
            if gone:
                where = file.path.name
                lines.append(
                    f"the first {gone:,} operations are not in {where} any more: the client deletes what the server has acknowledged"
                )
            if found.damaged:
                lines.append(f"{found.damaged:,} of {found.operations:,} operations in {file.path.name} cannot be read")
        if self._creation.parent is not None and self.ancestor is None:
            lines.append(f"it was forked off {self._creation.parent!r}, which is not here: the points before the fork are missing")
        return ["; ".join(lines)] if lines else []

    @cached_property
    def attributes(self) -> Attributes:
        values: dict[tuple[str, str], Any] = {}
        for found in self.surveys:
            values |= values_of(found)
            values |= {(key.path, "file"): key.path for key in found.scalars if key.type == "file"}
        creation = self._creation
        told = {("sys/custom_run_id", "string"): self.native_id, ("sys/name", "string"): creation.name}
        for key, value in (*told.items(), (("sys/creation_time", "datetime"), creation.created)):
            if value is not None:
                values.setdefault(key, value)
        if creation.parent is not None:
            values[("sys/forking/parent", "string")] = creation.parent
            if creation.fork_step is not None:
                values[("sys/forking/step", "float")] = float(creation.fork_step)
        last: Microseconds | None = max((found.last for found in self.surveys if found.last is not None), default=None)
        return Attributes(self.project, self.native_id, first=creation.created, last=last, values=values)

    @property
    def status(self) -> RunStatus:
        """The client writes no end: a run that is in the folder has ended, well unless it says otherwise."""
        return "failed" if self.attributes.status == "failed" else "finished"

    @cached_property
    def series(self) -> set[Key]:
        own = {key for found in self.surveys for key in found.series}
        inherited = self.ancestor.series if self.ancestor is not None else set()
        return own | {key for key in inherited if not key.path.startswith(names.OWN_NAMESPACES)}

    def blocks(self) -> Iterator[Block]:
        """Yield the points; those that the run has inherited, up to the fork, first. What that one used and printed is not inherited."""
        for block in self._own_and_inherited():
            if block.key.type != "file_series":
                yield block

    def _own_and_inherited(self) -> Iterator[Block]:
        ancestor, fork = self.ancestor, self._creation.fork_step
        if ancestor is not None and fork is not None:
            for block in ancestor._own_and_inherited():
                kept = [place for place, step in enumerate(block.steps) if step <= fork]
                if kept and not block.key.path.startswith(names.OWN_NAMESPACES):
                    parts = ([column[place] for place in kept] for column in (block.steps, block.times, block.values))
                    yield Block(block.key, block.first, *parts)  # type: ignore[arg-type]
        for file, found in zip(self._files, self.surveys, strict=True):
            yield from file.blocks(found)

    def files(self) -> Iterator[Kept]:
        for file, found in zip(self._files, self.surveys, strict=True):
            uploads = file.uploads()
            for key, value in sorted(found.scalars.items()):
                if isinstance(value, FileRef):
                    yield _stored(file, uploads, value, key.path)

    def stepped_files(self) -> Iterator[tuple[Artifact, Kept, str]]:
        for file, found in zip(self._files, self.surveys, strict=True):
            uploads = file.uploads()
            for block in file.blocks(found):
                if block.key.type == "file_series":
                    for step, time, value in zip(block.steps, block.times, block.values, strict=True):
                        kept = _stored(file, uploads, value, f"{block.key.path}/{step}")
                        yield Artifact(time=time, name=kept.name, size=value.size, media_type=value.media_type or None, step=step), kept, ""


def _stored(file: ScaleFile, uploads: Mapping[str, Any], value: FileRef, name: str) -> Kept:
    """Return where a file's content is: where the client found it, or its own copy beside the database."""
    suffix = Path(value.path).suffix
    name = name if not suffix or name.endswith(suffix) else name + suffix
    uploaded = uploads.get(value.path)
    if uploaded is None:
        return Kept(name, lost="the database does not say where it was")
    beside = file.path.parent / uploaded.place.name
    place = beside if uploaded.is_temporary and beside.is_file() else uploaded.place
    return Kept(name, place) if place.is_file() else Kept(name, lost=f"{uploaded.place} is not on this machine")

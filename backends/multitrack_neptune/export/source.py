"""The source: every run of a neptune-exporter folder as records."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path

from multitrack.backend import RunFilter, RunRef, Source, derive_run_id
from multitrack.errors import PermanentError, RecordError
from multitrack.records import RUN_ID, Artifact, ArtifactRef, DataVersion, Environment, Microseconds, Record

from .. import names
from ..artifacts import data_version
from ..attributes import Attributes
from ..code import code_version, text_files
from ..requirements import environment
from ..settings import NeptuneSettings
from ..times import describe_shift, find_shift, may_be_right, mender
from .attachments import Attachments, Content
from .failures import Failures, find
from .heads import Head, opened, read_head
from .layout import RunFiles, scan
from .own import OwnExportRun, is_own
from .series import Findings, Mend, Names, Series
from .table import UNREADABLE

_REMEMBERED = 32
"""Runs whose files are remembered between `read` and `fetch`, and whose notices are until they are asked for."""


@dataclass(frozen=True)
class _Ancestor:
    """A run that another one forked from, and the last step that it handed down."""

    head: Head
    until: Decimal


class ExportSource(Source):
    """Every run of a folder.

    Args:
        root: the folder that holds `data` and `files`, or `data` itself.
        settings: the target's.
    """

    def __init__(self, root: Path, settings: NeptuneSettings) -> None:
        self._root = root
        self._settings = settings
        self._files = None if settings.files is None else Path(settings.files).expanduser()
        self._failures = Failures(find(root, settings.errors))
        self._mend = None if settings.source_tz is None else mender(settings.source_tz)
        self._contents: dict[str, dict[str, Content]] = {}
        self._notices: dict[str, list[str]] = {}
        self._mutex = threading.Lock()

    # -- listing ------------------------------------------------------------------------------------------------------

    @cached_property
    def _folders(self) -> list[list[RunFiles]]:
        return list(scan(self._root, self._files))

    @cached_property
    def _heads(self) -> dict[str, Head]:
        """All runs by their neutral ids, with what is under `sys/`."""
        heads = [head for runs in self._folders for head in _with_one_project([read_head(run, prefix=names.SYS) for run in runs])]
        heads.sort(key=lambda head: (head.attributes.project, head.attributes.started, head.attributes.run))
        return {_neutral_id(head.attributes): head for head in heads}

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], str]:
        """Neutral ids by project and any of the names that Neptune itself has for a run."""
        found: dict[tuple[str, str], str] = {}
        for id_, head in self._heads.items():
            attributes = head.attributes
            for name in (attributes.run, attributes.text("sys/custom_run_id"), attributes.text("sys/id")):
                if name is not None:
                    found.setdefault((attributes.project, name), id_)
        return found

    def describe(self) -> str:
        """Return how many runs of how many projects there are."""
        runs = [run for runs in self._folders for run in runs]
        projects = {run.project_folder.name for run in runs}
        return f"{len(runs):,} run{'' if len(runs) == 1 else 's'} of {len(projects):,} project{'' if len(projects) == 1 else 's'}"

    def projects(self) -> Iterator[str]:
        """Yield the projects, each as `workspace/project`."""
        return iter(dict.fromkeys(head.attributes.project for head in self._listed().values()))

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match, damaged ones included: those say why when they are read."""
        for id_, head in self._listed().items():
            if wanted.matches(ref := self._reference(id_, head)):
                yield ref

    def _listed(self) -> dict[str, Head]:
        with self._mutex:
            return self._heads

    def _reference(self, id_: str, head: Head) -> RunRef:
        attributes = head.attributes
        if is_own(head) and (own := self._own_reference(head)) is not None:
            return own
        refused = bool(head.problems) and not self._settings.partial
        return RunRef(
            id=id_,
            native_id=attributes.run,
            project=attributes.project,
            name=attributes.name,
            status=None if refused else attributes.status,
            started=attributes.started,
            ended=attributes.ended,
            parent=self._parent(attributes),
            tags=attributes.tags,
            params={} if refused else None,  # a listing goes on past a run that it could not read
            metrics={} if refused else None,
            deleted=attributes.deleted,
            version=self._version(head),
        )

    def _own_reference(self, head: Head) -> RunRef | None:
        """Return a run that multitrack wrote as it was recorded; None where its records cannot be read."""
        try:
            return None if head.problems else self._own(read_head(head.files)).ref()
        except (PermanentError, RecordError, *UNREADABLE):  # told when the run is read
            return None

    def _parent(self, attributes: Attributes) -> str | None:
        """Return the neutral id of the run that this one forked from, or of the model that it is a version of, where that is at hand."""
        with self._mutex:
            known = self._by_name
        for path in ("sys/forking/parent", "sys/model_id"):
            if (name := attributes.text(path)) is not None and (parent := known.get((attributes.project, name))) is not None:
                return None if parent == _neutral_id(attributes) else parent
        return None

    def _version(self, head: Head) -> str:
        told: list[object] = [names.MAPPING, self._settings.source_tz, self._settings.partial, head.fingerprint]
        told += [(ancestor.head.fingerprint, ancestor.until) for ancestor in self._ancestors(head.attributes)]
        return hashlib.sha256(repr(told).encode()).hexdigest()[:32]

    def _ancestors(self, attributes: Attributes) -> list[_Ancestor]:
        """Return the runs that a fork has points of, the eldest first."""
        found: list[_Ancestor] = []
        met = {_neutral_id(attributes)}
        until: Decimal | None = None
        while (parent := self._parent(attributes)) is not None and parent not in met:
            step = attributes.get("sys/forking/step", "float", "int")
            if step is None:
                break
            until = Decimal(repr(step)) if until is None else min(until, Decimal(repr(step)))
            met.add(parent)
            head = self._listed()[parent]
            found.insert(0, _Ancestor(head, until))
            attributes = head.attributes
        return found

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield everything that the export holds of the run; see `names` for what becomes what.

        Raises:
            PermanentError: the run is damaged, or gone.
        """
        try:
            yield from self._read(run)
        except (RecordError, *UNREADABLE) as error:
            raise PermanentError(f"the export of {run.native_id!r} cannot be read: {' '.join(str(error).split())[:200]}") from None

    def _read(self, run: RunRef) -> Iterator[Record]:
        head = self._whole(run)
        attributes = head.attributes
        if is_own(head):
            yield from self._own(head).records()
            self._note(run.id, list(self._told_of(head, Findings())))
            return
        known = Names(list(attributes.hosts()))
        attachments = Attachments(attributes, head.files.files_folder, known)
        series = Series(attributes, self._mend_of(attributes), known)
        self._remember(run.id, attachments.contents)
        yield attributes.run_started(run.id, self._parent(attributes))
        yield from _described(attributes, attachments)
        yield from attachments.single()
        with ExitStack() as stack:
            for ancestor in self._ancestors(attributes):
                parts = stack.enter_context(opened(ancestor.head.readable))
                yield from Series(ancestor.head.attributes, None, known).points(parts, until=ancestor.until)
                yield from attachments.of_ancestor(ancestor.head.attributes).series(parts, until=ancestor.until)
            parts = stack.enter_context(opened(head.readable))
            yield from series.console(parts)
            yield from series.points(parts)
            yield from attachments.series(parts)
        yield from attributes.run_ending()
        self._note(run.id, [*self._told_of(head, series.findings), *attachments.notices])

    def _whole(self, run: RunRef) -> Head:
        """Return a run with all its single attributes."""
        head = read_head(self._listed_head(run).files)
        if head.problems and not (self._settings.partial and head.readable):
            raise PermanentError(head.damage)
        for ancestor in self._ancestors(head.attributes):
            if ancestor.head.problems and not self._settings.partial:
                raise PermanentError(f"it forks from {ancestor.head.attributes.run!r}: {ancestor.head.damage}")
        return head

    def _listed_head(self, run: RunRef) -> Head:
        listed = self._listed().get(run.id)
        if listed is None:
            raise PermanentError(f"the run {run.native_id} is no longer in {self._root}")
        return listed

    def _own(self, head: Head) -> OwnExportRun:
        return OwnExportRun(head, self._mend_of(head.attributes))

    def _mend_of(self, attributes: Attributes) -> Mend | None:
        return self._mend if attributes.client == "1.x" else None

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Write an artifact's content to the file `to`."""
        if is_own(listed := self._listed_head(run)):
            kept = self._own(read_head(listed.files)).find(artifact.name)
            if kept is None:
                raise PermanentError("the export has no such file")
            kept.copy(to)
            return
        with self._mutex:
            contents = self._contents.get(run.id)
        if contents is None or artifact.name not in contents:
            for _ in self.read(run):
                pass
            contents = self._contents[run.id]
        content = contents.get(artifact.name, "the export has no such file")
        if isinstance(content, str):
            raise PermanentError(content)
        content.copy(to)

    def _remember(self, id_: str, contents: dict[str, Content]) -> None:
        with self._mutex:
            if len(self._contents) >= _REMEMBERED:
                del self._contents[next(iter(self._contents))]
            self._contents[id_] = contents

    # -- what there is to say -----------------------------------------------------------------------------------------

    def notices(self, run: RunRef | None = None) -> Sequence[str]:
        """Return what the export lacks of a run that was read, and what looks wrong; without a run, what is said of no run at all."""
        if run is not None:
            with self._mutex:
                return self._notices.get(run.id, ())
        known = {(head.attributes.project, head.attributes.run) for head in self._listed().values()}
        lines = list(self._failures.elsewhere(known))
        if self._failures.unreadable:
            lines.append(f"{self._failures.file}: {self._failures.unreadable:,} lines cannot be understood")
        return lines

    def _note(self, id_: str, lines: list[str]) -> None:
        with self._mutex:
            if len(self._notices) >= _REMEMBERED:
                del self._notices[next(iter(self._notices))]
            self._notices[id_] = lines

    def _told_of(self, head: Head, findings: Findings) -> Iterator[str]:
        attributes = head.attributes
        yield from head.problems
        if head.strange:
            yield f"not read, since their type is unknown: {', '.join(f'{path!r} ({kind})' for path, kind in head.strange)}"
        found = findings.paths | {path for path, _ in attributes.values}
        yield from self._failures.of(attributes.project, attributes.run, found)
        for path, count in sorted(findings.without_value.items()):
            yield f"{count:,} point{'s were' if count > 1 else ' was'} exported without a value, of {path!r}"
        parent = attributes.text("sys/forking/parent")
        if parent is not None and not self._ancestors(attributes):
            yield f"it forks from {parent!r}, which is not in this export: the points before the fork are not here"
        shift = self._shift(attributes, findings)
        if shift is not None:
            yield shift

    def _shift(self, attributes: Attributes, findings: Findings) -> str | None:
        """Return a warning where times look like those of another time zone: resource usage and console tell best."""
        created: Microseconds | None = attributes.get("sys/creation_time", "datetime")
        span = findings.spans.get(True) or findings.spans.get(False)
        if created is None or span is None or attributes.client != "1.x":
            return None
        first, last = span
        quarters = find_shift(created, first)
        if quarters is None:
            return None
        begin = f"its points begin {describe_shift(quarters)} hours from its creation"
        if may_be_right(quarters, last, attributes.heard):
            return f"{begin}: if that is not so, name the time zone of the machine that neptune-exporter ran on with --source-tz"
        return (
            f"{begin}: neptune-exporter wrote the local time of the machine that it ran on; name that machine's time zone with "
            "--source-tz, such as --source-tz Europe/Warsaw"
        )


def _neutral_id(attributes: Attributes) -> str:
    own = attributes.text(names.RUN_ID) or ""
    if RUN_ID.fullmatch(own):
        return own
    native = attributes.run if attributes.job_type is None else f"{attributes.job_type}\0{attributes.run}"
    return native if RUN_ID.fullmatch(native) else derive_run_id(names.SERVICE, attributes.project, native)


def _with_one_project(heads: list[Head]) -> list[Head]:
    """Return the runs of one folder; those of which nothing can be read are of the same project as the others."""
    known = next((head.attributes.project for head in heads if head.readable), None)
    if known is None:
        return heads
    return [head if head.readable else head.of_project(known) for head in heads]


def _described(attributes: Attributes, attachments: Attachments) -> Iterator[Record]:
    """Yield what stands in the head of a run: code, environment, data, settings, and the source files."""
    modules = list(attachments.modules())
    texts = {
        path: content.decode("utf-8", "surrogateescape")
        for path in text_files(attributes)
        if (content := attachments.content(path, "file"))
    }
    references = [ArtifactRef(name=module.name, sha256=module.sha256) for module in modules if module.sha256 is not None]
    code = code_version(attributes, texts, references)
    yield from [code] if code is not None else []
    yield from _environments(attributes, attachments)
    yield from _data(attributes, attachments)
    params = attributes.hyperparameters()
    yield from [params] if params is not None else []
    yield from modules


def _environments(attributes: Attributes, attachments: Attachments) -> Iterator[Environment]:
    content = attachments.content("source_code/requirements", "file")
    text = None if content is None else content.decode("utf-8", "replace")
    found = environment(text, attributes.host, attributes.started)
    if found is not None:
        yield found
    for host in sorted({host for host in attributes.hosts().values() if host} - {attributes.host}):
        yield Environment(time=attributes.started, host=host)


def _data(attributes: Attributes, attachments: Attachments) -> Iterator[DataVersion]:
    for path, kind, _ in attributes:
        if kind == "artifact" and (content := attachments.content(path, kind)) is not None:
            try:
                yield data_version(path, content, attributes.started)
            except ValueError as error:
                attachments.notices.append(f"{path}/{names.FILES_LIST}: {error}")

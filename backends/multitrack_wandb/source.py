"""The source for the service: every run of an entity, or of a project, as records, unsampled."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import PermanentError
from multitrack.records import RUN_ID, Artifact, LogLines, Microseconds, Record

from . import decode, logged, names, nodes
from .client import Client
from .history import History, events
from .location import project_name
from .native import NativeFile, NativeRun
from .reader import IDS_PER_SEARCH, RUN_PAGE, Address, Reader, RunFile
from .rows import system_name
from .scan import PAGE, Scanner
from .settings import WandbSettings

_log = logging.getLogger(__name__)

RETRIES = 4
"""How often a question is asked again: a listing of thousands of runs must not be begun anew for one answer that was lost."""
_REMEMBERED = 1000
"""Runs whose files' places are kept between `read` and `fetch`."""
_LINES = 1000
"""Console lines in a record."""
_METADATA = "wandb-metadata.json"
_OUTPUT = "output.log"


@dataclass(slots=True)
class _Contents:
    """Where a run's files are."""

    files: dict[str, RunFile]
    folders: dict[str, logged.Version]
    """Logged artifacts by the names that their files begin with."""
    urls: dict[str, dict[str, str]] = field(default_factory=dict)
    """By artifact and path, as far as they were asked for."""


class WandbSource(Source):
    """Runs at the service. `run_page` is how many runs, `history_page` how many rows are asked for at a time."""

    def __init__(
        self,
        location: str | None,
        settings: WandbSettings,
        *,
        run_page: int = RUN_PAGE,
        history_page: int = PAGE,
        retries: int = RETRIES,
    ) -> None:
        self._client = Client(location, settings, retries=retries)
        self._reader = Reader(self._client, run_page=run_page)
        self._scanner = Scanner(self._reader, page=history_page)
        self._projects: dict[tuple[str, str], str] = {}
        """W&B's project of a run, by its own id and our project."""
        self._contents: dict[str, _Contents] = {}
        self._problems: dict[str, list[str]] = {}

    # -- listing ------------------------------------------------------------------------------------------------------------------

    def projects(self) -> Iterator[str]:
        """Yield the names of the projects that hold runs: as multitrack knows them, where it has brought the first of their runs."""
        seen: set[str] = set()
        for name, one in self._reader.projects():
            if one is None or self._client.place.project not in (None, name):
                continue
            native = NativeRun(id=one["name"], project=name, entity=self._client.entity, config=nodes.config_of(one))
            if (project := decode.project_of(native)) not in seen:
                seen.add(project)
                yield project

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match, project by project, those first that were brought there first.

        Raises:
            PermanentError: all runs of a project are wanted that is not there.
        """
        fixed = self._client.place.project
        if fixed is not None and wanted.projects is None and wanted.ids is None and not self._reader.has_project(fixed):
            raise PermanentError(f"W&B has no project {self._client.entity}/{fixed}, or does not show it to this login")
        found = self._scan(wanted, [nodes.filters_of(wanted)]) if wanted.ids is None else self._find(wanted, wanted.ids)
        return (ref for ref in found if wanted.matches(ref))

    def _scan(self, wanted: RunFilter, searches: Sequence[Mapping[str, Any]]) -> Iterator[RunRef]:
        for project in self._places(wanted):
            for filters in searches:
                for node in self._reader.runs(project, filters):
                    yield self._reference(project, node)

    def _find(self, wanted: RunFilter, ids: Sequence[str]) -> Iterator[RunRef]:
        """Look runs up by id. Ids that were derived from W&B's can only be found by looking at every run."""
        listed = iter(dict.fromkeys(ids))
        filters = nodes.filters_of(wanted)
        searches = [nodes.with_ids(filters, some) for some in iter(lambda: list(islice(listed, IDS_PER_SEARCH)), [])]
        found = list(self._scan(wanted, searches))
        known = {id_ for ref in found for id_ in (ref.id, ref.native_id)}
        missing = {id_ for id_ in set(ids) - known if RUN_ID.fullmatch(id_)}
        yield from self._scan(wanted, [filters]) if missing else found

    def _places(self, wanted: RunFilter) -> Iterator[str]:
        """Yield the names of W&B's projects in which runs may be that are wanted."""
        fixed = self._client.place.project
        if fixed is not None:
            yield fixed
        elif wanted.projects is not None:
            yield from dict.fromkeys(map(project_name, wanted.projects))
        else:
            yield from (name for name, one in self._reader.projects() if one is not None)

    def _reference(self, project: str, node: Mapping[str, Any]) -> RunRef:
        ref = decode.reference(self._native(project, node))
        self._projects[ref.native_id, ref.project] = project
        return ref

    def _native(self, project: str, node: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> NativeRun:
        url = self._client.run_url(project, node["name"])
        return nodes.native_run(node, entity=self._client.entity, project=project, url=url, metadata=metadata)

    def _address(self, run: RunRef) -> Address:
        known = self._projects.get((run.native_id, run.project))
        return Address(self._client.entity, known or self._client.place.project or project_name(run.project), run.native_id)

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield everything that W&B holds of the run; see `names` for what becomes what.

        Raises:
            PermanentError: the run is gone.
        """
        self._problems.pop(run.id, None)
        at = self._address(run)
        node = self._reader.run(at)
        files = {file.name: file for file in self._reader.files(at)}
        native = self._native(at.project, node)
        ours = decode.is_ours(native)
        if not ours:
            native = self._native(at.project, node, self._metadata(files))
        described = decode.Described(self._descriptions(files) if ours else ())
        contents = self._remember(run, at, files, described.artifacts.values())
        yield decode.run_started(native)
        yield from self._captures(native, files, described, ours=ours)
        if not ours:
            started = decode.started_at(native)
            yield from (logged.data_version(logged.version_of(one), started) for one in self._reader.artifacts(at, used=True))
        params = decode.hyperparameters(native)
        yield from [params] if params is not None else []
        yield from decode.definitions(native, nodes.metric_definitions(native))
        yield from self._points(run, at, native, node)
        if ours:
            yield from described.console
        elif node["logLineCount"] != 0:
            yield from self._console(run, at, files, decode.started_at(native))
        yield from decode.captures_failed(native)
        yield from decode.artifacts(native, (NativeFile(file.name, file.size) for file in files.values()), described)
        yield from self._logged(native, contents)
        yield from decode.run_ending(native)

    def _captures(self, native: NativeRun, files: Mapping[str, RunFile], described: decode.Described, *, ours: bool) -> Iterator[Record]:
        diff = None if described.code is not None else self._text(files, names.DIFF_FILE)
        code = decode.code_version(native, described.code, diff)
        yield from [code] if code is not None else []
        if ours:
            yield from described.environments
            yield from described.data
        elif (machine := decode.environment(native, self._text(files, names.REQUIREMENTS_FILE))) is not None:
            yield machine

    def _points(self, run: RunRef, at: Address, native: NativeRun, node: Mapping[str, Any]) -> Iterator[Record]:
        """Yield history, system metrics and summary."""
        ours, started = decode.is_ours(native), decode.started_at(native)
        ints = decode.own_words(native).get(names.INTS) or ()
        history = History(ours=ours, ints=ints, started=started)
        system = History(ours=ours, ints=ints, started=started, source="system", rename=system_name)
        last_step = int((node["historyKeys"] or {}).get("lastStep", -1))
        for row in self._scanner.rows(at, node["historyLineCount"] or 0, last_step):
            yield from history.add(row)
        yield from history.rest()
        count = node["eventsLineCount"] or 0
        rows = self._reader.events(at, count)
        if len(rows) < count:
            self._say(run, f"W&B gave {len(rows):,} of {count:,} rows of system metrics; it has no way to ask for all")
        for row in rows:
            yield from system.add(events(row))
        yield from system.rest()
        summary = decode.summary(native, history.last)
        yield from [summary] if summary is not None else []
        if dropped := history.dropped + system.dropped:
            self._say(run, f"{dropped:,} values that are no points: null, or empty")

    def _console(self, run: RunRef, at: Address, files: Mapping[str, RunFile], started: Microseconds) -> Iterator[LogLines]:
        try:
            yield from _lines(((line.level, line.label, line.timestamp, line.content) for line in self._reader.console(at)), started)
        except PermanentError:
            text = self._text(files, _OUTPUT)
            if text is None:
                raise
            self._say(run, "this W&B server gives the console without times")
            yield from _lines((("", "", "", line) for line in text.splitlines()), started)

    def _logged(self, native: NativeRun, contents: _Contents) -> Iterator[Artifact]:
        for folder, version in contents.folders.items():
            yield from logged.files(folder, version, self._reader.manifest(version.id), decode.started_at(native))

    # -- files --------------------------------------------------------------------------------------------------------------------

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Write an artifact's content to the file `to`."""
        contents = self._contents.get(run.id) or self._list(run)
        if artifact.name in contents.files:
            self._reader.fetch(contents.files[artifact.name].url, to)
            return
        folder, _, path = artifact.name.partition("/")
        version = contents.folders.get(folder)
        if version is not None:
            if version.id not in contents.urls:
                contents.urls[version.id] = self._reader.artifact_urls(version.id)
            if path in contents.urls[version.id]:
                self._reader.fetch(contents.urls[version.id][path], to)
                return
        raise PermanentError(f"W&B has no file {artifact.name!r} of run {run.native_id}")

    def problems(self, run: RunRef) -> Sequence[str]:
        """Return what of the run could not be read."""
        return self._problems.get(run.id, [])

    def _list(self, run: RunRef) -> _Contents:
        at = self._address(run)
        return self._remember(run, at, {file.name: file for file in self._reader.files(at)}, ())

    def _remember(self, run: RunRef, at: Address, files: dict[str, RunFile], described: Iterable[Artifact]) -> _Contents:
        if len(self._contents) >= _REMEMBERED:
            self._contents = {}
        versions = map(logged.version_of, self._reader.artifacts(at))
        found = self._contents[run.id] = _Contents(files, logged.folders(versions, described))
        return found

    def _metadata(self, files: Mapping[str, RunFile]) -> Mapping[str, Any]:
        try:
            found = json.loads(self._text(files, _METADATA) or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, Mapping) else {}

    def _descriptions(self, files: Mapping[str, RunFile]) -> Iterator[bytes]:
        return (self._reader.content(files[name].url) for name in sorted(files) if name.startswith(names.DESCRIBED_FILES))

    def _text(self, files: Mapping[str, RunFile], name: str) -> str | None:
        file = files.get(name)
        return None if file is None else self._reader.content(file.url).decode("utf-8", "surrogateescape")

    def _say(self, run: RunRef, problem: str) -> None:
        self._problems.setdefault(run.id, []).append(problem)
        _log.warning("wandb: run %s: %s", run.native_id, problem)


def _lines(lines: Iterable[tuple[str, str, str, str]], started: Microseconds) -> Iterator[LogLines]:
    """Yield console lines, those together that came one after the other from one stream. A line without a time has that of the one before.

    Args:
        lines: level (`error` is stderr), label, time and text.
        started: the time of the first line, should it have none.
    """
    for (stream, label), group in groupby(_timed(lines, started), key=lambda line: line[:2]):
        while some := list(islice(group, _LINES)):
            fields = {"time": some[0][2], "stream": stream, "label": label or None}
            yield LogLines.model_validate({**fields, "times": [line[2] for line in some], "lines": [line[3] for line in some]})


def _timed(lines: Iterable[tuple[str, str, str, str]], started: Microseconds) -> Iterator[tuple[str, str, Microseconds, str]]:
    last = started
    for level, label, time, text in lines:
        last = nodes.microseconds(time) or last
        yield "stderr" if level == "error" else "stdout", label, last, text

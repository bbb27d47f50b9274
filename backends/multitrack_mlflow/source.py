"""The source: every run of an MLflow store as records, unsampled, by the quickest road that is sure."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from multitrack.backend import TAG_PARENT, TAG_RUN_ID, Backend, RunFilter, RunRef, Source
from multitrack.errors import PermanentError
from multitrack.records import RUN_ID, Artifact, Record
from multitrack.records.media_names import parse_media_name

from . import decode, display, names
from .client import connect
from .database import Database, UnreadableBySQL
from .files import File, Folder, open_folder
from .location import complete, folder_of, resolve
from .native import NativeModel, NativeRun, Reader
from .ours import Documents, data_versions
from .rest import HISTORY_PAGE, RUN_PAGE, ClientReader
from .settings import MLflowSettings
from .sql import BLOCK, RUN_LOOKUP, SQLReader

_log = logging.getLogger(__name__)
_REMEMBERED = 1000
"""Runs whose file locations are kept between `read` and `fetch`."""


@dataclass(frozen=True, slots=True)
class _Locations:
    """Where a run's files are."""

    run: str
    models: dict[str, str] = field(default_factory=dict)
    """Artifact URIs by the folder that the model's files are listed under."""
    images: dict[str, str] | None = None
    """Paths of our images by the names of their artifacts; None where the files have not been listed."""


class MLflowSource(Source):
    """Every run of a store. `run_page` is how many runs, `history_page` how many points are asked for at a time."""

    def __init__(self, backend: Backend, *, run_page: int | None = None, history_page: int | None = None) -> None:
        location = backend.location or resolve(None, Path.cwd())
        settings = cast(MLflowSettings, backend.settings)
        self._server = location if location.startswith(("http://", "https://")) else None
        self._artifacts = settings.artifacts
        self._reader, self._tracking_uri = _choose_reader(location, settings, run_page, history_page)
        self._neutral_ids: dict[str, str | None] = {}
        self._locations: dict[str, _Locations] = {}

    def close(self) -> None:
        """Let go of connections."""
        self._reader.close()

    # -- listing ------------------------------------------------------------------------------------------------------

    def projects(self) -> Iterator[str]:
        """Yield the names of the experiments that hold runs, deleted ones aside."""
        return (experiment.name for experiment in self._reader.experiments(deleted=False) if self._reader.holds_runs(experiment))

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match, project by project, each project's oldest first."""
        found = self._scan(wanted) if wanted.ids is None else self._find(wanted, wanted.ids)
        return (ref for run in found if wanted.matches(ref := self._reference(run)))

    def _scan(self, wanted: RunFilter) -> Iterator[NativeRun]:
        for experiment in self._reader.experiments(deleted=wanted.deleted):
            if wanted.projects is None or experiment.name in wanted.projects:
                yield from self._reader.runs(experiment, wanted)

    def _find(self, wanted: RunFilter, ids: Iterable[str]) -> Iterable[NativeRun]:
        """Look runs up by id. Ids that were derived from native ones can only be found by looking at every run."""
        found = self._reader.find(list(dict.fromkeys(ids)))
        known = {id_ for run in found for id_ in (run.id, decode.neutral_id(run))}
        if any(RUN_ID.fullmatch(id_) for id_ in set(ids) - known):
            return self._scan(wanted)
        return sorted(found, key=lambda run: (run.experiment.name, run.start or 0, run.id))

    def _reference(self, run: NativeRun) -> RunRef:
        self._neutral_ids[run.id] = decode.neutral_id(run)
        return decode.reference(run, self._parent(run), self._server)

    def _parent(self, run: NativeRun) -> str | None:
        """Return the neutral id of a run's parent, of which MLflow has only its own id."""
        native = run.tags.get(names.TAG_PARENT_RUN, "")
        if native and native not in self._neutral_ids:
            parent = self._reader.run(native)
            self._neutral_ids[native] = None if parent is None else decode.neutral_id(parent)
        known = self._neutral_ids.get(native)
        if known is not None:
            return known
        remembered = run.tags.get(TAG_PARENT, "") if decode.is_ours(run) else native
        return remembered if RUN_ID.fullmatch(remembered) else None

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield everything that MLflow holds of the run; see `names` for what becomes what.

        Raises:
            PermanentError: the run is gone, or its files are behind a server that is not at hand. The files come last.
        """
        native = self._native(run)
        ours = decode.is_ours(native)
        yield decode.run_started(native, self._parent(native))
        folder = self._open(native.artifact_uri) if ours else None
        files = list(folder.walk()) if folder is not None else None
        documents = Documents([file.path for file in files or ()], lambda name: _content(folder, name))
        code = decode.code_version(native, documents.code())
        yield from [code] if code is not None else []
        yield from documents.environments()
        yield from data_versions(native, documents.data())
        params = decode.hyperparameters(native)
        yield from [params] if params is not None else []
        yield from self._points(native)
        summary = decode.summary(native)
        yield from [summary] if summary is not None else []
        yield from documents.console()
        yield from decode.captures_failed(native)
        yield from self._files(native, files, documents.consumed if ours else set())
        yield from decode.run_ending(native)

    def _native(self, run: RunRef) -> NativeRun:
        native = self._reader.run(run.native_id)
        if native is None:
            raise PermanentError(f"run {run.native_id} is no longer in MLflow's experiment {run.project!r}")
        return native

    def _points(self, run: NativeRun) -> Iterator[Record]:
        series = replace(run, latest={key: last for key, last in run.latest.items() if decode.holds_series(run, key)})
        return (decode.points(column) for column in self._reader.columns(series))

    def _files(self, run: NativeRun, files: Sequence[File] | None, consumed: set[str]) -> Iterator[Record]:
        """Yield the logged models, and the run's and the models' files."""
        models = self._reader.models(run)
        self._remember(run, [model for _, model in models], None if files is None else _images(files))
        yield from (decode.model(run, link, model) for link, model in models)
        at = decode.started_at(run)
        named = self._open(run.artifact_uri).walk() if files is None else _with_own_names(files)
        yield from (Artifact(time=at, name=file.path, size=file.size) for file in named if file.path not in consumed)
        for _, model in models:
            path = decode.model_path(model)
            yield from (
                Artifact(time=model.created * 1000, name=f"{path}/{file.path}", size=file.size)
                for file in self._open(model.artifact_uri).walk()
            )

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Write an artifact's content to the file `to`."""
        locations = self._locations.get(run.native_id)
        if locations is None:
            native = self._native(run)
            locations = self._remember(native, [model for _, model in self._reader.models(native)])
        for path, uri in locations.models.items():
            if artifact.name.startswith(f"{path}/"):
                self._open(uri).fetch(artifact.name.removeprefix(f"{path}/"), artifact.size, to)
                return
        folder = self._open(locations.run)
        folder.fetch(self._path(run, artifact.name, locations, folder), artifact.size, to)

    def _path(self, run: RunRef, name: str, locations: _Locations, folder: Folder) -> str:
        """Return where an artifact of the run stands; an image does where MLflow's pages look for it."""
        if parse_media_name(name) is None or TAG_RUN_ID not in run.tags:
            return name
        if locations.images is None:
            locations = replace(locations, images=_images(folder.walk()))
            self._locations[run.native_id] = locations
        return (locations.images or {}).get(name, name)

    def _remember(self, run: NativeRun, models: Iterable[NativeModel], images: dict[str, str] | None = None) -> _Locations:
        if len(self._locations) >= _REMEMBERED:
            self._locations = {}
        found = _Locations(run.artifact_uri, {decode.model_path(model): model.artifact_uri for model in models}, images)
        self._locations[run.id] = found
        return found

    def _open(self, uri: str) -> Folder:
        return open_folder(uri, self._tracking_uri, self._artifacts)


def _choose_reader(location: str, settings: MLflowSettings, run_page: int | None, history_page: int | None) -> tuple[Reader, str]:
    """Return a reader for the location, and the tracking URI that its files are asked for with."""
    if location.startswith(("sqlite", "postgresql")):
        try:
            database = Database(complete(location, settings)[0])
            return SQLReader(database, page=run_page or RUN_LOOKUP, block=history_page or BLOCK), location
        except UnreadableBySQL as reason:
            _log.warning("mlflow: reading %s through MLflow's client, which is slower: %s", location, reason)
    folder = folder_of(location)
    if folder is not None and not folder.is_dir():
        raise PermanentError(f"there is no folder {folder}")
    client = connect(location, settings)
    return ClientReader(client, run_page=run_page or RUN_PAGE, history_page=history_page or HISTORY_PAGE), client.tracking_uri


def _with_own_names(files: Iterable[File]) -> Iterator[File]:
    """Yield the files under their artifacts' names; the small versions of images are no artifacts."""
    for file in files:
        name = display.artifact_name(file.path)
        if name is None:
            yield file
        elif name:
            yield file._replace(path=name)


def _images(files: Iterable[File]) -> dict[str, str]:
    """Return the paths of our images by the names of their artifacts."""
    return {name: file.path for file in files if (name := display.artifact_name(file.path))}


def _content(folder: Folder | None, name: str) -> bytes:
    if folder is None:
        return b""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "content"
        folder.fetch(name, None, file)
        return file.read_bytes()

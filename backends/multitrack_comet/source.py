"""The source: every experiment of a workspace or project as records, unsampled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import PermanentError
from multitrack.records import RUN_ID, Artifact, Record

from . import decode
from .client import default_workspace, find_login, patiently, rest_client
from .location import place_of
from .native import NativeAsset, NativeRun
from .reader import CODE_FILE, FULL_METRIC, ExperimentReader
from .settings import CometSettings

PAGE = 100
"""Experiments asked for at a time."""
_PARALLEL = 4
_REMEMBERED = 100
"""Runs whose assets are kept between `read` and `fetch`."""
_EXPERIMENT_KEY_LENGTHS = range(32, 51)


class CometSource(Source):
    """Every experiment that the login can read in the location's workspace, or in its one project."""

    def __init__(self, location: str | None, settings: CometSettings, *, page: int = PAGE) -> None:
        login = find_login(settings)
        place = place_of(location)
        self._rest = rest_client(login)
        self._reader = ExperimentReader(self._rest, login.root)
        self._workspace = place.workspace or default_workspace(settings)
        self._project = place.project
        self._page = page
        self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="comet-listing")
        self._assets: dict[str, dict[str, NativeAsset]] = {}
        self._problems: dict[str, list[str]] = {}

    def close(self) -> None:
        """Let go of connections."""
        self._pool.shutdown(cancel_futures=True)
        self._reader.close()

    # -- listing ------------------------------------------------------------------------------------------------------

    def projects(self) -> Iterator[str]:
        """Yield the names of the projects that hold experiments."""
        workspace = self._find_workspace()
        listed = patiently(f"listing the projects of workspace {workspace!r}", lambda: self._rest.get_project_jsons(workspace)) or {}
        for project in sorted(listed.get("projects") or (), key=lambda project: str(project["projectName"])):
            name = str(project["projectName"])
            if project.get("numberOfExperiments", 1) and self._project in (None, name):
                yield name

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match, project by project, each project's oldest first."""
        found = self._scan(wanted) if wanted.ids is None else self._find(wanted, wanted.ids)
        return (ref for ref in self._references(found) if wanted.matches(ref))

    def _find_workspace(self) -> str:
        if self._workspace is None:
            account = patiently("asking Comet who we are", self._rest.get_account_details)
            self._workspace = str(account["defaultWorkspaceName"])
        return self._workspace

    def _scan(self, wanted: RunFilter) -> Iterator[Mapping[str, Any]]:
        for project in self.projects():
            if wanted.projects is not None and project not in wanted.projects:
                continue
            found = list(self._experiments(project, archived=False))
            if wanted.deleted:
                found += self._experiments(project, archived=True)
            yield from sorted(
                (one for one in found if _may_match(one, wanted)), key=lambda one: (one.get("startTimeMillis") or 0, one["experimentKey"])
            )

    def _experiments(self, project: str, *, archived: bool) -> Iterator[Mapping[str, Any]]:
        workspace, number, last = self._find_workspace(), 1, None
        while True:
            page = patiently(
                f"listing the experiments of project {project!r}",
                lambda number=number: self._rest.get_project_experiments(  # type: ignore[misc]
                    workspace, project, archived=archived, page=number, page_size=self._page, sort_by="startTime", sort_order="asc"
                ),
            )
            found = page.get("experiments") or []
            if not found or found[-1]["experimentKey"] == last:  # a server that knows no pages gives all of them each time
                return
            yield from found
            if len(found) != self._page:
                return
            number, last = number + 1, found[-1]["experimentKey"]

    def _find(self, wanted: RunFilter, ids: Iterable[str]) -> list[Mapping[str, Any]]:
        """Look experiments up by key. Ids that were derived from keys can only be found by looking at every experiment."""
        found = [one for key in dict.fromkeys(ids) if _may_be_key(key) and (one := self._reader.metadata(key)) is not None]
        found = [one for one in found if self._is_ours_to_list(one) and (wanted.deleted or not one.get("archived"))]
        known = {one["experimentKey"] for one in found}
        if any(RUN_ID.fullmatch(id_) and id_ not in known for id_ in ids):
            known_keys = {one["experimentKey"]: one for one in self._scan(wanted)}
            found = [*known_keys.values(), *(one for one in found if one["experimentKey"] not in known_keys)]
        return sorted(found, key=lambda one: (one["projectName"], one.get("startTimeMillis") or 0, one["experimentKey"]))

    def _is_ours_to_list(self, one: Mapping[str, Any]) -> bool:
        return one.get("workspaceName") == self._find_workspace() and self._project in (None, one["projectName"])

    def _references(self, found: Iterable[Mapping[str, Any]]) -> Iterator[RunRef]:
        part: list[Mapping[str, Any]] = []
        for one in found:
            part.append(one)
            if len(part) >= self._page:
                yield from self._pool.map(self._reference, part)
                part = []
        yield from self._pool.map(self._reference, part)

    def _reference(self, metadata: Mapping[str, Any]) -> RunRef:
        run, metrics = self._reader.outline(metadata)
        return replace(decode.reference(run, metrics), params=None)

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield everything that Comet holds of the run; see `names` for what becomes what.

        Raises:
            PermanentError: the experiment is gone.
        """
        native = self._native(run)
        shown = replace(native, assets=tuple(asset for asset in native.assets if asset.type != FULL_METRIC))
        self._remember(shown)
        problems: list[str] = []

        def note(metric: str, count: int) -> None:
            problems.append(
                f"metric {metric!r}: Comet gives {count:,} of its points, a sample if there are more, and no file that holds all of it"
            )

        columns = self._reader.columns(native.key, native.assets, note)
        yield from decode.records(shown, columns, lambda asset: self._reader.content(native.key, asset))
        self._problems[native.key] = [] if decode.is_ours(native) else problems  # ours come whole with the attached records

    def problems(self, run: RunRef) -> Sequence[str]:
        """Return the metrics of which there is a sample alone."""
        return self._problems.get(run.native_id, ())

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Write an artifact's content to the file `to`."""
        assets = self._assets.get(run.native_id)
        native = None
        if assets is None:
            native = self._native(run)
            assets = self._remember(native)
        asset = assets.get(artifact.name)
        if asset is None:
            raise PermanentError(f"experiment {run.native_id} has no asset {artifact.name!r} any more")
        if asset.uri is not None:
            raise PermanentError(f"artifact {artifact.name!r} is a reference to {asset.uri}; it has no content at Comet")
        if asset.id == CODE_FILE:
            to.write_bytes(self._reader.code(run.native_id))
        elif (beside := decode.beside(native or self._native(run), artifact) if asset.id == asset.name else None) is not None:
            to.write_bytes(beside)
        else:
            self._reader.download(run.native_id, asset, to)

    def _native(self, run: RunRef) -> NativeRun:
        metadata = self._reader.metadata(run.native_id)
        if metadata is None:
            raise PermanentError(f"experiment {run.native_id} is no longer in Comet's project {run.project!r}")
        return self._reader.run(metadata)

    def _remember(self, run: NativeRun) -> dict[str, NativeAsset]:
        if len(self._assets) >= _REMEMBERED:
            self._assets = {}
        found = {artifact.name: asset for asset, artifact in decode.artifacts(run)}
        self._assets[run.key] = found
        return found


def _may_be_key(text: str) -> bool:
    return text.isalnum() and text.isascii() and len(text) in _EXPERIMENT_KEY_LENGTHS


def _may_match(one: Mapping[str, Any], wanted: RunFilter) -> bool:
    """Return whether what a listing tells does not speak against an experiment."""
    start = one.get("startTimeMillis")
    return (wanted.since is None or (start is not None and start * 1000 >= wanted.since)) and (
        wanted.until is None or (start is not None and start * 1000 < wanted.until)
    )

"""The source that reads archives: one, or a folder of them. Needs no comet_ml.

Archives of one experiment that was added to later (`KEY.zip`, `KEY-SUFFIX.zip`) are one run. An archive that cannot be read is a run that
cannot be read: a migration names it and moves the others.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import PermanentError
from multitrack.records import Artifact, Record

from . import decode
from .archive import MESSAGES, Archive, FolderArchive, ZippedArchive, is_folder_archive, key_of
from .native import NativeAsset
from .replay import ArchivedRun, columns, replay

_log = logging.getLogger(__name__)
_REMEMBERED = 8
"""Runs whose messages, all but the points, are kept between the calls that read them."""


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """An archive that cannot be read, and why."""

    path: Path
    reason: str


class OfflineSource(Source):
    """The runs in a folder of archives, or in a single one. `project` is that of runs that name none.

    Raises:
        PermanentError: there is nothing at the location.
    """

    def __init__(self, path: Path, project: str) -> None:
        find_archives(path)
        self._path = path
        self._project = project
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[Path, ...]] = {}
        self._replayed: dict[str, ArchivedRun] = {}
        self._problems: dict[str, int] = {}
        """Damaged lines of the runs that were read."""

    # -- listing ------------------------------------------------------------------------------------------------------

    def projects(self) -> Iterator[str]:
        """Yield the projects' names, sorted."""
        yield from sorted({ref.project for ref in self.runs(RunFilter())})

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match.

        Raises:
            PermanentError: the location is a single archive that cannot be read, or is gone.
        """
        found = [self._unreadable(one) if isinstance(one, _Unreadable) else self._reference(one) for one in self._experiments()]
        yield from sorted(filter(wanted.matches, found), key=lambda ref: (ref.project, ref.started or 0, ref.id))

    def _experiments(self) -> Iterator[ArchivedRun | _Unreadable]:
        """Yield the experiments one by one, so that no more than one's messages are in memory."""
        archives: dict[str, list[Path]] = {}
        for path in find_archives(self._path):
            archives.setdefault(_group(path), []).append(path)
        for paths in archives.values():
            try:
                yield replay(_open(paths), self._project)
            except PermanentError as error:
                if paths == [self._path]:
                    raise
                _log.warning("comet: %s", error)
                yield _Unreadable(paths[0], str(error))

    def _reference(self, run: ArchivedRun) -> RunRef:
        with self._lock:
            self._runs[run.native.key] = tuple(part.path for part in run.parts)
        return decode.reference(run.native)

    def _unreadable(self, archive: _Unreadable) -> RunRef:
        """Return a run that stands for an archive that cannot be read, so that it is not passed over in silence."""
        key = key_of(archive.path)
        with self._lock:
            self._runs[key] = (archive.path,)
        return RunRef(
            id=decode.key_to_neutral(key, self._project),
            native_id=key,
            project=self._project,
            name=f"{archive.path.name} (cannot be read)",
            params={},
            metrics={},
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield everything that the archives hold of the run; see `names` for what becomes what.

        Raises:
            PermanentError: the run is gone, or an archive of it is damaged.
        """
        found = self._replay(run)
        damaged = found.damaged

        def note() -> None:
            nonlocal damaged
            damaged += 1

        yield from decode.records(found.native, columns(found.parts, note), lambda asset: _content(found, asset))
        with self._lock:
            self._problems[run.native_id] = damaged

    def problems(self, run: RunRef) -> Sequence[str]:
        """Return how many of the run's messages were passed over."""
        damaged = self._problems.get(run.native_id, 0)
        return (f"{damaged:,} damaged lines of {MESSAGES} were passed over",) if damaged else ()

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Write an artifact's content to the file `to`."""
        found = self._replay(run)
        beside = decode.beside(found.native, artifact)
        if beside is not None:
            to.write_bytes(beside)
            return
        asset = next((asset for asset, one in decode.artifacts(found.native) if one.name == artifact.name), None)
        if asset is not None and asset.uri is not None:
            raise PermanentError(f"artifact {artifact.name!r} is a reference to {asset.uri}; it has no content at Comet")
        if asset is None or asset.id not in found.files:
            raise PermanentError(f"{found.parts[0].path} holds no content of the artifact {artifact.name!r}")
        archive, name = found.files[asset.id]
        with archive.reading(name) as source, to.open("wb") as target:
            shutil.copyfileobj(source, target)

    def _replay(self, run: RunRef) -> ArchivedRun:
        with self._lock:
            known = self._replayed.get(run.native_id)
            paths = self._runs.get(run.native_id)
        if known is not None and known.native.version == run.version:
            return known
        if paths is None:
            list(self.runs(RunFilter()))
            paths = self._runs.get(run.native_id)
        if paths is None or not any(path.exists() for path in paths):
            raise PermanentError(f"run {run.native_id} is no longer in {self._path}")
        found = replay(_open(paths), self._project)
        with self._lock:
            while len(self._replayed) >= _REMEMBERED:
                del self._replayed[next(iter(self._replayed))]
            self._replayed[run.native_id] = found
        return found


def find_archives(path: Path) -> list[Path]:
    """Return the archives at a location, sorted: itself, or those that lie in the folder. A run of ours that is both counts as a folder.

    Raises:
        PermanentError: there is nothing there, or we may not look.
    """
    if path.is_file() or is_folder_archive(path):
        return [path]
    if not path.is_dir():
        raise PermanentError(f"there is no archive or folder {path}")
    try:
        entries = list(path.iterdir())
        folders = {entry for entry in entries if entry.suffix != ".part" and is_folder_archive(entry)}
    except OSError as error:
        raise PermanentError(f"{path} cannot be looked into: {error.strerror}") from None
    return sorted(folders | {entry for entry in entries if entry.suffix == ".zip" and path / entry.stem not in folders})


def check_folder(path: Path) -> str:
    """Return what is there. Makes nothing: a mistyped folder must not come to be by being asked for."""
    if not path.exists():
        return f"no archives in {path} yet; the first run makes the folder"
    return f"{len(find_archives(path)):,} archives in {path}"


def _group(path: Path) -> str:
    return key_of(path) if path.suffix == ".zip" else str(path)


def _open(paths: Iterable[Path]) -> list[Archive]:
    """Open the archives of an experiment, in the order in which they were recorded."""
    found: list[Archive] = [ZippedArchive(path) if path.is_file() else FolderArchive(path, None) for path in paths]
    return sorted(found, key=_start) if len(found) > 1 else found


def _start(archive: Archive) -> tuple[int, str]:
    return int((archive.metadata() or {}).get("start_time") or 0), archive.path.name


def _content(run: ArchivedRun, asset: NativeAsset) -> bytes:
    archive, name = run.files[asset.id]
    with archive.reading(name) as file:
        return file.read()


__all__ = ["OfflineSource", "check_folder", "find_archives"]

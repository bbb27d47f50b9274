"""The source for folders: every run that transaction logs on a disk tell of, without a network; of damaged logs what can be read."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import PermanentError, TransientError
from multitrack.records import Artifact, Record

from . import decode, names
from .config import plant
from .console import Lines
from .history import History
from .native import NativeFile, NativeRun
from .offline_logs import Story, find_logs, joined, read_records, read_story
from .rows import system_name
from .versions import check_version

_FILES = "files"


class OfflineSource(Source):
    """All runs below a place. A run whose SDK was started again (`resume`) has several logs: they are one run."""

    def __init__(self, place: Path) -> None:
        check_version()
        self._place = place
        self._stories: dict[Path, Story] = {}
        self._known: dict[tuple[str, str], tuple[NativeRun, list[Story]]] = {}
        """Runs by native id and project, as they were listed last."""
        self._dropped: dict[str, int] = {}
        self._unreadable: dict[Path, str] = {}

    # -- listing --------------------------------------------------------------------------------------------------------------

    def projects(self) -> Iterator[str]:
        """Yield the names of the projects that hold runs."""
        yield from sorted({decode.project_of(native) for native, _ in self._all()})

    def runs(self, wanted: RunFilter) -> Iterator[RunRef]:
        """Yield the runs that match. A log that holds no run that can be read is one without a status; `read` says why."""
        if wanted.projects is not None and not self._place.exists():  # a destination, before its first run
            return
        refs = [ref for native, _ in self._all() if wanted.matches(ref := decode.reference(native))]
        refs += [ref for path in self._unreadable if wanted.matches(ref := self._refer_to_unreadable(path))]
        yield from sorted(refs, key=lambda ref: (ref.project, ref.started or 0, ref.id))

    def _refer_to_unreadable(self, path: Path) -> RunRef:
        native = NativeRun(id=path.stem.removeprefix("run-"), project=names.NO_PROJECT)
        return RunRef(id=decode.neutral_id(native), native_id=f"{native.id}@{path.name}", project=native.project, params={}, metrics={})

    def _all(self) -> list[tuple[NativeRun, list[Story]]]:
        """Return the runs, each with its logs in their order."""
        logs = find_logs(self._place)
        stories = [story for path in logs if (story := self._story(path)) is not None]
        together: dict[tuple[str, str, str], list[Story]] = {}
        for story in sorted(stories, key=lambda story: (story.started or 0, story.path)):
            together.setdefault((story.run.entity, story.run.project, story.run.run_id), []).append(story)
        found = [(_merged(group), group) for group in together.values()]
        self._known = {(native.id, decode.project_of(native)): (native, group) for native, group in found}
        return found

    def _story(self, path: Path) -> Story | None:
        """Return what a log says, read again only where it has changed."""
        known = self._stories.get(path)
        try:
            if known is None or known.has_changed():
                known = self._stories[path] = read_story(path)
            self._unreadable.pop(path, None)
            return known
        except PermanentError as error:
            self._unreadable[path] = str(error)
            return None

    # -- reading --------------------------------------------------------------------------------------------------------------

    def read(self, run: RunRef) -> Iterator[Record]:
        """Yield everything that the logs hold of the run.

        Raises:
            PermanentError: the log is gone, or holds no run that can be read.
        """
        native, stories = self._find(run)
        ours = decode.is_ours(native)
        files = list(_files_of(stories))
        described = decode.Described(_contents(stories, files) if ours else ())
        yield decode.run_started(native)
        code = decode.code_version(native, described.code, _text(stories, names.DIFF_FILE))
        yield from [code] if code is not None else []
        if ours:
            yield from described.environments
            yield from described.data
        elif (machine := decode.environment(native, _text(stories, names.REQUIREMENTS_FILE))) is not None:
            yield machine
        params = decode.hyperparameters(native)
        yield from [params] if params is not None else []
        yield from decode.definitions(native, (one for story in stories for one in story.definitions.values()))
        yield from self._points(run, native, stories, described.console if ours else None)
        yield from decode.captures_failed(native)
        yield from decode.artifacts(native, files, described)
        if not ours:
            yield from (artifact for artifact, _ in _logged(native, stories))
        yield from decode.run_ending(native)

    def _points(self, run: RunRef, native: NativeRun, stories: Sequence[Story], console: Iterable[Record] | None) -> Iterator[Record]:
        """Yield history, system metrics, summary and console. `console`: that of a run of ours, which the log has for people only."""
        ours, started = decode.is_ours(native), decode.started_at(native)
        ints = decode.own_words(native).get(names.INTS) or ()
        history = History(ours=ours, ints=ints, started=started)
        system = History(ours=ours, ints=ints, started=started, source="system", rename=system_name)
        lines = Lines(started)
        for record in (record for story in stories for record in read_records(story.path)):
            if record.HasField("history"):
                yield from history.add(_row(record.history.item))
            elif record.HasField("stats"):
                yield from system.add({**_row(record.stats.item), names.TIMESTAMP: record.stats.timestamp.ToMicroseconds() / 1e6})
            elif console is None:
                yield from lines.add(record)
        yield from history.rest()
        yield from system.rest()
        summary = decode.summary(native, history.last)
        yield from [summary] if summary is not None else []
        yield from lines.rest() if console is None else console
        self._dropped[run.native_id] = history.dropped + system.dropped

    def problems(self, run: RunRef) -> Sequence[str]:
        """Return what of the run could not be read."""
        _, stories = self._find(run)
        found = []
        for story in stories:
            torn = [damage for damage in story.damages if not (damage.at_end and story.exit is None)]
            if torn:
                total = sum(damage.length for damage in torn)
                reasons = ", ".join(dict.fromkeys(damage.reason for damage in torn))
                found.append(f"{story.path.name}: {len(torn):,} damaged places, {total:,} bytes that cannot be read ({reasons}); {torn[0]}")
            found += [f"{story.path.name}: the process was killed as it wrote: {one}" for one in story.damages if one not in torn]
            if story.strange:
                found.append(f"{story.path.name}: {story.strange:,} records that this version of wandb does not know")
        if dropped := self._dropped.get(run.native_id):
            found.append(f"{dropped:,} values that are no points: null, or empty")
        return found

    def fetch(self, run: RunRef, artifact: Artifact, to: Path) -> None:
        """Copy a file's content."""
        native, stories = self._find(run)
        candidates = [story.path.parent / _FILES / artifact.name for story in reversed(stories)]
        candidates += [path for one, path in _logged(native, stories) if one.name == artifact.name and path is not None]
        for path in candidates:
            try:
                shutil.copyfile(path, to)
                return
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            except OSError as error:
                raise TransientError(f"{path}: {error.strerror or error}") from error
        raise PermanentError(f"its content is not at {candidates[-1]}")

    def _find(self, run: RunRef) -> tuple[NativeRun, list[Story]]:
        key = (run.native_id, run.project)
        known = self._known.get(key)
        if known is None or any(story.has_changed() for story in known[1]):
            self._all()
            known = self._known.get(key)
        if known is not None:
            return known
        reason = next((reason for path, reason in self._unreadable.items() if run.native_id.endswith(f"@{path.name}")), None)
        raise PermanentError(reason or f"run {run.native_id} is no longer below {self._place}")


def check_folder(place: Path) -> str:
    """Return how many runs a folder holds; one that is not there yet comes with its first run."""
    if not place.exists():
        return f"no folder {place} yet; the first run makes it"
    check_version()
    logs = find_logs(place)
    return f"{len(logs):,} runs' transaction logs in {place}"


def _merged(stories: Sequence[Story]) -> NativeRun:
    """Return the run that several logs tell of: the later one goes on from the earlier."""
    natives = [story.native() for story in stories]
    last = natives[-1]
    if len(natives) == 1:
        return last
    merged = replace(
        last,
        config={key: value for native in natives for key, value in native.config.items()},
        summary={key: value for native in natives for key, value in native.summary.items()},
        metadata={key: value for native in natives for key, value in native.metadata.items()},
        started=natives[0].started,
        version=sha256("".join(native.version or "" for native in natives).encode()).hexdigest()[:32],
    )
    words = {name: next((found for native in reversed(natives) if (found := getattr(native, name))), None) for name in _WORDS}
    return replace(merged, **words, tags=next((native.tags for native in reversed(natives) if native.tags), ()))  # type: ignore[arg-type]


_WORDS = ("name", "notes", "group", "job_type", "sweep", "host", "user", "commit", "remote")


def _row(items: Iterable[pb.HistoryItem] | Iterable[pb.StatsItem]) -> dict[str, Any]:
    """Return a row. wandb-core writes what is nested, a histogram too, as one item for each leaf."""
    listed = list(items)
    row: dict[str, Any] = {}
    for item, value in zip(listed, joined(listed), strict=True):
        path = () if isinstance(item, pb.StatsItem) else item.nested_key
        if len(path) > 1:
            plant(row, tuple(path), value)
        else:
            row[path[0] if path else item.key] = value
    return row


def _files_of(stories: Sequence[Story]) -> Iterator[NativeFile]:
    found: dict[str, int] = {}
    for folder in (story.path.parent / _FILES for story in stories):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return (NativeFile(name, size) for name, size in sorted(found.items()))


def _contents(stories: Sequence[Story], files: Iterable[NativeFile]) -> Iterator[bytes]:
    for file in files:
        if file.name.startswith(names.DESCRIBED_FILES):
            yield (_newest(stories, file.name) or Path()).read_bytes()


def _newest(stories: Sequence[Story], name: str) -> Path | None:
    paths = (story.path.parent / _FILES / name for story in reversed(stories))
    return next((path for path in paths if path.is_file()), None)


def _text(stories: Sequence[Story], name: str) -> str | None:
    path = _newest(stories, name)
    return None if path is None else path.read_text(encoding="utf-8", errors="surrogateescape")


def _logged(native: NativeRun, stories: Sequence[Story]) -> Iterator[tuple[Artifact, Path | None]]:
    """Yield the files, and the references, of the artifacts that the run has logged, each with the place of its content."""
    at = decode.started_at(native)
    for logged in (one for story in stories for one in story.artifacts):
        for entry in logged.manifest.contents:
            name, size = f"{logged.name}/{entry.path}", entry.size or None
            if entry.ref:
                yield Artifact(time=at, name=name, uri=entry.ref, type=logged.type or None), None
            else:
                yield Artifact(time=at, name=name, size=size, type=logged.type or None), Path(entry.local_path)

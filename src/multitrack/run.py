"""A run, as the code that trains sees it: every method writes to the journal and returns."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import orjson

from .journal import JournalWriter, RunFolder, store_file
from .journal.blobs import hash_file
from .records import (
    Artifact,
    ArtifactRef,
    DataVersion,
    Ending,
    Histogram,
    Hyperparameters,
    MetricDefinition,
    Metrics,
    Record,
    RunFinished,
    RunUpdated,
    Summary,
    now,
)
from .values import to_artifact_name, to_microseconds, to_params, to_point, to_step, to_tags

_METRICS_HEAD = b'{"kind":"metrics","seq":'
_JSON = orjson.OPT_APPEND_NEWLINE
_SPECIAL = (Histogram, ArtifactRef)


class Run:
    """One run, made by `multitrack.init`. Safe to use from several threads, and in forked children, which write files of their own.

    Attributes:
        id: 32 lowercase letters and digits, the same at every service that lets us choose.
        project, name: as given.
        dir: the run's folder.
    """

    def __init__(self, folder: RunFolder | None, project: str, name: str | None, *, id: str | None = None) -> None:
        """`folder` is None for a run that records nothing and has an `id` only."""
        self.id = folder.id if folder is not None else id or ""
        self.project = project
        self.name = name
        self.dir = folder.path if folder is not None else Path(os.devnull)
        self._folder = folder
        self._session: Session | None = None
        self._writer: Writer = JournalWriter(folder) if folder is not None else _NoWriter()
        self._owner = os.getpid()
        self._ended: Ending | None = None
        self.summary = RunSummary(self)
        _runs.add(self)

    # -- metrics

    def log(self, values: Mapping[str, Any], step: float | None = None, *, time: float | datetime | None = None) -> None:
        """Record metrics. When it returns, they are in the journal, whatever happens to this process.

        Args:
            values: name to bool, int, float, str, `Histogram`, or a numpy or torch scalar.
            step: where they lie on the x-axis; any finite number, in any order, repeated or left out.
            time: when they were measured, as a datetime or in seconds since 1970; now if left out.

        Raises:
            TypeError, ValueError: an argument is wrong; nothing was written.
        """
        at = now() if time is None else to_microseconds(time)
        if step is not None and type(step) is not int:
            step = to_step(step)
        plain: dict[str, Any] = {}
        special = False
        for name, value in values.items():
            if type(name) is not str or not name:
                raise TypeError(f"a metric's name is a text that is not empty, not {name!r}")
            kind = type(value)
            if kind is float:
                special = special or value - value != 0.0  # NaN and the infinities
            elif kind is not int and kind is not bool and kind is not str:
                value = to_point(name, value)  # noqa: PLW2901
                special = special or isinstance(value, _SPECIAL) or value != value or value in (float("inf"), float("-inf"))
            plain[name] = value
        if not special and "$" not in plain and plain:
            fields = {"time": at, "values": plain} if step is None else {"time": at, "step": step, "values": plain}
            try:
                tail = orjson.dumps(fields, option=_JSON)
            except TypeError:  # an int beyond 64 bits, a lone surrogate: the codec knows how to write them
                pass
            else:
                self._writer.append_line(_METRICS_HEAD, b"," + tail[1:])
                return
        if plain:
            self._write(Metrics(time=at, step=step, values=plain))

    def define_metric(
        self,
        name: str,
        *,
        x: str | None = None,
        goal: Literal["min", "max"] | None = None,
        summary: Literal["min", "max", "mean", "last", "first", "none"] | None = None,
    ) -> None:
        """Say how a metric is to be read.

        Args:
            name: the metric, or a pattern with `*`.
            x: the metric that is its x-axis; the step if left out.
            goal: whether less or more is better.
            summary: which value stands for the whole series; the last one if left out.

        Raises:
            ValueError: an argument is none of those.
        """
        self._write(MetricDefinition(time=now(), name=name, x=x, goal=goal, summary=summary))

    # -- settings, words, data

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record hyperparameters, nested as they are. A mapping merges into what is there; anything else replaces it.

        Raises:
            TypeError, ValueError: a name is no str, or a value cannot be written as JSON; nothing was written.
        """
        self._write(Hyperparameters(time=now(), values=to_params(params)))

    def set_tags(self, tags: Iterable[str] | Mapping[str, str | None]) -> None:
        """Add tags: `["base"]`, or `{"team": "vision"}`.

        Raises:
            TypeError: they are neither.
        """
        self._write(RunUpdated(time=now(), tags=to_tags(tags)))

    def remove_tags(self, names: Iterable[str]) -> None:
        """Take tags away; those that are not there do not matter."""
        self._write(RunUpdated(time=now(), removed_tags=list(to_tags(names))))

    def set_notes(self, notes: str) -> None:
        """Replace the run's notes, in Markdown."""
        self._write(RunUpdated(time=now(), notes=notes))

    def set_name(self, name: str) -> None:
        """Rename the run."""
        self._write(RunUpdated(time=now(), name=name))
        self.name = name

    def log_data(
        self,
        name: str,
        path: str | os.PathLike[str] | None = None,
        *,
        role: str | None = None,
        uri: str | None = None,
        digest: str | None = None,
        algorithm: str | None = None,
        rows: int | None = None,
        schema: Any = None,
        profile: Any = None,
    ) -> None:
        """Record which data the run uses.

        Args:
            name: what people call the data set.
            path: a local file; its size and SHA-256 are taken.
            role: `train`, `validation`, `test`, ...
            uri: where the data is, when it is no local file.
            digest, algorithm, rows, schema, profile: what is known of it.

        Raises:
            FileNotFoundError: `path` is no file.
            TypeError, ValueError: `schema` or `profile` cannot be written as JSON.
        """
        size = None
        source_type = None
        if path is not None:
            file = _existing(Path(path), "data set", name)
            digest, size = hash_file(file)
            algorithm, source_type = "sha256", "local"
            uri = uri or file.resolve().as_uri()
        described = to_params({"schema": schema, "profile": profile})
        self._write(
            DataVersion(
                time=now(),
                name=name,
                role=role,
                uri=uri,
                source_type=source_type,
                digest=digest,
                algorithm=algorithm,
                size=size,
                rows=rows,
                data_schema=described["schema"],
                profile=described["profile"],
            )
        )

    # -- files

    def log_artifact(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        kind: str | None = None,
        step: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        reference: bool = False,
    ) -> None:
        """Record a file, or every file of a folder. The content is copied before this returns.

        Args:
            path: the file or folder; with `reference=True` anything, a URL too.
            name: a relative path with forward slashes; the file's own name if left out.
            kind: what it is to people: `model`, `dataset`, `figure`, ...
            step: the step that it belongs to.
            metadata: whatever JSON can say.
            reference: record where it is and copy nothing.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the name leads out of the run.
            OSError: the content cannot be read, or the disk refuses it.
        """
        details = {"type": kind, "step": to_step(step), "metadata": to_params(metadata or {})}
        if reference:
            self._write(Artifact(time=now(), name=to_artifact_name(name or Path(path).name), uri=os.fspath(path), **details))
            return
        source = Path(path)
        if source.is_dir():
            name = to_artifact_name(name or source.resolve().name)
            for file in sorted(item for item in source.rglob("*") if item.is_file()):
                self._store(file, f"{name}/{file.relative_to(source).as_posix()}", details)
        else:
            _existing(source, "artifact", name or source.name)
            self._store(source, to_artifact_name(name or source.name), details)

    def _store(self, file: Path, name: str, details: Mapping[str, Any]) -> None:
        import mimetypes

        if self._folder is None:
            return
        sha256, size = store_file(file, self._folder.artifacts)
        media_type = mimetypes.guess_type(name)[0]
        self._write(Artifact(time=now(), name=name, sha256=sha256, size=size, media_type=media_type, **details))

    # -- services

    def url(self, target: str, wait: float = 0) -> str | None:
        """Return the page where a target shows the run, None if there is none yet; `wait` is the number of seconds to wait for it."""
        return self._session.url(target, wait) if self._session else None

    # -- the end

    def finish(self, status: Ending = "finished", *, error: str | None = None, timeout: float | None = None) -> None:
        """End the run, and wait until its targets have it.

        Args:
            status: `finished`, `failed` or `killed`.
            error: what ended it.
            timeout: seconds to wait for the targets; MULTITRACK_FINISH_TIMEOUT, else a minute, if left out. Nothing is lost when it
                passes: couriers go on, and `multitrack sync` delivers the rest.
        """
        if self._ended is not None or os.getpid() != self._owner:
            return
        self._ended = status
        if self._session is not None:
            self._session.before_end()
        self._writer.append(RunFinished(time=now(), status=status, error=error))
        self._writer.close()
        if self._session is not None:
            self._session.after_end(status, refused=self._writer.refused, timeout=timeout)

    @property
    def ended(self) -> Ending | None:
        """How the run ended; None while it goes on."""
        return self._ended

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.finish(*how_it_ended(error))

    def __repr__(self) -> str:
        return f"<multitrack.Run {self.id} of {self.project!r}: {self._ended or 'running'}>"

    def __str__(self) -> str:
        return self._session.describe(self) if self._session else repr(self)

    def _write(self, record: Record) -> None:
        self._writer.append(record)

    def _after_fork(self) -> None:
        if isinstance(self._writer, JournalWriter):
            self._writer.abandon()
        if self._folder is not None:
            self._writer = _NewWriter(self, self._folder)


class Writer(Protocol):
    """What a run writes to."""

    refused: int

    def append(self, record: Record) -> None: ...
    def append_line(self, head: bytes, tail: bytes) -> None: ...
    def close(self) -> None: ...


class _NoWriter:
    """For a run that records nothing."""

    refused = 0

    def append(self, record: Record) -> None:
        """Nothing is recorded."""

    def append_line(self, head: bytes, tail: bytes) -> None:
        """Nothing is recorded."""

    def close(self) -> None:
        """Nothing is open."""


class _NewWriter:
    """Stands in for a forked child's writer until the child writes something: most children never do."""

    refused = 0

    def __init__(self, run: Run, folder: RunFolder) -> None:
        self._run = run
        self._folder = folder

    def _open(self) -> JournalWriter:
        if not isinstance(self._run._writer, JournalWriter):
            self._run._writer = JournalWriter(self._folder)
        return self._run._writer

    def append(self, record: Record) -> None:
        self._open().append(record)

    def append_line(self, head: bytes, tail: bytes) -> None:
        self._open().append_line(head, tail)

    def close(self) -> None:
        """Nothing is open."""


class RunSummary(MutableMapping[str, Any]):
    """`run.summary["best"] = 0.97`: single results of the whole run. Reading gives back what this process has set."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._values: dict[str, Any] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, values: Any = (), /, **more: Any) -> None:  # type: ignore[override]
        """Set several at once, in one record."""
        fresh = {name: to_point(name, value) for name, value in {**dict(values), **more}.items()}
        if fresh:
            self._run._write(Summary(time=now(), values=fresh))
            self._values.update(fresh)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __delitem__(self, name: str) -> None:
        raise TypeError("a summary value cannot be taken back; set another one")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Session:
    """What stands around a run while it goes on: capture, couriers, the lines that people see. `multitrack.session` has the real one."""

    def before_end(self) -> None:
        """Called before the last record is written."""

    def after_end(self, status: Ending, *, refused: int, timeout: float | None) -> None:
        """Called when the journal is closed."""

    def url(self, target: str, wait: float) -> str | None:
        """Return the page where a target shows the run."""
        raise NotImplementedError

    def describe(self, run: Run) -> str:
        """Return what `print(run)` shows."""
        raise NotImplementedError


def how_it_ended(error: BaseException | None) -> tuple[Ending, str | None]:
    """Return the status and the text for a run that this exception, or none, has ended."""
    if error is None or isinstance(error, SystemExit) and error.code in (None, 0):
        return "finished", None
    if isinstance(error, KeyboardInterrupt):
        return "killed", "KeyboardInterrupt"
    if isinstance(error, SystemExit):
        return "failed", f"exit {error.code}"
    import traceback

    return "failed", "".join(traceback.format_exception(error)).rstrip()


def _existing(path: Path, what: str, name: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{what} {name!r}: there is no file {str(path)!r} (looked for in {Path.cwd()})")
    return path


_runs: weakref.WeakSet[Run] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for run in list(_runs):
        run._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)

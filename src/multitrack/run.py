"""A run, as the code that trains sees it: every method writes to the journal and returns."""

from __future__ import annotations

import errno
import os
import weakref
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from .journal import ChildWriter, JournalWriter, NoWriter, RunFolder, Writer, store_file
from .journal.blobs import list_files, store_bytes
from .masking import Mask
from .media.media import Media
from .media.points import describe, spread
from .media.rows import row_fields, to_row
from .params import read_params, to_params
from .records import (
    Artifact,
    DataVersion,
    Ending,
    Hyperparameters,
    MetricDefinition,
    Metrics,
    Record,
    RunFinished,
    RunUpdated,
    now,
)
from .run_session import Session
from .run_summary import RunSummary
from .values import new_record, to_artifact_name, to_ending, to_microseconds, to_step, to_tags

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from .capture.recorder import Recorder

_DISK_REFUSES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})


class Run:
    """One run, made by `multitrack.init`. Safe to use from several threads, and in forked children, which write files of their own.

    Once the run has ended, whatever would record something raises ValueError: what returns has been recorded. A disk that refuses
    raises nothing: it is said at once, and counted until the end.

    Attributes:
        id: 32 lowercase letters and digits, the same at every service that lets us choose.
        project, name: as given.
        dir: the run's folder.
        owner: the process that made it, and that ends it: a forked child does not.
        joined: whether another process began the run, and ends it.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        project: str,
        name: str | None,
        *,
        id: str | None = None,
        joined: bool = False,
        mask: Mask | None = None,
    ) -> None:
        """`folder` is None for a run that records nothing and has an `id` only.

        Raises:
            OSError: the folder cannot be written to.
        """
        self.id = folder.id if folder is not None else id or ""
        self.project = project
        self.name = name
        self.dir = folder.path if folder is not None else Path(os.devnull)
        self._folder = folder
        self._session: Session | None = None
        self._mask = mask or Mask()
        self._writer: Writer = JournalWriter(folder) if folder is not None else NoWriter()
        self.owner = os.getpid()
        self.joined = joined
        self._ended: Ending | None = None
        self.summary = RunSummary(self._write)
        _runs.add(self)

    # -- metrics

    def log(self, values: Mapping[str, Any], step: float | None = None, *, time: float | datetime | None = None) -> None:
        """Record metrics. When it returns, they are in the journal, whatever happens to this process.

        Args:
            values: name to bool, int, float, str, `Histogram`, or a numpy or torch scalar; or to an `Image`, a `Table`, a matplotlib or
                plotly figure, or a list of these.
            step: where they lie on the x-axis; any finite number, in any order, repeated or left out.
            time: when they were measured, as a datetime or in seconds since 1970; now if left out.

        Raises:
            TypeError, ValueError: an argument is wrong; nothing was written.
        """
        # Plain values at a plain step, nearly all there are, go without a copy and with one call: a benchmark watches over this path.
        if time is None and type(values) is dict and values and (step is None or type(step) is int):
            for name, value in values.items():
                kind = type(value)
                if kind is float:
                    if value - value != 0.0:  # NaN and the infinities
                        break
                elif kind is not int and kind is not bool and kind is not str:
                    break
                if type(name) is not str or not name or name == "$":
                    break
            else:
                if self._writer.append_fields(row_fields(time_ns() // 1000, step, values)):
                    return
        self._log(values, step, time)

    def _log(self, values: Mapping[str, Any], step: float | None, time: float | datetime | None) -> None:
        at = now() if time is None else to_microseconds(time)
        step = to_step(step)
        plain, special = to_row(values)
        if not plain or (not special and self._writer.append_fields(row_fields(at, step, plain))):
            return
        for row in spread(plain):
            held = {name: kept for name, value in row.items() if (kept := self._hold(name, value, step, at)) is not None}
            if held:
                self._write(Metrics(time=at, step=step, values=held))

    def _hold(self, metric: str, value: Any, step: float | None, at: int) -> Any:
        """Return a metric's value as the journal has it: media as a reference to a file of the run, None where the disk refuses that."""
        if not isinstance(value, Media):
            return value
        artifact, reference = describe(value, metric, step, at)
        if self._folder is not None:
            try:
                store_bytes(value.data, reference.sha256, self._folder.artifacts)
            except OSError as error:
                self._writer.refuse(error)
                return None
        self._write(artifact)
        return reference

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
        self._record(MetricDefinition, name=name, x=x, goal=goal, summary=summary)

    # -- settings, words, data

    def log_params(self, params: Any, *, parser: ArgumentParser | None = None) -> None:
        """Record hyperparameters, nested as they are. A mapping merges into what is there; anything else replaces it:
        after `{"model": {"depth": 3, "width": 8}}`, `{"model": {"depth": 5}}` leaves the width, and `{"model": "linear"}` nothing of both.

        Args:
            params: a mapping, a Namespace, a dataclass, an instance of attrs or pydantic, a config of OmegaConf or Hydra, absl's FLAGS, the
                context of click or typer, a named tuple, or any object, class or module with public attributes. Values that are no JSON are
                told in words; what looks like a credential is masked.
            parser: what has parsed them, to record which were given and which are defaults.

        Raises:
            TypeError, ValueError: they have no names, contain themselves, or are nested too deeply; nothing was written.
        """
        given = read_params(params, parser)
        self._write(Hyperparameters(time=now(), values=self._mask.value("", given.values), sources=dict(given.sources)))

    def set_tags(self, tags: Iterable[str] | Mapping[str, str | None]) -> None:
        """Add tags: `["base"]`, or `{"team": "vision"}`.

        Raises:
            TypeError: they are neither.
        """
        self._record(RunUpdated, tags=self._mask.value("", to_tags(tags)))

    def remove_tags(self, names: Iterable[str]) -> None:
        """Take tags away; those that are not there do not matter.

        Raises:
            TypeError: they are not a list of texts.
        """
        self._record(RunUpdated, removed_tags=list(to_tags(names)))

    def set_notes(self, notes: str) -> None:
        """Replace the run's notes, in Markdown.

        Raises:
            TypeError: they are no text.
        """
        self._record(RunUpdated, notes=notes)

    def set_name(self, name: str) -> None:
        """Rename the run.

        Raises:
            TypeError: the name is no text.
        """
        self._record(RunUpdated, name=name)
        self.name = name

    def log_data(
        self,
        name: str,
        data: Any = None,
        *,
        role: str | None = None,
        uri: str | None = None,
        digest: str | None = None,
        algorithm: str | None = None,
        rows: int | None = None,
        schema: Any = None,
        profile: Any = None,
        read: bool | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Record which data the run uses, with a digest that stands for its content. When it returns, that is in the journal.

        Args:
            name: what people call the data set.
            data: a file, a folder, a pattern (`data/*.parquet`, `data/**/*.png`) or a list of these; a URL that fsspec knows (s3, gs,
                https, ...); a path that DVC or Git LFS tracks, whether the content is here or not; a pandas, polars or Arrow table, an
                array of numpy's or torch's, a mapping of names to arrays, a Hugging Face or an MLflow data set. Nothing, if all that is
                known of it is said here.
            role: `train`, `validation`, `test`, ...
            uri: where the data is, if `data` does not say.
            digest, algorithm, rows, schema, profile: what is known of it. A digest that is given is not computed.
            read: whether the content is read and hashed: if left out, that of local data is, that of a URL is not, where the size and the
                entity tag or version stand in. With False, names and sizes, or columns, are all that is recorded of local data.
            storage_options: what fsspec needs to get in. Never recorded.

        Local data that was hashed before, and was not changed since, is not read again. What cannot be read, or a place that does not
        answer, raises nothing: the record says so, and it is said once.

        Raises:
            FileNotFoundError: `data` names local files, and there are none.
            TypeError, ValueError: `data` is nothing that can be described, or another argument is wrong. Nothing was written.
        """
        described = to_params({"schema": schema, "profile": profile})
        record = new_record(
            DataVersion,
            name=name,
            role=role,
            uri=uri,
            digest=digest,
            algorithm=algorithm,
            rows=rows,
            data_schema=described["schema"],
            profile=described["profile"],
        )
        from .data import record_data

        record_data(self._recorder(), record, data, read=read, storage_options=storage_options)

    def _recorder(self) -> Recorder | None:
        if self._folder is None:
            return None
        from .capture.recorder import Recorder
        from .masking import Mask

        held = self._session.recorder if self._session is not None else None
        return held or Recorder(self._folder, self._write, Mask())

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
            FileNotFoundError: there is no such file, or none in the folder.
            TypeError, ValueError: the name leads out of the run, or another argument is wrong.
            OSError: the content cannot be read.
        """
        details = {"type": kind, "step": to_step(step), "metadata": self._mask.value("", to_params(metadata or {}))}
        source = Path(path)
        if reference:
            uri = os.fspath(path) if "://" in os.fspath(path) else source.absolute().as_uri()
            self._record(Artifact, name=to_artifact_name(source.name if name is None else name), uri=uri, **details)
        elif source.is_dir():
            name = to_artifact_name(source.resolve().name if name is None else name)
            for file, inner in list_files(source):
                self._store(file, f"{name}/{inner}", details)
        else:
            name = to_artifact_name(source.name if name is None else name)
            self._store(_existing(source, "artifact", name), name, details)

    def _store(self, file: Path, name: str, details: Mapping[str, Any]) -> None:
        import mimetypes

        record = new_record(Artifact, name=name, media_type=mimetypes.guess_type(name)[0], **details)
        content: dict[str, Any] = {}
        if self._folder is not None:
            try:
                content["sha256"], content["size"] = store_file(file, self._folder.artifacts)
            except OSError as error:
                if error.errno not in _DISK_REFUSES:
                    raise
                self._writer.refuse(error)
                return
        self._write(record.model_copy(update=content))

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

        Calling it again does nothing. In a process that joined the run (see `multitrack.init`), only this process's part ends.

        Raises:
            TypeError, ValueError: an argument is wrong; the run goes on.
            BackendError: a target has refused, and `on_error` is `raise`.
        """
        if self._ended is not None or os.getpid() != self.owner:
            return
        end = new_record(RunFinished, status=status, error=self._mask.text(error) if isinstance(error, str) else error)
        if self._session is not None:
            self._session.before_end(timeout)
        if self._ended is not None:  # another thread, or a signal handler, was quicker
            return
        self._ended = status
        if not self.joined:
            self._writer.append(end)
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
        status, text = to_ending(error)
        self.finish(status, error=text)

    def __repr__(self) -> str:
        return f"<multitrack.Run {self.id} of {self.project!r}: {self._ended or 'running'}>"

    def __str__(self) -> str:
        return self._session.describe(self) if self._session else repr(self)

    def _repr_html_(self) -> str:
        from .notebook import card

        facts = {"run": self.id, "project": self.project, "status": self._ended or "running", "folder": self.dir}
        return card(self.name or self.id, facts, {})

    def _write(self, record: Record) -> None:
        self._writer.append(record)

    def _record(self, cls: type[Record], **fields: Any) -> None:
        masked = {name: self._mask.text(value) if isinstance(value, str) else value for name, value in fields.items()}
        self._write(new_record(cls, **masked))

    def _after_fork(self) -> None:
        self._writer.abandon()
        if self._folder is not None and self._ended is None:
            self._writer = ChildWriter(self._folder)


def _existing(path: Path, what: str, name: str) -> Path:
    if path.is_dir():
        raise IsADirectoryError(f"{what} {name!r}: {str(path)!r} is a folder; name a file")
    if not path.is_file():
        raise FileNotFoundError(f"{what} {name!r}: there is no file {str(path)!r} (looked for in {Path.cwd()})")
    return path


_runs: weakref.WeakSet[Run] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for run in list(_runs):
        run._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)

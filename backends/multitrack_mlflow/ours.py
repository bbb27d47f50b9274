"""What multitrack left among a run's artifacts for itself, read back: documents that complete what MLflow has a place for.

A document that somebody has made unreadable counts as an artifact like others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, TypeVar

from multitrack.records import CodeVersion, DataVersion, Environment, LogLines, Record

from . import names
from .decode import data_version, document, log_lines
from .encode import dataset_input
from .native import DatasetInput, NativeRun

RecordType = TypeVar("RecordType", bound=Record)


class Documents:
    """The documents of one run, read when they are asked for.

    Args:
        files: the names of all artifacts of a run of ours; nothing for anybody else's.
        read: gives an artifact's content.

    Attributes:
        consumed: the names of the artifacts that have become records.
    """

    def __init__(self, files: Iterable[str], read: Callable[[str], bytes]) -> None:
        self._files = sorted(files)
        self._read = read
        self.consumed = {names.REQUIREMENTS_FILE, names.DIFF_FILE}  # what is made from a record, for people

    def code(self) -> CodeVersion | None:
        """Return the code version."""
        return next(self._records(CodeVersion, names.CODE_FILE), None)

    def data(self) -> Iterator[DataVersion]:
        """Yield the data versions."""
        return self._records(DataVersion, names.DATA_FILES, ".json")

    def environments(self) -> Iterator[Environment]:
        """Yield the environment of each host."""
        return self._records(Environment, names.ENVIRONMENT_FILES, ".json")

    def console(self) -> Iterator[LogLines]:
        """Yield the console output, in the order it was written."""
        for name in self._named(names.CONSOLE_FILES, ".log"):
            lines = log_lines(self._read(name))
            if lines is not None:
                self.consumed.add(name)
                yield from lines

    def _records(self, cls: type[RecordType], start: str, suffix: str = "") -> Iterator[RecordType]:
        for name in self._named(start, suffix):
            record = document(cls, self._read(name))
            if record is not None:
                self.consumed.add(name)
                yield record

    def _named(self, start: str, suffix: str) -> list[str]:
        return [
            name for name in self._files if name.startswith(start) and PurePosixPath(name).suffix == (suffix or PurePosixPath(start).suffix)
        ]


def data_versions(run: NativeRun, written: Iterable[DataVersion]) -> Iterator[DataVersion]:
    """Yield the run's data sets: MLflow's inputs, each completed from what we left about it, then what we left that is no input.

    Where an input is not what we sent, somebody has changed it since, and it wins.
    """
    left = {_key(sent := dataset_input(record)): (record, sent) for record in written}
    for used in run.datasets:
        ours = left.pop((used.name, used.tags.get(names.TAG_DATA_CONTEXT)), None)
        yield data_version(run, used) if ours is None else _complete(*ours, used, data_version(run, used))
    yield from (record for record, _ in left.values())


def _key(sent: Any) -> tuple[str, str | None]:
    return sent.dataset.name, {tag.key: tag.value for tag in sent.tags}.get(names.TAG_DATA_CONTEXT)


def _complete(written: DataVersion, sent: Any, used: DatasetInput, found: DataVersion) -> DataVersion:
    there = {
        "digest": sent.dataset.digest == used.digest,
        "uri": sent.dataset.source == used.source,
        "source_type": sent.dataset.source_type == used.source_type,
        "data_schema": (sent.dataset.schema or None) == (used.schema or None),
        "profile": (sent.dataset.profile or None) == (used.profile or None),
        "tags": {tag.key: tag.value for tag in sent.tags} == dict(used.tags),
    }
    return written.model_copy(update={field: getattr(found, field) for field, is_same in there.items() if not is_same})

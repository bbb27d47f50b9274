"""Transaction logs on a disk: where they are, and what they say of a run, points and console aside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from wandb.proto import wandb_internal_pb2 as pb

from multitrack.errors import PermanentError, TransientError
from multitrack.records import MetricDefinition, Microseconds

from . import names
from .config import plant
from .definitions import definition_of
from .log_file import Damage, NotALogError, read_log, read_placed
from .native import NativeRun
from .positions import KEY as POSITION
from .positions import Counts

_RUN_FOLDERS = ("run-", "offline-run-")
_FIELDS = (2, 7, 13)
"""Numbers of the fields of a record that hold history, system metrics, console."""
_POINTS = {number << 3 | 2: kind for kind, number in enumerate(_FIELDS)}
_NUM = bytes([1 << 3])


def find_logs(place: Path) -> list[Path]:
    """Return the transaction logs at a place: a `.wandb` file, a run's folder, or a folder of those, by name.

    Raises:
        PermanentError: there is nothing there, or a file that is none of these.
        TransientError: the disk refuses.
    """
    if place.is_file():
        if place.suffix != ".wandb":
            raise PermanentError(f"{place} is neither a folder nor a .wandb file")
        return [place]
    if not place.is_dir():
        raise PermanentError(f"there is no folder {place}; W&B's SDK writes its offline runs to ./wandb")
    try:
        found = sorted(_logs_in(place))
        if not found:
            runs = [folder for base in (place, place / "wandb") if base.is_dir() for folder in base.iterdir()]
            named = (folder for folder in runs if folder.name.startswith(_RUN_FOLDERS) and folder.is_dir() and not folder.is_symlink())
            found = sorted(log for folder in named for log in _logs_in(folder))
        return found
    except OSError as error:
        raise TransientError(f"{place}: {error.strerror or error}") from error


def _logs_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix == ".wandb" and path.is_file())


@dataclass(slots=True)
class Story:
    """What a log says of its run, points and console aside."""

    path: Path
    run: pb.RunRecord = field(default_factory=pb.RunRecord)
    """All run records, merged."""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    metadata: pb.EnvironmentRecord = field(default_factory=pb.EnvironmentRecord)
    definitions: dict[str, MetricDefinition] = field(default_factory=dict)
    artifacts: list[pb.ArtifactRecord] = field(default_factory=list)
    exit: pb.RunExitRecord | None = None
    last: Microseconds | None = None
    """The time of the last point or line."""
    damages: list[Damage] = field(default_factory=list)
    strange: int = 0
    """Records that are none of W&B's."""
    version: str = ""
    """A text that changes whenever the log does."""
    settled: int = 0
    """The offset behind the last record that says how far a delivery of ours has come; 0: there is none."""
    counts: Counts = field(default_factory=Counts)
    """The lines before that offset."""

    @property
    def started(self) -> Microseconds | None:
        """When the run started."""
        return self.run.start_time.ToMicroseconds() if self.run.HasField("start_time") else None

    def has_changed(self) -> bool:
        """Return whether the log is another one by now, or gone."""
        return self.version != _version_of(self.path)

    def native(self) -> NativeRun:
        """Return the run in W&B's words. One without an exit was killed: nobody is there to say that it goes on."""
        run, metadata = self.run, json_format.MessageToDict(self.metadata)
        return NativeRun(
            id=run.run_id,
            project=run.project or names.NO_PROJECT,
            entity=run.entity or None,
            name=run.display_name or None,
            notes=run.notes,
            group=run.run_group or None,
            job_type=run.job_type or None,
            sweep=run.sweep_id or None,
            host=run.host or None,
            user=metadata.get("username"),
            tags=list(run.tags),
            config=self.config,
            summary=self.summary,
            state=self._state(),
            started=self.started,
            ended=self._end(),
            commit=run.git.commit or None,
            remote=run.git.remote_url or None,
            metadata=metadata,
            version=self.version,
        )

    def _state(self) -> str:
        if self.exit is None:
            return "crashed"
        if self.exit.not_complete:
            return "running"
        return {0: "finished", names.EXIT_CODES["killed"]: "killed"}.get(self.exit.exit_code, "failed")

    def _end(self) -> Microseconds | None:
        by_clock = (self.started or 0) + self.exit.runtime * 1_000_000 if self.exit is not None else None
        return max((time for time in (self.last, by_clock) if time is not None), default=self.started)


def read_story(path: Path, until: int | None = None) -> Story:
    """Read a log through, or up to an offset.

    Raises:
        PermanentError: it is no transaction log, or holds no run.
        TransientError: the disk refuses.
    """
    story = Story(path, version=_version_of(path))
    last_point, lines = b"", [0, 0, 0]
    with _opened(path) as file:
        for end, one in read_placed(file):
            if until is not None and end > until:
                break
            if isinstance(one, Damage):
                story.damages.append(one)
            elif (kind := _point_kind(one)) is not None:
                last_point = one
                lines[kind] += 1
            else:
                _take(story, one, end)
                if story.settled == end:
                    story.counts = Counts(*lines)
    if not story.run.run_id:
        raise PermanentError(f"{path} holds no run that can be read{_because(story.damages)}")
    story.last = _time_of(last_point)
    return story


def _version_of(path: Path) -> str:
    try:
        about = path.stat()
    except OSError:  # whoever opens it tells
        return ""
    return f"{about.st_size}-{about.st_mtime_ns}"


def read_records(path: Path) -> Iterator[pb.Record]:
    """Yield the records of a log that can be read; `read_story` tells what cannot.

    Raises:
        PermanentError, TransientError: as `read_story`.
    """
    with _opened(path) as file:
        for one in read_log(file):
            if not isinstance(one, Damage) and (record := _parse(one)) is not None:
                yield record


def joined(values: Any) -> list[Any]:
    """Return the values of a record's items: `value_json` of each, of which one that is no JSON is None."""
    texts = [item.value_json for item in values]
    try:
        found = json.loads(f"[{','.join(texts)}]")
        if len(found) == len(texts):
            return list(found)
    except ValueError:
        pass
    return [_json(text) for text in texts]


def key_of(item: Any) -> tuple[str, ...]:
    """Return where an item of a config, a summary or a row stands."""
    return tuple(item.nested_key) or (item.key,)


# -- what the records say -----------------------------------------------------------------------------------------------------


def _take(story: Story, data: bytes, end: int) -> None:
    record = _parse(data)
    kind = record.WhichOneof("record_type") if record is not None else None
    if record is None or kind is None:
        story.strange += 1
    elif kind == "run":
        _take_run(story, record.run)
    elif kind == "config":
        _update(story.config, record.config)
        if any(tuple(item.nested_key)[:2] == (names.CONFIG, POSITION) for item in record.config.update):
            story.settled = end
    elif kind == "summary":
        _update(story.summary, record.summary)
    elif kind == "environment":
        story.metadata.MergeFrom(record.environment)
    elif kind == "metric":
        found = definition_of(record.metric, story.started or 0)
        if found is not None:
            story.definitions[found.name] = found
    elif kind == "artifact":
        story.artifacts.append(record.artifact)
    elif kind == "exit":
        story.exit = record.exit


def _take_run(story: Story, run: pb.RunRecord) -> None:
    _update(story.config, run.config)
    _update(story.summary, run.summary)
    run.ClearField("config")
    run.ClearField("summary")
    if run.tags:
        story.run.ClearField("tags")
    story.run.MergeFrom(run)


def _update(values: dict[str, Any], record: pb.ConfigRecord | pb.SummaryRecord) -> None:
    for item, value in zip(record.update, joined(record.update), strict=True):
        _plant(values, key_of(item), value)
    for item in record.remove:
        path = key_of(item)
        inner: Any = values
        for key in path[:-1]:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.pop(path[-1], None)


def _plant(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set a value as wandb-core does: a mapping merges into the one that is there."""
    if isinstance(value, Mapping) and "_type" not in value and value:
        for key, inner in value.items():
            _plant(values, (*path, key), inner)
    else:
        plant(values, path, value)


# -- reading ------------------------------------------------------------------------------------------------------------------


class _opened:  # noqa: N801 - used as a function
    """Opens a log, and translates what goes wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Any:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            raise PermanentError(f"{self._path} is gone") from None
        except OSError as error:
            raise TransientError(f"{self._path}: {error.strerror or error}") from error
        return self._file

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._file.close()
        if isinstance(error, NotALogError):
            raise PermanentError(f"{self._path} cannot be read: {error}") from None
        if isinstance(error, OSError):
            raise TransientError(f"{self._path}: {error.strerror or error}") from error


def _parse(data: bytes) -> pb.Record | None:
    try:
        return pb.Record.FromString(data)
    except DecodeError:
        return None


def _point_kind(data: bytes) -> int | None:
    """Return 0, 1, 2 for a row of history, of system metrics, a line of console, without parsing it; None for any other record.

    Nearly all records are of these kinds. A record begins with its number, then comes what it holds.
    """
    place = 0
    if data[:1] == _NUM:
        place = 1
        while place < len(data) and data[place] & 0x80:
            place += 1
        place += 1
    return _POINTS.get(data[place]) if place < len(data) else None


def _time_of(data: bytes) -> Microseconds | None:
    record = _parse(data) if data else None
    if record is None:
        return None
    if record.HasField("stats"):
        return int(record.stats.timestamp.ToMicroseconds())
    if record.HasField("output_raw"):
        return int(record.output_raw.timestamp.ToMicroseconds())
    for item in record.history.item:
        if key_of(item) == (names.TIMESTAMP,) and isinstance(time := _json(item.value_json), int | float):
            return round(time * 1e6)
    return None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _because(damages: list[Damage]) -> str:
    return f": {damages[0]}" if damages else ""

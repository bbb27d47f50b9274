"""From records to W&B's own, those of its transaction log. Pure: `names` holds the table, nothing here touches a file or asks a service.

The log is what `wandb sync` and wandb-core's live upload read; they do what it says and add nothing. So the summary, and each
metric's definition where a pattern defines it, stand in it as well, which the SDK works out while points are logged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb

from multitrack.backend import RESERVED_TAGS, Conclusion, Entry
from multitrack.records import (
    Artifact,
    CaptureFailed,
    CodeVersion,
    DataVersion,
    Environment,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    Microseconds,
    Points,
    Record,
    RunStarted,
    RunUpdated,
    Summary,
    encode,
    not_rebuildable,
)
from multitrack.records import requirements as requirement_lines

from . import names
from .config import Config
from .definitions import Definitions
from .location import Place, project_name
from .rows import Row, next_step, rows_of, system_key
from .summary import SummaryValues
from .values import clean, int_to_text, is_deliverable, read_word, shown_tags, to_json, word

_OWN_FOLDERS = ("media/", "code/", "environment/", "data/")
"""Artifacts that multitrack itself puts beside its records: run files, whatever their type."""
_LONG = 100_000
"""Characters of a text that does not share a row with another such: wandb-core leaves rows of more than 10 MiB out."""
_PART_BYTES = 255
"""Bytes of a file name on the disks that run files lie on before they are uploaded."""
_CONTROL = re.compile(r"\x1b\[[0-9;]*(?!m)[A-Za-z]|[\x00-\x08\x0a-\x1a\x1c-\x1f\x7f]|\x1b(?!\[)")
"""What moves a cursor: wandb-core plays a terminal, and one line must stay one. Colours stay."""


@dataclass(frozen=True, slots=True)
class Held:
    """What W&B holds of a run that goes on, as far as an encoder must know."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """Nested, without its `value` wrappings."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    last_step: int = -1
    """The last row's `_step`."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Files of one batch that make a W&B artifact together."""

    name: str
    type: str
    members: Sequence[tuple[Entry, Artifact]]


@dataclass(slots=True)
class Encoded:
    """A batch in W&B's terms."""

    records: list[pb.Record] = field(default_factory=list)
    """In order. None is a `files` or `artifact` record: whoever lays the files down adds those."""
    files: dict[str, bytes | tuple[Entry, Artifact]] = field(default_factory=dict)
    """Run files: content, or the artifact whose content it is."""
    bundles: list[Bundle] = field(default_factory=list)
    refused: list[tuple[Entry, str]] = field(default_factory=list)
    """Entries that W&B cannot take, and why."""


class Encoder:
    """Encodes one run's batches in their order.

    Args:
        start: the run's opening record.
        place: where it goes; in a folder `Place(None, None)`.
        held: what is there of it already; None for a new run.
    """

    def __init__(self, start: RunStarted, place: Place, held: Held | None = None) -> None:
        self._start = start
        self._place = place
        self._is_new = held is None
        held = held if held is not None else Held()
        self.config = Config(held.config)
        self._summary = SummaryValues(held.summary)
        self._definitions = Definitions(self.config)
        self._floats = set(self._summary.known) - self.config.ints
        self.last_step = held.last_step
        """The last row's `_step`."""
        self._tags = {name: read_word(value) for name, value in self.config.own.get(names.TAGS, {}).items()}
        self._described: tuple[int, dict[tuple[str, int], bytes]] = (0, {})

    def opening(self) -> pb.Record:
        """Return the record that a log begins with: which run, with the whole config; for a new run, what it is called as well."""
        run = self._run_record()
        if self._is_new:
            self._call(run, self._start)
            self._is_new = False
        self.config.changes()
        for key, value in self.config.values.items():
            run.config.update.add(key=key, value_json=json.dumps(value))
        return pb.Record(run=run)

    def encode(self, entries: Sequence[Entry], batch: int) -> Encoded:
        """Return the entries of a batch. A batch that comes in parts, because of an entry in it, is encoded part by part."""
        out = Encoded()
        rows, system_rows = rows_of(entries)
        run = self._run_record()
        unchanged = run.ByteSize()
        self._collect(out, run, entries, batch)
        body = [*self._history(rows), *self._system(system_rows)]
        console = [line for entry in entries if isinstance(entry.record, LogLines) for line in _console(entry.record)]
        if run.ByteSize() > unchanged:
            out.records.append(pb.Record(run=run))
        self._define(rows, out)
        out.records += [*self.config_changes(), *environment_records(entries), *body, *console]
        if (summary := self._summary_changes()) is not None:
            out.records.append(summary)
        return out

    def conclude(self, conclusion: Conclusion) -> list[pb.Record]:
        """Return what ends the run, but for its files, which come before, and its `exit`, which comes last."""
        self.config.tell(names.STATUS, conclusion.status)
        self.config.tell(names.ENDED, conclusion.time)
        self.config.tell(names.ERROR, None if conclusion.error is None else word(conclusion.error))
        for name, value in conclusion.tags.items():
            self._tag(name, value)
        records = [*self.config_changes()]
        if (summary := self._summary_changes()) is not None:
            records.append(summary)
        return records

    def unmark(self, tag: str) -> None:
        """Take one of multitrack's own tags away."""
        self.config.tell(tag.removeprefix(RESERVED_TAGS), None)

    def row(self, values: Mapping[str, str], time: Microseconds) -> pb.Record:
        """Return one more row of history, of JSON texts by their columns."""
        return self._row_record(None, time, values)

    # -- the run ------------------------------------------------------------------------------------------------------------------

    def _run_record(self) -> pb.RunRecord:
        project = self._place.project or project_name(self._start.project)
        run = pb.RunRecord(run_id=self._start.id, project=project, entity=self._place.entity or "")
        run.start_time.FromMicroseconds(self._start.time)  # in each: wandb-core takes a record without one for a run of 1970
        return run

    def _call(self, run: pb.RunRecord, record: RunStarted | RunUpdated) -> None:
        """Set what the run is called, on the record, and in the config: what was sent."""
        fields = {"name": "display_name", "notes": "notes", "group": "run_group", "job_type": "job_type"}
        for name, there in fields.items():
            text = getattr(record, name)
            if text is not None:
                if text:  # emptied, it keeps what stood there, as at the service
                    setattr(run, there, clean(text))
                self._tell_called(name, text)
        for tag in record.removed_tags if isinstance(record, RunUpdated) else ():
            self._untag(tag)
        for tag, value in record.tags.items():
            self._tag(tag, value)
        if isinstance(record, RunStarted):
            self._start_fields(run, record)
        run.ClearField("tags")
        run.tags.extend(shown_tags(self._tags))

    def _tell_called(self, name: str, text: str) -> None:
        """Note what was sent. W&B takes no empty text: what stood there stays, and what that is is noted."""
        sent = self.config.own.get(names.CALLED, {}).get(name)
        was = sent[0] if isinstance(sent, list) else sent
        self.config.tell_at((names.CALLED, name), word(text) if text or not was else [was])

    def _start_fields(self, run: pb.RunRecord, record: RunStarted) -> None:
        run.host = clean(record.host or "")
        self.config.tell(names.STARTED, record.time)
        for name, value in ((names.USER, record.user), (names.HOST, record.host), (names.REPRODUCES, record.reproduces)):
            if value is not None:
                self.config.tell(name, word(value))
        if run.project != record.project:
            self.config.tell(names.PROJECT, word(record.project))

    def _update(self, record: RunUpdated) -> None:
        if record.status is not None:
            self.config.tell(names.STATUS, record.status)
            self.config.tell(names.ENDED, None)
            self.config.tell(names.ERROR, None)
        if record.deleted is not None:
            self.config.tell(names.DELETED, record.deleted or None)

    def _tag(self, name: str, value: str | None) -> None:
        if name.startswith(RESERVED_TAGS):
            self.config.tell(name.removeprefix(RESERVED_TAGS), "" if value is None else word(value))
        else:
            self._tags[name] = value
            self._tell_tags()

    def _untag(self, name: str) -> None:
        before = shown_tags(self._tags)
        self._tags.pop(name, None)
        if before and not shown_tags(self._tags):
            self.config.tell(names.TAGS_LEFT, before)
        self._tell_tags()

    def _tell_tags(self) -> None:
        self.config.tell(names.TAGS, {name: None if value is None else word(value) for name, value in self._tags.items()})

    # -- everything but points ----------------------------------------------------------------------------------------------------

    def _collect(self, out: Encoded, run: pb.RunRecord, entries: Iterable[Entry], batch: int) -> None:
        described: list[Entry] = []
        bundled: dict[tuple[str, str], list[tuple[Entry, Artifact]]] = {}
        for entry in entries:
            record = entry.record
            if isinstance(record, Metrics | Points):
                continue
            if isinstance(record, RunStarted | RunUpdated):
                self._call(run, record)
                if isinstance(record, RunUpdated):
                    self._update(record)
            elif isinstance(record, Hyperparameters):
                self._add_params(record)
            elif isinstance(record, Summary):
                self._summary.set_explicitly(record.values)
            elif isinstance(record, MetricDefinition):
                self._definitions.add(record)
            elif isinstance(record, CaptureFailed):
                told = word(record.error) if is_deliverable(record.what) else [word(record.what), word(record.error)]
                self.config.tell_at((names.CAPTURE_FAILED, clean(record.what)), told)
            elif isinstance(record, Artifact):
                self._add_artifact(out, entry, record, described, bundled)
            elif isinstance(record, CodeVersion | DataVersion | Environment | LogLines):
                described.append(entry)
                self._add_capture(out, run, record)
        out.bundles = [Bundle(name, kind, members) for (name, kind), members in bundled.items()]
        self._describe(out, described, batch)

    def _add_params(self, record: Hyperparameters) -> None:
        self.config.merge(record.values, record.sources)

    def _add_artifact(
        self,
        out: Encoded,
        entry: Entry,
        record: Artifact,
        described: list[Entry],
        bundled: dict[tuple[str, str], list[tuple[Entry, Artifact]]],
    ) -> None:
        reason = why_not_a_file_name(record.name)
        if reason is not None:
            out.refused.append((entry, reason))
            return
        described.append(entry)
        if record.sha256 is None or (record.type is not None and not record.name.startswith(_OWN_FOLDERS)):
            kind = record.type or ("reference" if record.uri is not None else "file")
            bundled.setdefault((record.name.partition("/")[0], kind), []).append((entry, record))
        if record.sha256 is not None:
            out.files[record.name] = (entry, record)

    def _add_capture(self, out: Encoded, run: pb.RunRecord, record: Record) -> None:
        if isinstance(record, CodeVersion):
            run.git.commit = clean(record.commit or "")
            run.git.remote_url = clean(record.remote or "")
            if record.diff:
                out.files[names.DIFF_FILE] = record.diff.encode("utf-8", "surrogateescape" if _is_escaped(record.diff) else "replace")
        elif isinstance(record, Environment):
            lines = [*requirement_lines(record), *(f"# {item.name}: {item.reason}" for item in not_rebuildable(record))]
            out.files[names.REQUIREMENTS_FILE] = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        elif isinstance(record, DataVersion):
            told = {"role": record.role, "digest": record.digest, "algorithm": record.algorithm, "uri": record.uri, "rows": record.rows}
            shown = {key: clean(value) if isinstance(value, str) else value for key, value in told.items() if value is not None}
            key = record.name if record.role is None else f"{record.name} ({record.role})"
            self.config.tell_at((names.DATA, clean(key) or "data"), shown or "")

    def _describe(self, out: Encoded, entries: Iterable[Entry], batch: int) -> None:
        """Put records into the batch's description, with those that earlier parts of the batch have brought."""
        known = self._described[1] if self._described[0] == batch else {}
        new = {(entry.writer, entry.seq): encode(entry.record, entry.seq) for entry in entries}
        if new:
            self._described = batch, {**known, **new}
            out.files[f"{names.DESCRIBED_FILES}{batch:08}.jsonl"] = b"".join(self._described[1].values())

    # -- points -------------------------------------------------------------------------------------------------------------------

    def _history(self, rows: Sequence[Row]) -> Iterator[pb.Record]:
        for row in (part for whole in rows for part in _parts(whole)):
            texts = {name: to_json(value) for name, value in row.values.items()}
            other = self._other_types(row, "")
            if row.step is not None:
                texts[names.OWN_STEP] = _step_json(row.step)
            if type(row.step) is float and row.step.is_integer():
                other.append(names.OWN_STEP)
            if other:
                texts[names.OTHER_TYPE] = json.dumps(other)
            yield self._row_record(row.step, row.time, texts)
        if rows:
            last = rows[-1]
            self._summary.place(self.last_step, last.time / 1e6, (last.time - self._start.time) / 1e6)

    def _row_record(self, step: int | float | None, time: Microseconds, texts: Mapping[str, str]) -> pb.Record:
        number = next_step(self.last_step, step)
        if step is not None and number != step and not self.config.own.get(names.AXIS):
            self.config.tell(names.AXIS, True)
        self.last_step = number
        record = pb.Record()
        items = record.history.item
        for name, text in texts.items():
            items.add(key=name, value_json=text)
        items.add(key=names.STEP, value_json=str(number))
        items.add(key=names.TIMESTAMP, value_json=repr(time / 1e6))
        items.add(key=names.RUNTIME, value_json=repr((time - self._start.time) / 1e6))
        record.history.step.num = number
        return record

    def _system(self, rows: Iterable[Row]) -> Iterator[pb.Record]:
        for row in rows:
            record = pb.Record()
            record.stats.timestamp.FromMicroseconds(row.time)
            for name, value in row.values.items():
                record.stats.item.add(key=system_key(name), value_json=to_json(value))
            other = self._other_types(row, "system:")
            if row.step is not None:
                record.stats.item.add(key=names.OWN_STEP, value_json=_step_json(row.step))
            if type(row.step) is float and row.step.is_integer():
                other.append(names.OWN_STEP)
            if other:
                record.stats.item.add(key=names.OTHER_TYPE, value_json=json.dumps(other))
            yield record

    def _other_types(self, row: Row, prefix: str) -> list[str]:
        """Return the row's metrics whose values are not of the type that the metric has, by its first value."""
        other = []
        ints = self.config.ints
        for name, value in row.values.items():
            kind = type(value)
            key = prefix + name
            if kind is float:
                if key in ints:
                    if value.is_integer():
                        other.append(name)
                else:
                    self._floats.add(key)
            elif kind is int and key not in ints:
                if key in self._floats:
                    other.append(name)
                else:
                    self.config.add_int(key)
        return other

    def _define(self, rows: Sequence[Row], out: Encoded) -> None:
        """Add the rows' points to the summary, and define metrics that are new, or are defined otherwise now."""
        columns: dict[str, list[Any]] = {}
        for row in rows:
            for name, value in row.values.items():
                columns.setdefault(name, []).append(value)
        for name, values in columns.items():
            self._summary.add(name, values, self._definitions.of(name))
        axis = bool(self.config.own.get(names.AXIS))
        out.records += [pb.Record(metric=metric) for metric in self._definitions.changes(columns, axis=axis)]

    # -- what has changed -----------------------------------------------------------------------------------------------------------

    def config_changes(self) -> Iterator[pb.Record]:
        """Yield what has changed of the config since the last call."""
        changed, removed = self.config.changes()
        if removed:
            record = pb.Record()
            for path in removed:
                record.config.remove.add(nested_key=path)
            yield record
        if changed:
            record = pb.Record()
            for path, value in changed.items():
                record.config.update.add(nested_key=path, value_json=json.dumps(value))
            yield record

    def _summary_changes(self) -> pb.Record | None:
        changed = self._summary.changes()
        if not changed:
            return None
        record = pb.Record()
        for name, text in changed.items():
            record.summary.update.add(key=name, value_json=text)
        return record


def _parts(row: Row) -> Iterator[Row]:
    """Yield a row, or where its texts are long, rows that share its step and time."""
    long = [name for name, value in row.values.items() if isinstance(value, str) and len(value) > _LONG]
    if len(long) < 2:
        yield row
        return
    yield Row(row.step, row.time, {name: value for name, value in row.values.items() if name not in long[1:]})
    for name in long[1:]:
        yield Row(row.step, row.time, {name: row.values[name]})


def exit_record(status: str, runtime: int) -> pb.Record:
    """Return the last record of a log. A run that goes on stays as it is at the service."""
    if status in names.EXIT_CODES:
        return pb.Record(exit=pb.RunExitRecord(exit_code=names.EXIT_CODES[status], runtime=runtime))
    return pb.Record(exit=pb.RunExitRecord(not_complete=True, runtime=runtime))


def why_not_a_file_name(name: str) -> str | None:
    """Return why an artifact cannot go there under this name, None when it can. A `NameRule` cannot say this one."""
    if any(len(part.encode("utf-8", "surrogatepass")) > _PART_BYTES for part in name.split("/")):
        return f"artifact {name!r}: a part of its name is longer than {_PART_BYTES} bytes; rename it"
    return None


def environment_records(entries: Iterable[Entry]) -> list[pb.Record]:
    """Return the metadata of the first machine among the entries; wandb-core knows one."""
    found = next((entry.record for entry in entries if isinstance(entry.record, Environment)), None)
    code = next((entry.record for entry in entries if isinstance(entry.record, CodeVersion)), None)
    if found is None and code is None:
        return []
    told = pb.EnvironmentRecord()
    if found is not None:
        _tell_environment(told, found)
    if code is not None:
        told.program = clean(code.entry_point or "")
        told.code_path = clean(code.entry_point or "")
        told.root = clean(code.root or "")
        told.args.extend(map(clean, (code.command or [])[2:]))
        told.git.commit = clean(code.commit or "")
        told.git.remote_url = clean(code.remote or "")
    return [pb.Record(environment=told)]


def _tell_environment(told: pb.EnvironmentRecord, found: Environment) -> None:
    told.os = clean(found.os or "")
    told.python = clean(found.python or "")
    told.host = clean(found.host or "")
    told.executable = clean(found.executable or "")
    told.cpu_count = _fitting(found.cpu_physical or found.cpu_count, 32)
    told.cpu_count_logical = _fitting(found.cpu_count, 32)
    told.cuda_version = clean(found.cuda or "")
    told.docker = clean(found.image or "")
    if found.memory is not None:
        told.memory.total = _fitting(found.memory, 64)
    if found.gpus:
        told.gpu_type = clean(found.gpus[0].name)
        told.gpu_count = len(found.gpus)
        for gpu in found.gpus:
            told.gpu_nvidia.add(name=clean(gpu.name), memory_total=_fitting(gpu.memory, 64), uuid=clean(gpu.uuid or ""))
    for name, value in found.scheduler.items():
        if name.startswith("SLURM"):
            told.slurm[clean(name)] = clean(str(value))


def _fitting(number: int | None, bits: int) -> int:
    return number if number is not None and 0 <= number < 2**bits else 0


def _console(record: LogLines) -> Iterator[pb.Record]:
    for time, line in zip(record.times, record.lines, strict=True):
        text = clean(_CONTROL.sub(" ", line))
        out = pb.Record()
        out.output_raw.output_type = pb.OutputRawRecord.STDERR if record.stream == "stderr" else pb.OutputRawRecord.STDOUT
        out.output_raw.timestamp.FromMicroseconds(time)
        out.output_raw.line = f"{text if record.label is None else f'[{clean(record.label)}] {text}'}\n"
        yield out


def _step_json(step: int | float) -> str:
    return json.dumps(int_to_text(step)) if type(step) is int and abs(step) > names.EXACT_INTS else to_json(step)


def _is_escaped(text: str) -> bool:
    """Return whether the text's lone surrogates stand for bytes that are no UTF-8."""
    return all(not 0xD800 <= ord(c) <= 0xDFFF or 0xDC80 <= ord(c) <= 0xDCFF for c in text)

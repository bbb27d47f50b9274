"""Records fitted to what a service can hold, entry by entry. Pure: the same state and the same entries give the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ..backend import (
    EVERYTHING,
    RESERVED_ARTIFACTS,
    RESERVED_TAGS,
    TAG_ORIGIN,
    TAG_PARENT,
    TAG_RUN_ID,
    Capabilities,
    Entry,
    NameRule,
)
from ..records import (
    Artifact,
    ArtifactRef,
    CodeVersion,
    Hyperparameters,
    MetricDefinition,
    Metrics,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Summary,
)
from ..records.codec import to_wire
from .losses import Loss, resolution_text
from .names import digest
from .notes import Notes, Renamer
from .params import ParamFitter, Path
from .points import LOST, PointFitter, columns_of, rows_of

_STATE_VERSION = 1
_SUMMARY_ROOM = 32
"""Characters that the name of a summary value leaves for the beginning that a backend puts before it (`multitrack.summary.`)."""
_KINDS = ("metric", "param", "tag", "artifact", "summary")


@dataclass(frozen=True, slots=True)
class Adapted:
    """What adapting a batch gave."""

    entries: Sequence[Entry]
    """Under the (writer, seq) of the entries they come from; one entry may have become several, or none."""
    losses: Sequence[Loss]


class Adapter:
    """Fits the entries of one run to one service, batch after batch.

    `state` is what an earlier adapter's `state` was after the batch before; None for a run's first batch. However the entries
    are cut into batches, the same entries come out.

    multitrack's own tags come from here: `TAG_RUN_ID`, `TAG_PARENT` and `TAG_ORIGIN` on RunStarted, the originals of changed
    names and the last values of changed params on RunUpdated. So reserved tags in a RunStarted that comes in belong to an
    earlier delivery and are dropped; anywhere else, reserved names are the user's, and renamed.
    """

    def __init__(self, capabilities: Capabilities, state: Mapping[str, Any] | None = None) -> None:
        if state is not None and state.get("version") != _STATE_VERSION:
            raise ValueError(f"the state of an adapter has version {state.get('version')}, not {_STATE_VERSION}")
        state = state if state is not None else {}
        names: Mapping[str, Mapping[str, str]] = state.get("names", {})
        self.capabilities = capabilities
        self._notes = Notes(capabilities)
        self._names = {
            kind: Renamer(kind, rule, dict(names.get(kind, {})), self._notes)
            for kind, rule in zip(_KINDS, _rules(capabilities), strict=True)
        }
        self._points = PointFitter(
            capabilities, self._names["metric"], self._names["artifact"], self._notes, dict(state.get("ordinals", {}))
        )
        self._counts = dict(state.get("counts", {}))
        self._params = ParamFitter(capabilities, self._names["param"], self._notes, dict(state.get("params", {})))
        self._fit: dict[type[Record], Callable[[Any], list[Record]]] = {
            RunStarted: self._fit_start,
            RunUpdated: self._fit_update,
            RunFinished: self._fit_end,
            Hyperparameters: self._params.fit,
            Metrics: self._fit_row,
            Points: self._fit_column,
            Summary: self._fit_summary,
            MetricDefinition: self._fit_definition,
            Artifact: self._fit_artifact,
            CodeVersion: self._fit_code,
        }

    @property
    def state(self) -> dict[str, Any]:
        """What an adapter needs to go on from here: plain JSON, ASCII only, no bigger than the names that could clash."""
        return {
            "version": _STATE_VERSION,
            "names": {kind: dict(renamer.claims) for kind, renamer in self._names.items() if renamer.claims},
            "ordinals": dict(self._points.ordinals),
            "params": dict(self._params.last),
            **({"counts": dict(self._counts)} if self._counts else {}),
        }

    def adapt(self, entries: Iterable[Entry]) -> Adapted:
        """Return the entries as the service can hold them, and what they lose."""
        out: list[Entry] = []
        for entry in entries:
            records = self._fit_record(entry.record)
            if self._notes.tags:
                records = [*records, RunUpdated(time=entry.record.time, tags={**self._notes.take_tags()})]
            if len(records) == 1 and records[0] is entry.record:
                out.append(entry)
            else:
                out.extend(Entry(entry.writer, entry.seq, record) for record in records)
        return Adapted(out, self._notes.take_losses())

    # -- where things stand at the service ------------------------------------------------------------------------------

    def metric_names(self, name: str) -> list[str]:
        """Return the names that the user's and the system's metric of this name have at the service."""
        return list(dict.fromkeys(self._points.series(name, source)[0] for source in ("user", "system")))

    def definition_name(self, name: str) -> str:
        """Return the name that a metric definition has at the service; a pattern stays as it is."""
        return name if "*" in name else self._points.series(name, "user")[0]

    def param_place(self, path: Path) -> Path:
        """Return where the param at `path` stands at the service."""
        return self._params.place(path)

    def tag_name(self, name: str) -> str:
        """Return the name that a user's tag has at the service."""
        return self._names["tag"].fit(name)

    def artifact_name(self, name: str) -> str:
        """Return the name that a user's artifact has at the service."""
        return self._names["artifact"].fit(name)

    def summary_name(self, name: str) -> str:
        """Return the name that a summary value has at the service."""
        return self._names["summary"].fit(name)

    # -- one record -----------------------------------------------------------------------------------------------------

    def _fit_record(self, record: Record) -> list[Record]:
        kinds = self.capabilities.kinds
        if record.kind in ("metrics", "points") and isinstance(record, Metrics | Points):
            return self._fit_points(record)
        if record.kind not in kinds and not isinstance(record, RunStarted):
            if kinds != EVERYTHING.kinds:
                self._notes.lose("kind", record.kind, "no place for this record there; it travels in the attached records")
                return []
            return [record]  # of a kind that only a newer version knows
        fit = self._fit.get(type(record))
        return [record] if fit is None else fit(record)

    def _fit_points(self, record: Metrics | Points) -> list[Record]:
        kinds = self.capabilities.kinds
        if kinds.isdisjoint(("metrics", "points")):
            self._notes.lose("kind", record.kind, "no place for this record there; it travels in the attached records")
            return []
        fitted = self._points.fit_row(record) if isinstance(record, Metrics) else self._points.fit_column(record)
        if self.capabilities.kept_points is not None:
            self._count(fitted, self.capabilities.kept_points)
        if record.kind in kinds:
            return fitted
        return [
            other
            for one in fitted
            if isinstance(one, Metrics | Points)
            for other in (columns_of(one) if isinstance(one, Metrics) else rows_of(one))
        ]

    def _count(self, fitted: list[Record], kept: int) -> None:
        """Count the points of each metric, and declare those beyond what the service keeps."""
        for record in fitted:
            if isinstance(record, Points):
                counted = {record.name: len(record.times)}
            else:
                counted = dict.fromkeys(record.values, 1) if isinstance(record, Metrics) else {}
            for name, count in counted.items():
                key = digest(name)
                before = self._counts.get(key, 0)
                self._counts[key] = before + count
                beyond = before + count - max(before, kept)
                if beyond > 0:
                    detail = f"the service keeps a sample of {kept:,} points; all of them travel in the attached records"
                    self._notes.lose("point_sample", f"metric {name!r}", detail, beyond)

    def _fit_row(self, record: Metrics) -> list[Record]:
        return self._points.fit_row(record)

    def _fit_column(self, record: Points) -> list[Record]:
        return self._points.fit_column(record)

    def _fit_start(self, record: RunStarted) -> list[Record]:
        tags = self._fit_tags({name: value for name, value in record.tags.items() if not name.startswith(RESERVED_TAGS)})
        own = {TAG_RUN_ID: record.id}
        if record.parent is not None:
            own[TAG_PARENT] = record.parent
        if record.origin is not None:
            own[TAG_ORIGIN] = orjson.dumps(to_wire(record.origin)).decode()
        return [record.model_copy(update={"time": self._fit_life_time(record), "tags": {**tags, **own}})]

    def _fit_update(self, record: RunUpdated) -> list[Record]:
        changes: dict[str, Any] = {}
        tags = self._fit_tags(record.tags)
        if tags is not record.tags:
            changes["tags"] = tags
        removed = [self._names["tag"].fit(name) for name in record.removed_tags]
        if removed != record.removed_tags:
            changes["removed_tags"] = removed
        if record.status is not None and record.status not in self.capabilities.statuses:
            changes["status"] = "running"
            self._notes.lose("status", f"status {record.status!r}", "stands as 'running'")
        return [record.model_copy(update=changes) if changes else record]

    def _fit_end(self, record: RunFinished) -> list[Record]:
        changes: dict[str, Any] = {}
        time = self._fit_life_time(record)
        if time != record.time:
            changes["time"] = time
        if record.status not in self.capabilities.statuses:
            changes["status"] = "failed"
            self._notes.lose("status", f"status {record.status!r}", "stands as 'failed'")
        return [record.model_copy(update=changes) if changes else record]

    def _fit_life_time(self, record: RunStarted | RunFinished) -> int:
        time = self._points.fit_time(record.time)
        if time != record.time:
            which = "start" if isinstance(record, RunStarted) else "end"
            kept = resolution_text(self.capabilities.time_resolution)
            self._notes.lose("run_time", f"the run's {which}", f"its time is kept to the {kept}")
        return time

    def _fit_tags(self, tags: dict[str, str | None]) -> dict[str, str | None]:
        fitted = {self._names["tag"].fit(name): self._fit_tag_value(name, value) for name, value in tags.items()}
        return tags if fitted == tags else fitted

    def _fit_tag_value(self, name: str, value: str | None) -> str | None:
        if value is None:
            if self.capabilities.bare_tags:
                return None
            self._notes.lose("tag_bare", f"tag {name!r}", "gets an empty value")
            return ""
        length = self.capabilities.tag_length
        if length is None or len(value) <= length:
            return value
        self._notes.lose("tag_length", f"tag {name!r}", f"only the first {length:,} characters arrive")
        return value[:length]

    def _fit_summary(self, record: Summary) -> list[Record]:
        values = {}
        for name, value in record.values.items():
            fitted = self._points.fit_value(f"summary {name!r}", value, text=True)
            if fitted is not LOST:
                values[self._names["summary"].fit(name)] = fitted
        if values.keys() == record.values.keys() and all(values[name] is value for name, value in record.values.items()):
            return [record]
        return [record.model_copy(update={"values": values})] if values else []

    def _fit_definition(self, record: MetricDefinition) -> list[Record]:
        name, x = self.definition_name(record.name), None if record.x is None else self.definition_name(record.x)
        return [record if (name, x) == (record.name, record.x) else record.model_copy(update={"name": name, "x": x})]

    def _fit_artifact(self, record: Artifact) -> list[Record]:
        if record.uri is not None and record.sha256 is None and not self.capabilities.references:
            self._notes.lose("reference", f"artifact {record.name!r}", "references without content have no place there")
            return []
        changes: dict[str, Any] = {}
        name = self._names["artifact"].fit(record.name)
        if name != record.name:
            changes["name"] = name
        if not self.capabilities.artifact_details:
            plain = Artifact(time=record.time, name=record.name)
            details = {field: getattr(plain, field) for field in ("type", "step", "media_type", "metadata")}
            lost = {field: empty for field, empty in details.items() if getattr(record, field) != empty}
            if lost:
                self._notes.lose("artifact_details", "artifacts", "type, step, media type and metadata have no place there")
            changes.update(lost)
        return [record.model_copy(update=changes) if changes else record]

    def _fit_code(self, record: CodeVersion) -> list[Record]:
        fitted = {name: [self._fit_reference(ref) for ref in getattr(record, name)] for name in ("untracked", "modules")}
        changes: dict[str, Any] = {name: references for name, references in fitted.items() if references != getattr(record, name)}
        if record.notebook is not None and (notebook := self._fit_reference(record.notebook)) is not record.notebook:
            changes["notebook"] = notebook
        return [record.model_copy(update=changes) if changes else record]

    def _fit_reference(self, ref: ArtifactRef) -> ArtifactRef:
        name = self._names["artifact"].fit(ref.name)
        return ref if name == ref.name else ref.model_copy(update={"name": name})


def _rules(capabilities: Capabilities) -> tuple[NameRule, ...]:
    """Return the rules for `_KINDS`, with what multitrack reserves for itself."""
    metrics, tags, artifacts = capabilities.metric_names, capabilities.tag_names, capabilities.artifact_names
    length = metrics.max_length
    return (
        replace(metrics, reserved=tuple(start for start in metrics.reserved if start != capabilities.system_prefix)),
        capabilities.param_names,
        replace(tags, reserved=(*tags.reserved, RESERVED_TAGS)),
        replace(artifacts, reserved=(*artifacts.reserved, RESERVED_ARTIFACTS)),
        replace(metrics, reserved=(), max_length=None if length is None else max(length - _SUMMARY_ROOM, _SUMMARY_ROOM)),
    )

"""A run read back from a service, as it was before it went there: what people changed there since wins, field by field.

    attached records ──fold───────────> original
                     ──adapt, fold────> expected   what the service should hold
    the service      ──read, fold─────> native     what it holds

Where native is as expected, the original counts; elsewhere somebody has changed it, and native counts. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import orjson

from .adapt import TAG_NAME, TAG_PARAM, Adapter, hash8, is_hashed_name_of, leaves, own_tag, plant
from .backend import RESERVED_ARTIFACTS, RESERVED_TAGS, TAG_ORIGIN, TAG_PARENT, Capabilities, Entry
from .errors import RecordError
from .records import Origin, Record, from_wire, read_fields
from .records.sameness import same
from .state import RunState, Series, fold, merge_equal_points
from .state.compare import series_difference

R = TypeVar("R", bound=Record)

_TEXTS = ("project", "name", "group", "job_type", "parent", "notes", "user", "host", "reproduces", "origin", "started")
"""Where a service holds None, it has no place for the field, or no statement to make: the original counts."""


def restore(attached: Iterable[Record] | None, native: RunState, capabilities: Capabilities, *, as_recorded: bool = False) -> RunState:
    """Return the run that a service holds, in its neutral form.

    Args:
        attached: the neutral records that travelled with the run; None where there are none.
        native: what the service holds, under its own names, multitrack's tags and artifacts included. It is not changed.
        capabilities: those of the service, which the records were fitted to.
        as_recorded: return the attached records' run, whatever was changed at the service since.
    """
    if attached is None:
        return rename_back(without_own_marks(native), native.tags, capabilities)
    records = list(attached)
    original = fold(records)
    if as_recorded:
        return original
    adapter = Adapter(capabilities)
    adapted = adapter.adapt([Entry("", seq, record) for seq, record in enumerate(records)])
    expected = without_own_marks(fold(entry.record for entry in adapted.entries))
    return _Restoration(adapter, original, expected, without_own_marks(native)).run()


# -- without attached records ---------------------------------------------------------------------------------------------


def without_own_marks(state: RunState) -> RunState:
    """Return the run without multitrack's own tags and artifacts; its parent and origin are taken from the tags where it has none."""
    clean = _copy(state)
    clean.tags = {name: value for name, value in state.tags.items() if not name.startswith(RESERVED_TAGS)}
    clean.artifacts = {name: one for name, one in state.artifacts.items() if not name.startswith(RESERVED_ARTIFACTS)}
    if clean.parent is None:
        clean.parent = state.tags.get(TAG_PARENT)
    if clean.origin is None:
        clean.origin = _read_origin(state.tags.get(TAG_ORIGIN))
    return clean


def rename_back(state: RunState, own_tags: Mapping[str, str | None], capabilities: Capabilities) -> RunState:
    """Return the run with the names, and the last values of changed params, that multitrack's tags at the service tell."""
    told = _Told(own_tags, capabilities)
    renamed = _copy(state)
    renamed.metrics = told.rename("metric", state.metrics)
    renamed.summary = told.rename("summary", state.summary)
    renamed.tags = told.rename("tag", state.tags)
    last = {name: told.last_value(name) for name in state.params}
    renamed.params = told.rename("param", {name: value if last[name] is None else last[name] for name, value in state.params.items()})
    artifacts = told.rename("artifact", state.artifacts)
    renamed.artifacts = {name: _renamed(one, name) for name, one in artifacts.items()}
    definitions = told.rename("metric", state.definitions)
    renamed.definitions = {name: _renamed(one, name) for name, one in definitions.items()}
    return renamed


class _Told:
    """What multitrack's tags at the service tell about names."""

    def __init__(self, own_tags: Mapping[str, str | None], capabilities: Capabilities) -> None:
        self._tags = own_tags
        self._rule = capabilities.tag_names
        self._prefix = capabilities.system_prefix

    def rename(self, kind: str, there: Mapping[str, Any]) -> dict[str, Any]:
        originals = {name: self._original(kind, name) for name in there}
        taken = set(there)
        renamed: dict[str, Any] = {}
        for name, value in there.items():
            original = originals[name]
            free = original == name or (original not in taken and original not in renamed)
            renamed[original if free else name] = value
        return renamed

    def _original(self, kind: str, name: str) -> str:
        original = self._tags.get(own_tag(self._rule, f"{TAG_NAME}{kind}.{hash8(name)}"))
        if original is None:
            return name
        # A tag that was cut, or written by somebody else, does not fit the hash.
        is_prefixed = kind == "metric" and self._prefix is not None and name == self._prefix + original
        return original if is_prefixed or is_hashed_name_of(name, original) else name

    def last_value(self, param: str) -> str | None:
        return self._tags.get(own_tag(self._rule, TAG_PARAM + param))


def _read_origin(text: str | None) -> Origin | None:
    if text is None:
        return None
    try:
        return Origin.model_validate(from_wire(orjson.loads(text)))
    except (ValueError, RecordError):  # a tag that somebody has edited
        return None


# -- with attached records ------------------------------------------------------------------------------------------------


class _Restoration:
    """Brings together what was recorded, what the service should hold of it, and what it holds."""

    def __init__(self, adapter: Adapter, original: RunState, expected: RunState, native: RunState) -> None:
        self._adapter = adapter
        self._original = original
        self._expected = expected
        self._native = native

    def run(self) -> RunState:
        original, expected, native = self._original, self._expected, self._native
        result = _copy(original)
        self._restore_life(result)
        result.tags = _restore_values(original.tags, expected.tags, native.tags, self._adapter.tag_name)
        result.summary = _restore_values(original.summary, expected.summary, native.summary, self._adapter.summary_name)
        result.params = self._restore_params()
        result.metrics = self._restore_metrics()
        result.artifacts = self._restore_artifacts()
        result.code = _restore_record(original.code, expected.code, native.code)
        result.data = _restore_records(original.data, expected.data, native.data)
        result.environments = _restore_records(original.environments, expected.environments, native.environments)
        result.definitions = _restore_records(original.definitions, expected.definitions, native.definitions, self._adapter.definition_name)
        result.models = _restore_records(original.models, expected.models, native.models)
        result.console = original.console or native.console
        return result

    def _restore_life(self, result: RunState) -> None:
        expected, native = self._expected, self._native
        for name in _TEXTS:
            there = getattr(native, name)
            if there is not None and there != "" and not same(there, getattr(expected, name)):
                setattr(result, name, there)
        if native.notes == "" and expected.notes:
            result.notes = None
        if native.deleted != expected.deleted:
            result.deleted = native.deleted
        if native.status != expected.status:
            result.status, result.ended, result.error = native.status, native.ended, native.error
        else:
            if native.ended is not None and native.ended != expected.ended:
                result.ended = native.ended
            if native.error is not None and native.error != expected.error:
                result.error = native.error

    def _restore_params(self) -> dict[str, Any]:
        places = {path: self._adapter.param_place(path) for path, _ in leaves(self._original.params)}
        restored = _restore_values(
            dict(leaves(self._original.params)), dict(leaves(self._expected.params)), dict(leaves(self._native.params)), places.__getitem__
        )
        params: dict[str, Any] = {}
        for path, value in restored.items():
            plant(params, path, value)
        return params

    def _restore_metrics(self) -> dict[str, Series]:
        expected, native = self._expected.metrics, self._native.metrics
        if self._adapter.capabilities.equal_points == "merged":
            expected, native = merge_equal_points(self._expected).metrics, merge_equal_points(self._native).metrics
        restored: dict[str, Series] = {}
        known: set[str] = set()
        for name, series in self._original.metrics.items():
            names = self._adapter.metric_names(name)
            known.update(names)
            was = [expected[there] for there in names if there in expected]
            now = [native[there] for there in names if there in native]
            kept = _restore_series(series, was, now)
            if kept is not None:
                restored[name] = kept
        for name, series in native.items():
            if name not in known:
                restored[_free(name, restored)] = series
        return restored

    def _restore_artifacts(self) -> dict[str, Any]:
        expected, native = self._expected.artifacts, self._native.artifacts
        restored: dict[str, Any] = {}
        known: set[str] = set()
        for name, artifact in self._original.artifacts.items():
            there = self._adapter.artifact_name(name)
            known.add(there)
            if there in expected and there not in native:
                continue  # deleted there
            one = _restore_record(artifact, expected.get(there), native.get(there))
            restored[name] = _renamed(one, name) if one is not None else artifact
        for name, artifact in native.items():
            if name not in known:
                free = _free(name, restored)
                restored[free] = _renamed(artifact, free)
        return restored


def _restore_values(
    original: Mapping[Any, Any], expected: Mapping[Any, Any], native: Mapping[Any, Any], place: Callable[[Any], Any]
) -> dict[Any, Any]:
    """Return single values: those that are as expected as they were, changed ones as they are, deleted ones not, added ones too."""
    restored: dict[Any, Any] = {}
    known = set()
    for name, value in original.items():
        there = place(name)
        known.add(there)
        if there in native:
            unchanged = there in expected and same(native[there], expected[there])
            restored[name] = value if unchanged else native[there]
        elif there not in expected:
            restored[name] = value  # it never went there
    for name, value in native.items():
        # What is there as expected, though the original no longer has it, is not an addition.
        is_leftover = name in expected and same(value, expected[name])
        if name not in known and not is_leftover:
            restored[_free(name, restored)] = value
    return restored


def _restore_series(original: Series, expected: list[Series], native: list[Series]) -> Series | None:
    """Return the original with the points that were added there; what is there where others are gone; None where nothing is."""
    was, now = _join(expected, original), _join(native, original)
    missing, added = series_difference(was, now)
    if missing:
        return now if native else None
    if not added:
        return original
    return Series(
        [*original.steps, *(now.steps[i] for i in added)],
        [*original.times, *(now.times[i] for i in added)],
        [*original.values, *(now.values[i] for i in added)],
        original.source,
    )


def _join(parts: list[Series], original: Series) -> Series:
    joined = Series(source=original.source)
    for part in parts:
        joined.steps.extend(part.steps)
        joined.times.extend(part.times)
        joined.values.extend(part.values)
    return joined


def _restore_record(original: R | None, expected: R | None, native: R | None) -> R | None:
    """Return the original with the fields that are there and not as expected. A field that is not there makes no statement."""
    if native is None or original is None:
        return original if native is None else native
    was = read_fields(expected) if expected is not None else {}
    held = {name: value for name, value in read_fields(native).items() if name not in ("time", "name")}
    changed = {name: value for name, value in held.items() if not same(value, was.get(name))}
    if not changed:
        return original
    if "size" in changed and getattr(native, "sha256", "") is None:
        changed["sha256"] = None  # other content, of which only the size is known
    return original.model_copy(update=changed)


def _restore_records(
    original: Mapping[Any, R], expected: Mapping[Any, R], native: Mapping[Any, R], place: Callable[[Any], Any] = lambda key: key
) -> dict[Any, R]:
    """Return records by key. One that is missing there is no statement: many services have no place for it, and none a button."""
    restored: dict[Any, R] = {}
    known = set()
    for key, record in original.items():
        there = place(key)
        known.add(there)
        one = _restore_record(record, expected.get(there), native.get(there))
        restored[key] = record if one is None else one
    restored.update({_free(key, restored): record for key, record in native.items() if key not in known})
    return restored


def _free(name: Any, taken: Mapping[Any, Any]) -> Any:
    """Return the name, or where an original has it, one with a hash."""
    if name not in taken:
        return name
    return (*name[:-1], f"{name[-1]}-{hash8(name[-1])}") if isinstance(name, tuple) else f"{name}-{hash8(name)}"


def _renamed(record: R, name: str) -> R:
    return record if getattr(record, "name", name) == name else record.model_copy(update={"name": name})


def _copy(state: RunState) -> RunState:
    """Return a copy that may be changed field by field; what the fields hold is shared."""
    return RunState(**{one.name: getattr(state, one.name) for one in fields(state)})

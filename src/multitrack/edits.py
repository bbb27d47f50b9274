"""What people changed of a run at a service, as records behind those that were recorded. Pure.

A run that is migrated again after an edit must not arrive a second time: its own records are at the destination already, under the names
(writer, sequence number) that they have for ever. So only what was changed is told anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .adapt import leaves, plant
from .records import Hyperparameters, Record, RunFinished, RunUpdated, Summary
from .records.sameness import keys_of, same
from .state import RunState, Series, compare, fold
from .state.canonical import points_of

_WORDS = ("name", "group", "job_type", "notes")


def find_edits(recorded: Sequence[Record], state: RunState) -> list[Record] | None:
    """Return records that, after the recorded ones, make the run what it is now.

    None: no record can say it, as where somebody has taken points or params away; then the run has to be told as a whole.
    """
    original = fold(recorded)
    edits = list(_edits(original, state))
    return edits if not compare(fold([*recorded, *edits]), state) else None


def _edits(original: RunState, state: RunState) -> Iterator[Record]:
    time = original.ended or original.started or 0
    if values := _changed_params(original.params, state.params):
        yield Hyperparameters(time=time, values=values)
    if summary := _changed(original.summary, state.summary):
        yield Summary(time=time, values=summary)
    for name, series in state.metrics.items():
        if (added := _added(original.metrics.get(name), series)) is not None:
            yield from points_of(name, added)
    for held in ("environments", "data", "definitions", "artifacts", "models"):
        yield from _changed(getattr(original, held), getattr(state, held)).values()
    if state.code is not None and state.code != original.code:
        yield state.code
    yield from _changed_life(original, state, time)


def _changed(original: Mapping[Any, Any], now: Mapping[Any, Any]) -> dict[Any, Any]:
    return {key: value for key, value in now.items() if key not in original or not same(original[key], value)}


def _changed_params(original: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path, value in _changed(dict(leaves(original)), dict(leaves(now))).items():
        plant(values, path, value)
    return values


def _added(original: Series | None, now: Series) -> Series | None:
    """Return the points behind those that were recorded; None where there are none, or the beginning is another one."""
    if original is None:
        return now
    count = len(original)
    if len(now) <= count or not _begins_with(now, original, count):
        return None
    return Series(now.steps[count:], now.times[count:], now.values[count:], now.source)


def _begins_with(now: Series, original: Series, count: int) -> bool:
    pairs = ((keys_of(now.steps[:count]), keys_of(original.steps)), (now.times[:count], original.times))
    return all(list(one) == list(other) for one, other in pairs) and list(keys_of(now.values[:count])) == list(keys_of(original.values))


def _changed_life(original: RunState, state: RunState, time: int) -> Iterator[Record]:
    goes_on = state.status if state.status != original.status and state.status in ("scheduled", "running") else None
    changes: dict[str, Any] = {word: getattr(state, word) for word in _WORDS if getattr(state, word) != getattr(original, word)}
    changes["tags"] = _changed(original.tags, state.tags)
    changes["removed_tags"] = [name for name in original.tags if name not in state.tags]
    changes |= {"deleted": state.deleted if state.deleted != original.deleted else None, "status": goes_on}
    if any(value not in (None, {}, []) for value in changes.values()):
        yield RunUpdated.model_validate({"time": time, **changes})
    end = {"status": state.status, "ended": state.ended, "error": state.error}
    if state.status not in ("scheduled", "running") and any(value != getattr(original, name) for name, value in end.items()):
        ended = time if state.ended is None else state.ended
        yield RunFinished.model_validate({"time": ended, "status": state.status, "error": state.error})

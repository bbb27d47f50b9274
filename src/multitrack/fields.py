"""The fields of runs, for filters, orders and tables: from the listing where it tells them, else from the run itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .backend import RESERVED_TAGS
from .errors import did_you_mean
from .query import MISSING, Field, Lookup, as_number
from .records import now

if TYPE_CHECKING:
    from .view import RunView


def params_of(view: RunView) -> Mapping[str, Any]:
    """Return a run's params; as the listing tells them, where it does: then services that keep texts give texts."""
    return view.params if view.ref.params is None else view.ref.params


def tags_of(view: RunView) -> dict[str, str | None]:
    """Return a run's tags as the listing tells them, without multitrack's own."""
    return {name: value for name, value in view.ref.tags.items() if not name.startswith(RESERVED_TAGS)}


def lookup(view: RunView) -> Lookup:
    """Return what gives the run's values of fields. The run is read only if the listing does not tell."""

    def find(field: Field) -> Any:
        if field.group == "params":
            return find_param(params_of(view), field.name)
        if field.group == "metrics":
            return view.latest.get(field.name, MISSING)
        if field.group == "tags":
            return tags_of(view).get(field.name, MISSING)
        value = _duration(view) if field.name == "duration" else getattr(view.ref, field.name)
        return MISSING if value is None else value

    return find


def find_param(params: Mapping[str, Any], name: str) -> Any:
    """Return the param of a dotted name; MISSING if there is none."""
    if name in params:
        return params[name]
    for place, sign in enumerate(name):  # a name may hold dots itself
        inner = params.get(name[:place]) if sign == "." else None
        if isinstance(inner, Mapping) and (found := find_param(inner, name[place + 1 :])) is not MISSING:
            return found
    return MISSING


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested params under dotted names; an empty mapping stays one."""
    flat: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def row_of(view: RunView) -> dict[str, Any]:
    """Return a run as a row of a table: `id`, `name`, ..., then `params.NAME`, `metrics.NAME`, `tags.NAME`. A bare tag is True."""
    row = {name: getattr(view, name) for name in ("id", "name", "project", "status", "started", "ended")}
    row |= {f"params.{name}": value for name, value in flatten(params_of(view)).items()}
    row |= {f"metrics.{name}": value for name, value in view.latest.items()}
    row |= {f"tags.{name}": True if value is None else value for name, value in tags_of(view).items()}
    return row


def sort_views(views: Iterable[RunView], field: Field, *, descending: bool = False) -> list[RunView]:
    """Return the runs by a field, numbers before texts. Those without it, or with NaN, come last; equal ones stay as they stood."""
    numbers: list[tuple[Any, RunView]] = []
    texts: list[tuple[Any, RunView]] = []
    others: list[RunView] = []
    for view in views:
        value = lookup(view)(field)
        number = None if field.group is None and isinstance(value, str) else as_number(value)  # a run may be named "nan"
        if number is not None and not (isinstance(number, float) and math.isnan(number)):
            numbers.append((number, view))
        elif isinstance(value, str) and number is None:
            texts.append((value, view))
        else:
            others.append(view)
    for group in (numbers, texts):
        group.sort(key=lambda item: item[0], reverse=descending)
    return [view for _, view in (*numbers, *texts)] + others


def complaints(views: Sequence[RunView], fields: Iterable[Field]) -> list[str]:
    """Return a line for each field that no run has: its name is misspelt, perhaps. That no run has a tag is nothing unusual."""
    missing = [
        field for field in dict.fromkeys(fields) if field.group is not None and all(lookup(view)(field) is MISSING for view in views)
    ]
    told = [(field, _near(views, field)) for field in missing]
    return [f"no run has {field}.{near}" for field, near in told if near or field.group != "tags"]


def _near(views: Sequence[RunView], field: Field) -> str:
    known: dict[str, None] = {}
    for view in views:
        names = {"params": flatten(params_of(view)), "metrics": view.latest, "tags": tags_of(view)}
        known.update((str(Field(group, name)), None) for group, all_names in names.items() for name in all_names)  # type: ignore[arg-type]
    return did_you_mean(str(field), known)


def _duration(view: RunView) -> float | None:
    """Return how long a run took, or takes so far, in seconds."""
    started, ended = view.ref.started, view.ref.ended
    if started is None or (ended is None and view.status != "running"):
        return None
    return ((now() if ended is None else ended) - started) / 1_000_000

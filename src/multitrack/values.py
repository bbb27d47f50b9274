"""What users hand over, turned into what records hold. Pure; every refusal is a TypeError or a ValueError that names the remedy."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import PurePath, PurePosixPath
from typing import Any

from .records import ArtifactRef, Histogram

Scalar = bool | int | float | str


def to_point(name: str, value: Any) -> Scalar | Histogram | ArtifactRef:
    """Return a metric's value as a record holds it; numpy and torch scalars, and arrays with one element, become numbers.

    Raises:
        TypeError: it is none of the value types.
    """
    if isinstance(value, bool | int | float | str | Histogram | ArtifactRef):
        # A subclass (an enum, numpy.float64) is given up for the plain value: JSON would not bring it back.
        return _plain(value)
    item = getattr(value, "item", None)
    if callable(item) and _has_one_element(value):
        return to_point(name, item())
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) or type(value).__name__ == "Decimal":
        return float(value)
    raise TypeError(f"metric {name!r}: a {_describe(value)} is no metric value; log a bool, int, float, str or Histogram{_hint(name, value)}")


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return str.__str__(value) if isinstance(value, str) else value


def _has_one_element(value: Any) -> bool:
    shape = getattr(value, "shape", ())
    try:
        return math.prod(shape) == 1
    except TypeError:
        return False


def _hint(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"; write its entries as {name + '/...'!r}"
    if value is None:
        return "; leave a missing value out"
    if getattr(value, "shape", None):
        return "; reduce it to a number first, or make a Histogram of it"
    return ""


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__} of shape {tuple(shape)}" if shape else type(value).__name__


def to_step(step: Any) -> int | float | None:
    """Return a step as a record holds it.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN or infinite.
    """
    if step is None or type(step) is int:
        return step
    if isinstance(step, bool | str) or not isinstance(step, numbers.Real):
        item = getattr(step, "item", None)
        if callable(item) and not isinstance(step, bool | str) and _has_one_element(step):
            return to_step(item())
        raise TypeError(f"step must be an int or a float, not {step!r}")
    number = int(step) if isinstance(step, numbers.Integral) else float(step)
    if not math.isfinite(number):
        raise ValueError(f"step must be finite, not {step!r}; leave it out where there is none")
    return number


def to_microseconds(time: float | datetime) -> int:
    """Return a point in time, given as seconds since the epoch or as a datetime (naive: local time), in microseconds.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(time, datetime):
        delta = time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        raise TypeError(f"time must be a datetime or seconds since 1970, not {time!r}")
    return round(time * 1_000_000)


def to_params(values: Any) -> dict[str, Any]:
    """Return hyperparameters as a record holds them: tuples and sets become lists, paths become texts, numpy and torch scalars numbers.

    Raises:
        TypeError, ValueError: not a mapping, a name that is no str, or a value that is no JSON; the message says which.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"params must be a mapping, not {type(values).__name__}; for a Namespace or a dataclass use vars(...)")
    return {_param_name(name): _to_param(str(name), value, ()) for name, value in values.items()}


def _param_name(name: Any, where: str = "") -> str:
    if type(name) is not str:
        raise TypeError(f"param {where or name!r}: the name {name!r} is no str; write str({name!r})")
    return name


def _to_param(where: str, value: Any, seen: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return _plain(value)
    if isinstance(value, PurePath):
        return str(value)
    if id(value) in seen:
        raise ValueError(f"param {where!r} contains itself")
    inside = (*seen, id(value))
    if isinstance(value, Mapping):
        return {_param_name(name, where): _to_param(f"{where}.{name}", item, inside) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_param(f"{where}[{i}]", item, inside) for i, item in enumerate(value)]
    if isinstance(value, set | frozenset):
        return sorted((_to_param(where, item, inside) for item in value), key=repr)
    item = getattr(value, "item", None)
    if callable(item) and _has_one_element(value):
        return _to_param(where, item(), inside)
    raise TypeError(f"param {where!r}: a {_describe(value)} cannot be written as JSON; give a number, a text, or a list or dict of them")


def to_tags(tags: Iterable[str] | Mapping[str, str | None]) -> dict[str, str | None]:
    """Return tags as a record holds them: a bare tag has the value None.

    Raises:
        TypeError: a name or value is no str; or one str was given where several tags are meant.
    """
    if isinstance(tags, str):
        raise TypeError(f"tags must be a list or a mapping; write [{tags!r}]")
    found = dict(tags) if isinstance(tags, Mapping) else dict.fromkeys(tags)
    for name, value in found.items():
        if type(name) is not str or not name or not (value is None or type(value) is str):
            raise TypeError(f"tag {name!r}: names are texts that are not empty, values are texts or None, not {value!r}")
    return found


def to_artifact_name(name: str) -> str:
    """Return an artifact's name, a relative path with forward slashes, in its shortest form.

    Raises:
        ValueError: it is empty, absolute, or leads out of the run.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"artifact name {name!r} must be a relative path inside the run, such as 'models/best.pt'; give one with name=...")
    return str(path)

"""What users hand over, turned into what records hold. Pure; every refusal is a TypeError or a ValueError that names the remedy."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, TypeVar

from pydantic import ValidationError

from .records import ArtifactRef, Ending, Histogram, Record, now

R = TypeVar("R", bound=Record)
Scalar = bool | int | float | str

_EARLIEST, _LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The years 1 to 9999, in microseconds: what dates can say, here and at the services."""
_SCALARS = (bool, int, float, str)  # a tuple: `isinstance` with a union makes the union anew each time


def to_name(name: Any) -> str:
    """Return a metric's name.

    Raises:
        TypeError, ValueError: it is no text, or an empty one.
    """
    if not isinstance(name, str):
        raise TypeError(f"a metric's name is a text, not {name!r}")
    if not name:
        raise ValueError("a metric's name is empty")
    return str.__str__(name)


def to_point(name: str, value: Any) -> Scalar | Histogram | ArtifactRef:
    """Return a metric's value as a record holds it; numpy and torch scalars, and arrays with one element, become numbers.

    Raises:
        TypeError: it is none of the value types.
        ValueError: it is a number beyond the floats.
    """
    if isinstance(value, _SCALARS):
        # A subclass (an enum, numpy.float64) is given up for the plain value: JSON would not bring it back.
        scalar: Scalar = plain(value)
        return scalar
    number = to_number(f"metric {name!r}", value)
    if number is not None:
        return number
    if isinstance(value, Histogram | ArtifactRef):
        return value
    described = f"metric {name!r}: a {describe(value)} is no metric value"
    raise TypeError(f"{described}; log a bool, int, float, str or Histogram{_hint(name, value)}")


def to_number(what: str, value: Any) -> Scalar | None:
    """Return the one scalar that a numpy or torch object holds, or that a number of another type is; None if it is neither.

    Raises:
        TypeError: it cannot be read.
        ValueError: it is beyond the floats.
    """
    item = getattr(value, "item", None)
    if callable(item) and _has_one_element(value):
        try:
            inner = item()
        except Exception as error:
            raise TypeError(f"{what}: the value of a {describe(value)} cannot be read: {error}") from error
        if isinstance(inner, _SCALARS):
            return plain(inner)  # type: ignore[no-any-return]
        value = inner if isinstance(inner, numbers.Number) else value
    try:
        if isinstance(value, numbers.Integral):
            return int(value)
        if isinstance(value, numbers.Real | Decimal):
            return float(value)
    except OverflowError:
        raise ValueError(f"{what}: {value!r} is beyond the floats") from None
    return None


def plain(value: Any) -> Any:
    """Return a bool, int, float or str as such, where its type is a subclass of one; anything else as it is."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    return str.__str__(value) if isinstance(value, str) else value


def _has_one_element(value: Any) -> bool:
    try:
        return math.prod(getattr(value, "shape", ())) == 1
    except TypeError:
        return False


def _hint(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"; write its entries as {name + '/...'!r}, or make a Table of it"
    if value is None:
        return "; leave a missing value out"
    if getattr(value, "shape", None):
        return "; reduce it to a number first, or make a Histogram or an Image of it"
    return ""


def describe(value: Any) -> str:
    """Return the type of a value, and its shape, for a message."""
    shape = getattr(value, "shape", None)
    try:
        return f"{type(value).__name__} of shape {tuple(shape)}" if shape else type(value).__name__
    except TypeError:
        return type(value).__name__


def to_step(step: Any) -> int | float | None:
    """Return a step as a record holds it.

    Raises:
        TypeError: it is no number.
        ValueError: it is NaN or infinite.
    """
    if step is None or type(step) is int:
        return step
    number = None if isinstance(step, bool | str) else plain(step) if isinstance(step, int | float) else to_number("step", step)
    if number is None or isinstance(number, bool | str):
        raise TypeError(f"step must be an int or a float, not {_quote(step)}")
    if not math.isfinite(number):
        raise ValueError(f"step must be finite, not {step!r}; leave it out where there is none")
    return number


def _quote(value: Any) -> str:
    """Return a value for a message: short, whatever it is."""
    text = repr(value)
    return text if len(text) <= 60 else f"a {describe(value)}"


def to_microseconds(time: float | datetime) -> int:
    """Return a point in time, given as seconds since the epoch or as a datetime (naive: local time), in microseconds.

    Raises:
        TypeError: it is neither.
        ValueError: it lies beyond the year 9999, as milliseconds taken for seconds do, or before the year 1.
    """
    if isinstance(time, datetime):
        try:
            delta = time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
        except (OverflowError, ValueError):
            raise ValueError(f"time {time!r} cannot be told in UTC") from None
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    seconds = None if isinstance(time, bool | str) else time if type(time) in (int, float) else to_number("time", time)
    if seconds is None or isinstance(seconds, bool | str):
        raise TypeError(f"time must be a datetime or seconds since 1970, not {_quote(time)}")
    if not _EARLIEST <= seconds * 1_000_000 <= _LATEST:
        raise ValueError(f"time must be in seconds since 1970, within the years 1 to 9999, not {time!r}")
    return round(seconds * 1_000_000)


def to_tags(tags: Iterable[str] | Mapping[str, str | None]) -> dict[str, str | None]:
    """Return tags as a record holds them: a bare tag has the value None.

    Raises:
        TypeError: a name or value is no str; or one str was given where several tags are meant.
        ValueError: a name is empty.
    """
    if isinstance(tags, str):
        raise TypeError(f"tags must be a list or a mapping; write [{tags!r}]")
    if not isinstance(tags, Iterable):
        raise TypeError(f"tags must be a list or a mapping, not {_quote(tags)}")
    items = tags.items() if isinstance(tags, Mapping) else ((name, None) for name in tags)
    return {_tag_name(name): _tag_value(name, value) for name, value in items}


def _tag_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"tag {_quote(name)}: a tag's name is a text; write {str(name)!r}")
    if not name:
        raise ValueError("a tag's name is empty")
    return str.__str__(name)


def _tag_value(name: Any, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"tag {name!r}: its value is a text or None, not {_quote(value)}; write {str(value)!r}")
    return None if value is None else str.__str__(value)


def to_artifact_name(name: str) -> str:
    """Return an artifact's name, a relative path with forward slashes, in its shortest form.

    Raises:
        TypeError: it is no text.
        ValueError: it is empty, absolute, or leads out of the run.
    """
    if not isinstance(name, str):
        raise TypeError(f"an artifact's name is a text, not {_quote(name)}")
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"artifact name {name!r} must be a relative path inside the run, such as 'models/best.pt'; give one with name=...")
    return str(path)


def to_ending(error: BaseException | None) -> tuple[Ending, str | None]:
    """Return the status and the text for a run that this exception, or none, has ended."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished", None
    if isinstance(error, KeyboardInterrupt):
        return "killed", "KeyboardInterrupt"
    if isinstance(error, SystemExit):
        return "failed", f"exit {error.code}"
    import traceback

    return "failed", "".join(traceback.format_exception(error)).rstrip()


def new_record(cls: type[R], **fields: Any) -> R:
    """Return a record of this moment.

    Raises:
        TypeError, ValueError: a field has the wrong type, or a value that it cannot have; one line says which.
    """
    try:
        return cls(time=now(), **fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        wrong = TypeError if first["type"].endswith("_type") else ValueError
        raise wrong(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}, not {first['input']!r:.60}") from None

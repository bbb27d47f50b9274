"""What the files of images, tables and figures are called. Pure, and the same wherever the file goes.

    media/images/val/pred/3-0a1b2c3d4e5f6071.png
          kind   metric   step, content

The name says what a file is, so that a service that keeps nothing but names can still show it at its metric and step.
"""

from __future__ import annotations

import re
from hashlib import sha256 as _sha256
from math import isfinite
from typing import Literal, NamedTuple

from .base import Step

MediaKind = Literal["image", "table", "figure"]

_KEY_LENGTH = 100
_STEP_LENGTH = 24
_NO_STEP = "none"
_SAFE_KEY = re.compile(r"(?!\.)[A-Za-z0-9_.\-]+(?:/(?!\.)[A-Za-z0-9_.\-]+)*")
_NAME = re.compile(
    rf"media/(?P<kind>image|table|figure)s/(?P<key>{_SAFE_KEY.pattern})/(?P<step>none|-?[0-9][0-9.e\-]*|x[0-9a-f]{{16}})"
    r"-(?P<content>[0-9a-f]{16})\.(?P<suffix>[a-z0-9]+)"
)


class MediaName(NamedTuple):
    """The parts of a file's name."""

    kind: str
    key: str
    """The metric's name; where that cannot stand in a path, what it was made into."""
    step: str
    """`none`, a number, or `x` and the hash of one that is too long, or not finite."""
    content: str
    """The first 16 hexadecimal digits of the content's SHA-256."""
    suffix: str

    def __str__(self) -> str:
        return f"media/{self.kind}s/{self.key}/{self.step}-{self.content}.{self.suffix}"


def media_name(kind: MediaKind, metric: str, step: Step | None, sha256: str, suffix: str) -> str:
    """Return the name of a file that is a point of `metric` at `step`."""
    return str(MediaName(kind, _key(metric), _step(step), sha256[:16], suffix))


def parse_media_name(name: str) -> MediaName | None:
    """Return the parts of a name that `media_name` has made; None for any other."""
    found = _NAME.fullmatch(name)
    return None if found is None else MediaName(**found.groupdict())


def _key(metric: str) -> str:
    if len(metric) <= _KEY_LENGTH and _SAFE_KEY.fullmatch(metric):
        return metric
    clean = re.sub(r"[^A-Za-z0-9_\-]+", "_", metric)[:_KEY_LENGTH]
    return f"{clean}-{_hash(metric, 8)}"


def _step(step: Step | None) -> str:
    if step is None:
        return _NO_STEP
    if isinstance(step, int) and step.bit_length() > 4 * _STEP_LENGTH:  # Python refuses to print ints of more than 4300 digits
        return f"x{_hash(hex(step), 16)}"
    text = str(step).replace("+", "")
    return text if len(text) <= _STEP_LENGTH and isfinite(step) else f"x{_hash(text, 16)}"


def _hash(text: str, length: int) -> str:
    return _sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]

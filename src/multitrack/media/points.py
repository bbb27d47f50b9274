"""Media among what is handed to `run.log`: known, spread over rows, and described. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from ..records import Artifact, ArtifactRef, Microseconds, Step
from ..records.media_names import media_name
from .figure import to_figure
from .media import Media, comes_from


def to_media(name: str, value: Any) -> Media | list[Media] | None:
    """Return an image, table or figure, or a list of them, as it is to be stored for the metric `name`; None for anything else.

    Raises:
        TypeError: a list holds something else as well.
        ValueError: a figure cannot be drawn.
    """
    if not isinstance(value, list | tuple):
        return _to_one(name, value)
    found = [_to_one(name, one) for one in value]
    media = [one for one in found if one is not None]
    if not media:
        return None
    if len(media) < len(found):
        other = value[found.index(None)]
        raise TypeError(f"metric {name!r}: a list holds images, tables and figures alone, not a {type(other).__name__}")
    return media


def _to_one(name: str, value: Any) -> Media | None:
    if isinstance(value, Media):
        return value
    if comes_from(value, "PIL"):
        from .image import Image

        return Image(value)
    return to_figure(f"metric {name!r}", value)


def spread(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rows of single values: the first of each metric in the first row, and what a list holds besides in further ones."""
    rows: list[dict[str, Any]] = [{}]
    for name, value in values.items():
        if not isinstance(value, list):
            rows[0][name] = value
            continue
        rows += [{} for _ in range(len(value) - len(rows))]
        for row, one in zip(rows, value, strict=False):
            row[name] = one
    return rows


def describe(media: Media, metric: str, step: Step | None, time: Microseconds) -> tuple[Artifact, ArtifactRef]:
    """Return the record of the file, and the point that refers to it."""
    sha256 = hashlib.sha256(media.data).hexdigest()
    name = media_name(media.kind, metric, step, sha256, media.suffix)
    artifact = Artifact(
        time=time,
        name=name,
        sha256=sha256,
        size=len(media.data),
        media_type=media.media_type,
        step=step,
        type=media.kind,
        metadata={"metric": metric, **media.metadata},
    )
    return artifact, ArtifactRef(name=name, sha256=sha256, media_type=media.media_type)

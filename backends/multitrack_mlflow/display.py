"""Images and tables where MLflow's own pages look for them. Pure but for `thumbnail`.

MLflow 3.17: `log_image(key=, step=)` writes two files, and the tag `mlflow.loggedImages`; the grid of images reads key, step
and time from their names, and shows PNG and WebP alone:

    images/val~pred+step+3+timestamp+1577934245678+<anything>.png
    images/val~pred+step+3+timestamp+1577934245678+<anything>+compressed.webp

Our file `media/images/val/pred/3-0a1b2c3d4e5f6071.png` stands under the first name, with `3-0a1b2c3d4e5f6071` for what is free, so that
its own name can be read back. MLflow keeps a missing step as 0, and so do we. `log_table` writes JSON in the form that our tables have, and
lists it in the tag `mlflow.loggedArtifacts`: a table keeps its name.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from multitrack.records import Microseconds
from multitrack.records.media_names import MediaName, parse_media_name

from . import names

_SHOWN = frozenset({"png", "webp"})
_FARTHEST_STEP = 2**53
"""The pages' language keeps ints exact up to here."""
_SLASH = "~"
_IMAGE = re.compile(
    r"images/(?P<key>[^/+~]+(?:~[^/+~]+)*)\+step\+-?\d+\+timestamp\+-?\d+\+(?P<file>[^/+]+?)(?P<small>\+compressed)?\.(?P<suffix>png|webp)"
)
_THUMBNAIL = 256
"""Pixels of the longer side. MLflow's are as large."""
TAG_LENGTH = 8000


def image_path(name: str, time: Microseconds) -> str | None:
    """Return where the artifact of this name stands as an image; None when the grid cannot show it, or when it is none."""
    parts = parse_media_name(name)
    step = None if parts is None or parts.kind != "image" or parts.suffix not in _SHOWN else _whole_step(parts.step)
    if parts is None or step is None:
        return None
    key = parts.key.replace("/", _SLASH)
    return f"images/{key}+step+{step}+timestamp+{time // 1000}+{parts.step}-{parts.content}.{parts.suffix}"


def thumbnail_path(path: str) -> str:
    """Return where the small version of the image at `path` stands."""
    return f"{path.rpartition('.')[0]}+compressed.webp"


def artifact_name(path: str) -> str | None:
    """Return the name of the artifact that stands at `path` as an image, `""` for a small version; None when it is not ours."""
    found = _IMAGE.fullmatch(path)
    if found is None:
        return None
    step, _, content = found["file"].rpartition("-")
    name = str(MediaName("image", found["key"].replace(_SLASH, "/"), step, content, found["suffix"]))
    if parse_media_name(name) is None:
        return None
    return "" if found["small"] else name


def _whole_step(text: str) -> int | None:
    try:
        step = math.floor(float(0 if text == "none" else text))
    except (ValueError, OverflowError):
        return None
    return step if abs(step) <= _FARTHEST_STEP else None


def thumbnail(file: Path) -> bytes | Path:
    """Return a small version of an image as WebP; the image itself where Pillow is missing, or cannot read it."""
    try:
        from PIL import Image
    except ImportError:
        return file
    try:
        with Image.open(file) as image:
            small = image.convert("RGBA" if image.has_transparency_data else "RGB")
            small.thumbnail((_THUMBNAIL, _THUMBNAIL))
            content = io.BytesIO()
            small.save(content, "WEBP")
            return content.getvalue()
    except (OSError, ValueError, SyntaxError, KeyError, Image.DecompressionBombError):
        return file


# -- tags ---------------------------------------------------------------------------------------------------------------------


def tags_for(artifacts: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the tags by which MLflow's pages find these artifacts, those among them that are images and tables of ours.

    Args:
        artifacts: names.
        known: the tags that the run has.
    """
    parts = [found for name in artifacts if (found := parse_media_name(name)) is not None]
    tags: dict[str, str] = {}
    if any(part.kind == "image" for part in parts) and names.TAG_LOGGED_IMAGES not in known:
        tags |= {names.TAG_LOGGED_IMAGES: "True", names.TAG_OUR_IMAGES: "True"}
    tables = [{"path": str(part), "type": "table"} for part in parts if part.kind == "table"]
    listed = _listed(known.get(names.TAG_LOGGED_ARTIFACTS, "[]"))
    if tables and listed is not None:
        tags[names.TAG_LOGGED_ARTIFACTS] = _fit([*listed, *(table for table in tables if table not in listed)])
    return tags


def without_own(tags: Mapping[str, str]) -> dict[str, str]:
    """Return a run's tags without what `tags_for` has added."""
    own = {names.TAG_LOGGED_IMAGES} if names.TAG_OUR_IMAGES in tags else set()
    kept = {name: value for name, value in tags.items() if name not in own}
    listed = _listed(kept.get(names.TAG_LOGGED_ARTIFACTS, "[]")) or []
    others = [one for one in listed if not _is_ours(one)]
    if len(others) < len(listed):
        kept[names.TAG_LOGGED_ARTIFACTS] = json.dumps(others)
        if not others:
            del kept[names.TAG_LOGGED_ARTIFACTS]
    return kept


def _listed(text: str) -> list[Any] | None:
    """Return what the tag lists; None where somebody has written something else there."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def _is_ours(listed: Any) -> bool:
    name = parse_media_name(str(listed.get("path"))) if isinstance(listed, dict) else None
    return name is not None and name.kind == "table"


def _fit(listed: list[Any]) -> str:
    """Return the list as the tag holds it. MLflow cuts a longer tag: the oldest of our tables make room, and stay files like others."""
    while len(text := json.dumps(listed)) > TAG_LENGTH:
        oldest = next((place for place, one in enumerate(listed) if _is_ours(one)), None)
        if oldest is None:
            break
        del listed[oldest]
    return text

"""Values in W&B's JSON, both ways. Pure.

W&B's JSON knows NaN and the infinities. wandb-core writes 1.0 as 1, makes floats of ints beyond 64 bits, and leaves empty mappings out.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from multitrack.errors import RecordError
from multitrack.records import ArtifactRef, Histogram, from_wire, to_wire
from multitrack.records.media_names import parse_media_name

from . import names

_MEDIA_TYPES = {"image": "image-file", "table": "table-file"}
_FIGURE_TYPES = {"text/html": "html-file", "application/vnd.plotly.v1+json": "plotly-file"}
_FILE = "file"
"""The `_type` of a file that W&B has no word for."""
_EXACT = "exact"
"""In a histogram: JSON text of the counts, where JSON would change one."""
_FLOAT_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""A service that answers in strict JSON has these as text."""


# -- points and summary values ------------------------------------------------------------------------------------------------


def to_json(value: Any) -> str:
    """Return a point's value as a row of history, or a summary, holds it: an int as `1`, a float as `1.0`, a histogram as an object."""
    if type(value) is float:
        return repr(value) if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Histogram):
        told = {"_type": "histogram", "values": value.counts, "bins": value.edges}
        return json.dumps(told if all(map(_is_kept, value.counts)) else {**told, _EXACT: json.dumps(to_wire(value.counts))})
    if isinstance(value, ArtifactRef):
        return json.dumps(_media(value))
    if isinstance(value, str) and (value in _FLOAT_WORDS or not is_deliverable(value)):
        return json.dumps(_packed(value))
    return json.dumps(value)


def from_json(value: Any, *, floats: bool | None) -> Any:
    """Return a point's value, None for what is none. `floats`: whether numbers are floats; None: they are as they stand.

    A list, or a mapping that is no histogram or file, is JSON text: a point has no other way to hold it.
    """
    if value is None or type(value) is bool:
        return value
    if type(value) in (int, float):
        return _number(value, floats)
    if type(value) is str:
        return _FLOAT_WORDS.get(value, value)
    if isinstance(value, Mapping):
        return _object(value)
    return json.dumps(value)


def flat(row: Mapping[str, Any], beginning: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the columns of a row, or the names of a summary; a mapping that is no value of W&B's is a folder of them: `a.b`."""
    for key, value in row.items():
        if isinstance(value, Mapping) and not is_object(value):
            yield from flat(value, f"{beginning}{key}.")
        else:
            yield beginning + key, value


def is_object(value: Mapping[str, Any]) -> bool:
    """Return whether a mapping is a value: a histogram, a file, a text of ours."""
    return "_type" in value or "$" in value


def _number(value: float, floats: bool | None) -> int | float:
    if floats is None:
        return value
    if floats:
        return float(value)
    return int(value) if math.isfinite(value) and value == int(value) else value


def _object(value: Mapping[str, Any]) -> Any:
    kind = value.get("_type")
    if kind == "histogram":
        return _histogram(value) or json.dumps(value)
    if "$" in value and "b64" in value:
        return from_wire(dict(value))
    path = value.get("path")
    if isinstance(kind, str) and isinstance(path, str) and isinstance(value.get("sha256"), str):
        return ArtifactRef(
            name=path, sha256=value["sha256"], media_type=value["media_type"] if "media_type" in value else _media_type(kind, value)
        )
    return json.dumps(value)


def _histogram(value: Mapping[str, Any]) -> Histogram | None:
    """Return a histogram: W&B has its edges as a list, or packed as `{min, size, count}`."""
    counts, edges = value.get("values"), value.get("bins")
    packed = value.get("packedBins")
    if edges is None and isinstance(packed, Mapping):
        edges = [packed["min"] + packed["size"] * place for place in range(int(packed["count"]) + 1)]
    if not isinstance(counts, list) or not isinstance(edges, list):
        return None
    try:
        exact = from_wire(json.loads(value[_EXACT])) if _EXACT in value else counts
        return Histogram(edges=[float(edge) for edge in edges], counts=exact if len(exact) == len(counts) else counts)
    except (ValueError, TypeError):  # somebody has written something else there
        return None


def _is_kept(count: float) -> bool:
    return not count.is_integer() if isinstance(count, float) else abs(count) <= names.EXACT_INTS


def _media(value: ArtifactRef) -> dict[str, Any]:
    name = parse_media_name(value.name)
    kind = _FILE
    if name is not None:
        kind = _MEDIA_TYPES.get(name.kind) or _FIGURE_TYPES.get(value.media_type or "", _FILE)
    said = {"_type": kind, "path": value.name, "sha256": value.sha256}
    if kind == "image-file" and name is not None:
        said["format"] = name.suffix
    return {**said, "media_type": value.media_type}


def _media_type(kind: str, value: Mapping[str, Any]) -> str | None:
    if kind == "image-file" and isinstance(value.get("format"), str):
        return f"image/{value['format']}"
    return {"table-file": "application/json", "html-file": "text/html", "plotly-file": "application/vnd.plotly.v1+json"}.get(kind)


# -- tags ----------------------------------------------------------------------------------------------------------------------


def shown_tags(tags: Mapping[str, str | None]) -> list[str]:
    """Return the tags as W&B shows them: those of up to 64 characters, a value behind its name."""
    shown = (name if not value else f"{name}: {value}" for name, value in tags.items())
    # Edge white space is W&B's to keep or not.
    fitting = (text for text in shown if text == text.strip() and 0 < len(text) <= names.TAG_LENGTH and is_deliverable(text))
    return list(dict.fromkeys(fitting))


# -- words of multitrack's own ---------------------------------------------------------------------------------------------------


def word(text: str) -> str | dict[str, str]:
    """Return a text as it stands in the config: itself, or packed where W&B cannot hold it."""
    return text if is_deliverable(text) else _packed(text)


def read_word(value: Any) -> str | None:
    """Return the text that `word` wrote; None where there is none."""
    try:
        found = from_wire(dict(value)) if isinstance(value, Mapping) else value
    except RecordError:  # somebody has edited it
        return None
    return found if isinstance(found, str) else None


def clean(text: str) -> str:
    """Return a text as W&B shows it: what it cannot hold is escaped."""
    return text if is_deliverable(text) else text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _packed(text: str) -> dict[str, str]:
    return {"$": "text", "b64": base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()}


# -- params ---------------------------------------------------------------------------------------------------------------------


def survives(value: Any) -> bool:
    """Return whether a param comes back from W&B's config as it was sent."""
    if type(value) is float:
        return not value.is_integer()
    if isinstance(value, str):
        return is_deliverable(value)
    if isinstance(value, Mapping):
        return bool(value) and all(is_deliverable(key) and survives(item) for key, item in value.items())
    if isinstance(value, list):
        return all(survives(item) for item in value)
    return True


def plain(value: Any) -> Any:
    """Return a param as W&B's config can hold it: without what is no text in UTF-8."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def same_there(sent: Any, found: Any) -> bool:
    """Return whether what W&B holds is what a param became there: numbers count by their value, and what is empty need not be there."""
    if isinstance(sent, Mapping) and isinstance(found, Mapping):
        kept = {key for key, value in sent.items() if value != {}}
        return kept <= found.keys() <= sent.keys() and all(same_there(sent[key], found[key]) for key in found)
    if isinstance(sent, list) and isinstance(found, list):
        return len(sent) == len(found) and all(map(same_there, sent, found))
    return bool(sent == found) and (isinstance(sent, bool) == isinstance(found, bool))


def is_deliverable(text: str) -> bool:
    """Return whether protobuf, and the service's database, take the text."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def int_to_text(value: int) -> str:
    """Return an int of any size as text. Python refuses to print ints of more than 4300 digits; hexadecimal has no such limit."""
    return str(value) if value.bit_length() < 10_000 else hex(value)


def int_from_text(text: str) -> int | None:
    """Return the int that `int_to_text` wrote; None where somebody has written something else."""
    try:
        return int(text, 16 if "x" in text else 10)
    except ValueError:
        return None

"""Records to lines of JSON and back, every value as it was.

What JSON, or orjson, cannot say is an object tagged `$` [orjson: NaN and the infinities become null, ints beyond 64 bits
and lone surrogates are refused]:

    NaN, inf, -inf              {"$": "nan"}  {"$": "inf"}  {"$": "-inf"}
    an int beyond 64 bits       {"$": "int", "v": "18446744073709551616"}
    text with lone surrogates   {"$": "text", "b64": "..."}          UTF-8 with surrogatepass, in base64
    a mapping that has a key `$`, or a key with lone surrogates
                                {"$": "map", "v": [[key, value], ...]}
    Histogram, ArtifactRef      {"$": "histogram", "edges": [...], ...}  {"$": "artifact", "name": ...}

A line holds `kind`, the writer's sequence number `seq`, and the fields that differ from their defaults.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

import orjson
from pydantic import ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from ..errors import RecordError
from .artifacts import Artifact, Model
from .base import ArtifactRef, Histogram, Record, Struct, TaggedValue
from .code_version import CodeVersion
from .data_version import DataVersion
from .environment import Environment
from .hyperparameters import Hyperparameters
from .lifecycle import CaptureFailed, LogLines, RunFinished, RunStarted, RunUpdated
from .metrics import MetricDefinition, Metrics, Points, Summary

RECORD_TYPES: dict[str, type[Record]] = {
    get_args(cls.model_fields["kind"].annotation)[0]: cls
    for cls in (
        RunStarted,
        RunUpdated,
        RunFinished,
        CodeVersion,
        DataVersion,
        Hyperparameters,
        Metrics,
        Points,
        Summary,
        MetricDefinition,
        Environment,
        Artifact,
        Model,
        LogLines,
        CaptureFailed,
    )
}

_SHOWN_DEPTH = 6
"""How many steps of the way to a malformed value an error names."""
_INT64_MIN, _UINT64_MAX = -(2**63), 2**64 - 1
_TAGGED: dict[str, type[TaggedValue]] = {cls.TAG: cls for cls in (Histogram, ArtifactRef)}


class UnknownRecord(Record):
    """A record of a kind that this version does not know: kept whole, so that it can be passed on."""

    model_config = ConfigDict(extra="allow")


def encode(record: Record, seq: int) -> bytes:
    """Return the record as one line of UTF-8 JSON, with its line end.

    Raises:
        RecordError: a value has no type that can be recorded, or is nested too deep [orjson: 254 levels].
    """
    try:
        wire = to_wire(read_fields(record))
        return orjson.dumps({"kind": record.kind, "seq": seq, **wire}, option=orjson.OPT_APPEND_NEWLINE)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise RecordError(f"a {record.kind} record cannot be written: {error}") from None


def decode(line: bytes | str) -> tuple[int, Record]:
    """Return a line's sequence number and record.

    Raises:
        RecordError: it is no record, or one of its fields has the wrong type.
    """
    try:
        wire = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise RecordError(f"not a line of JSON: {error}") from None
    if not isinstance(wire, dict) or type(wire.get("seq")) is not int or not isinstance(wire.get("kind"), str):
        raise RecordError("not a record: `kind` or `seq` is missing")
    marked = b'"$"' in line if isinstance(line, bytes) else '"$"' in line
    fields = {key: from_wire(value) for key, value in wire.items()} if marked else wire
    seq = fields.pop("seq")
    cls = RECORD_TYPES.get(fields["kind"], UnknownRecord)
    try:
        return seq, cls.model_validate(fields, extra="allow")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"][:_SHOWN_DEPTH]))
        raise RecordError(f"{fields['kind']} record {seq}: {where}: {first['msg']}") from None


def read_fields(record: Struct) -> dict[str, Any]:
    """Return the fields that differ from their defaults, unknown ones included; `kind` is left out."""
    fields = {
        name: value
        for name, info in _fields_of(type(record)).items()
        if (value := getattr(record, name)) is not None and (info.is_required() or not _is_default(value, info))
    }
    return {**fields, **(record.__pydantic_extra__ or {})}


@cache
def _fields_of(cls: type[Struct]) -> dict[str, FieldInfo]:
    """Return the fields that are written one by one: a record's `kind` is not, it comes first."""
    return {name: info for name, info in cls.model_fields.items() if name != "kind" or not issubclass(cls, Record)}


def _is_default(value: Any, info: FieldInfo) -> bool:
    return type(value) is type(info.default) and value == info.default


def to_wire(value: Any) -> Any:
    """Return `value` in terms that orjson writes without loss."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else {"$": "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"}
    if kind is str:
        return value if value.isascii() or _is_utf8(value) else _text_to_wire(value)
    if kind is bool or value is None:
        return value
    if kind is int:
        return value if _INT64_MIN <= value <= _UINT64_MAX else {"$": "int", "v": _int_to_text(value)}
    if isinstance(value, Mapping):
        return _mapping_to_wire(value)
    if isinstance(value, list | tuple):
        return [to_wire(item) for item in value]
    if isinstance(value, TaggedValue):
        return {"$": value.TAG, **_mapping_to_wire(read_fields(value))}
    if isinstance(value, Struct):
        return _mapping_to_wire(read_fields(value))
    raise RecordError(f"a {kind.__name__} cannot be recorded")


def from_wire(value: Any) -> Any:
    """Return what `to_wire` was given.

    Raises:
        RecordError: a tag is unknown or incomplete.
    """
    if isinstance(value, list):
        return [from_wire(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {key: from_wire(item) for key, item in value.items()}
    tag = value["$"]
    try:
        if tag in _FLOATS:
            return _FLOATS[tag]
        if tag == "int":
            return _int_from_text(value["v"])
        if tag == "text":
            return base64.b64decode(value["b64"], validate=True).decode("utf-8", "surrogatepass")
        if tag == "map":
            return {from_wire(key): from_wire(item) for key, item in value["v"]}
        fields = {key: from_wire(item) for key, item in value.items() if key != "$"}
        return _TAGGED[tag].model_validate(fields, extra="allow")
    except (KeyError, TypeError, ValueError) as error:
        raise RecordError(f"a value tagged {tag!r} cannot be read; was it written by a newer multitrack?") from error


_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _mapping_to_wire(value: Mapping[str, Any]) -> dict[str, Any]:
    if "$" not in value and all(key.isascii() or _is_utf8(key) for key in value):
        return {key: to_wire(item) for key, item in value.items()}
    return {"$": "map", "v": [[to_wire(key), to_wire(item)] for key, item in value.items()]}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text_to_wire(text: str) -> dict[str, str]:
    return {"$": "text", "b64": base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()}


def _int_to_text(value: int) -> str:
    # Python refuses to print ints of more than 4300 decimal digits; hexadecimal has no such limit.
    return str(value) if value.bit_length() < 10_000 else hex(value)


def _int_from_text(text: str) -> int:
    return int(text, 16 if "x" in text else 10)


def json_schema(kind: str | None = None) -> dict[str, Any]:
    """Return the JSON Schema of the lines of a journal, or of those of one record kind.

    Fields that a newer version adds are allowed: readers keep what they do not know.
    """
    types = RECORD_TYPES if kind is None else {kind: RECORD_TYPES[kind]}
    definitions: dict[str, Any] = {}
    for cls in types.values():
        schema = cls.model_json_schema(mode="validation", ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        schema["properties"] = {"kind": schema["properties"].pop("kind"), "seq": _SEQ_SCHEMA, **schema["properties"]}
        schema["required"] = ["kind", "seq", *schema.get("required", [])]
        definitions[cls.__name__] = schema
    for schema in definitions.values():
        schema.pop("additionalProperties", None) if schema.get("additionalProperties") is False else None
        for name, field in schema.get("properties", {}).items():
            schema["properties"][name] = field if name in ("kind", "seq") else _or_tagged(field)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "oneOf": [{"$ref": f"#/$defs/{cls.__name__}"} for cls in types.values()],
        "$defs": {**dict(sorted(definitions.items())), "Tagged": _TAGGED_SCHEMA},
    }


def _or_tagged(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that may hold, in the place of any text, number or mapping, a tagged object."""
    inner = {key: schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)}
    schema = {**schema, **{key: _or_tagged(value) for key, value in inner.items()}}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_or_tagged(choice) for choice in schema["anyOf"]]}
    if schema.get("type") not in ("string", "integer", "number", "object") or schema.keys() & {"enum", "const", "pattern"}:
        return schema
    words: dict[str, Any] = {key: schema.pop(key) for key in ("title", "description", "default") if key in schema}
    return {**words, "anyOf": [schema, {"$ref": "#/$defs/Tagged"}]}


_TAGGED_SCHEMA = {
    "type": "object",
    "description": "A value that JSON has no word for: NaN, an infinity, an int beyond 64 bits, text with lone surrogates, ...",
    "properties": {"$": {"type": "string"}},
    "required": ["$"],
}
_SEQ_SCHEMA = {"type": "integer", "minimum": 0, "description": "The record's place among those of its writer."}

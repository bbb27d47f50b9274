"""Records to lines and back: every value as it was, every malformed line one clear error."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from multitrack.errors import RecordError
from multitrack.records import Hyperparameters, Metrics, Points, RunStarted, UnknownRecord, decode, encode, from_wire, json_schema, to_wire
from multitrack.records.codec import RECORD_TYPES
from support.strategies import param_values, records, values

GOLDEN = Path(__file__).parent / "golden" / "records-v1.jsonl"
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


@given(records, st.integers(0, 2**63))
def test_every_record_survives_a_line(record: Any, seq: int) -> None:
    line = encode(record, seq)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    read_seq, read = decode(line)
    assert (read_seq, type(read)) == (seq, type(record))
    assert encode(read, seq) == line


@given(records)
def test_every_line_fits_the_schema(record: Any) -> None:
    VALIDATOR.validate(json.loads(encode(record, 0)))


@given(param_values | values)
def test_every_value_keeps_its_type(value: Any) -> None:
    read = from_wire(orjson.loads(orjson.dumps(to_wire(value))))
    assert type(read) is type(value)
    if isinstance(value, float):
        assert (math.isnan(read) and math.isnan(value)) or (read == value and math.copysign(1, read) == math.copysign(1, value))
    assert to_wire(read) == to_wire(value)


def test_text_and_bytes_are_read_alike() -> None:
    line = encode(Metrics(time=1, values={"x": math.nan}), 3)
    assert encode(decode(line.decode())[1], 3) == line


@pytest.mark.parametrize("value", [1, 1.0, True, "1", None])
def test_types_that_python_takes_for_equal_stay_apart(value: Any) -> None:
    _, read = decode(encode(Hyperparameters(time=0, values={"x": value}), 0))
    assert isinstance(read, Hyperparameters)
    assert type(read.values["x"]) is type(value)


def test_unknown_fields_are_refused_when_a_record_is_made() -> None:
    with pytest.raises(ValidationError):
        Metrics.model_validate({"time": 0, "values": {}, "colour": "red"})


def test_unknown_fields_are_kept_when_a_record_is_read() -> None:
    line = b'{"kind":"metrics","seq":4,"time":1,"values":{"x":1},"colour":{"$":"nan"}}\n'
    assert encode(decode(line)[1], 4) == line


def test_unknown_kinds_pass_on() -> None:
    line = b'{"kind":"weather","seq":4,"time":1,"sky":{"$":"map","v":[["$",1]]}}\n'
    seq, record = decode(line)
    assert isinstance(record, UnknownRecord)
    assert encode(record, seq) == line


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"kind":"metrics","seq":1,"time":1,"values":{"x":1}',
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"seq":1,"time":1}',
        b'{"kind":"metrics","time":1,"values":{}}',
        b'{"kind":"metrics","seq":"1","time":1,"values":{}}',
        b'{"kind":"metrics","seq":true,"time":1,"values":{}}',
        b'{"kind":{"$":"nan"},"seq":1,"time":1}',
        b'{"kind":"metrics","seq":1,"time":"now","values":{}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"x":null}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"x":{"$":"colour"}}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"x":{"$":["nan"]}}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"x":{"$":"int"}}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"x":{"$":"int","v":"seven"}}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"x":{"$":"text","b64":"!"}}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"x":{"$":"histogram"}}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"$":"map","v":[[1]]}}',
        b'{"kind":"metrics","seq":1,"time":1,"values":{"$":"map","v":[[{},1]]}}',
        b'{"kind":"points","seq":1,"time":1,"name":"x","times":[1],"values":[]}',
        b'{"kind":"run_started","seq":1,"time":1,"id":"short","project":"p"}',
        b'{"kind":"weather","seq":1}',
        b'{"kind":"hyperparameters","seq":1,"time":1,"values":' + b'{"in":' * 400 + b"1" + b"}" * 401,
    ],
)
def test_a_malformed_line_is_one_clear_error(line: bytes) -> None:
    with pytest.raises(RecordError) as error:
        decode(line)
    assert "\n" not in str(error.value)
    assert 10 < len(str(error.value)) < 300


tagged = st.dictionaries(st.sampled_from(["$", "v", "b64", "edges"]), st.sampled_from(["int", "text", "map", "histogram", 1, None, [[]]]))
wires = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4), lambda inner: tagged | st.lists(inner), max_leaves=4
)


@given(st.binary(max_size=60) | wires.map(lambda values: orjson.dumps({"kind": "metrics", "seq": 1, "time": 1, "values": values})))
def test_no_line_raises_anything_else(line: bytes) -> None:
    with contextlib.suppress(RecordError):
        decode(line)


def test_params_nested_too_deep_are_one_clear_error() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = {"in": deep}
    with pytest.raises(RecordError, match="hyperparameters record cannot be written"):
        encode(Hyperparameters.model_construct(time=0, values=deep), 0)


def test_a_param_that_is_no_value_is_named() -> None:
    with pytest.raises(RecordError, match="a set cannot be recorded"):
        to_wire({"x": {1}})


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValidationError, match="same length"):
        Points(time=0, name="x", times=[1, 2], values=[1.0])


def test_format_version_1_is_read_and_written_for_ever() -> None:
    lines = GOLDEN.read_bytes().splitlines(keepends=True)
    assert {json.loads(line)["kind"] for line in lines} == set(RECORD_TYPES)
    for line in lines:
        seq, record = decode(line)
        assert not isinstance(record, UnknownRecord)
        assert encode(record, seq) == line


def test_the_golden_lines_mean_what_they_meant() -> None:
    """Values, spelled out: a codec that changed both ways at once would not pass."""
    read = [decode(line)[1] for line in GOLDEN.read_bytes().splitlines()]
    start = next(r for r in read if isinstance(r, RunStarted))
    assert (start.id, start.project, start.tags) == ("0123456789abcdef0123456789abcdef", "digits", {"base": None, "owner": "Zoë"})
    assert next(r for r in read if isinstance(r, Hyperparameters) and r.sources).sources == {
        "lr": "command line",
        "model": {"depth": "default"},
    }
    params = next(r for r in read if isinstance(r, Hyperparameters)).values
    assert math.isnan(params["nan"])
    assert params["infs"] == [math.inf, -math.inf]
    assert params["big"] == 2**64
    assert params["surrogate"] == "\ud800!"
    assert params["$"] == {"$": "a user's own"}
    assert type(params["one"]) is float
    points = next(r for r in read if isinstance(r, Points))
    assert points.steps == [None, 2, 2.5, -1]
    assert points.values[1:] == [True, "text", 7]


def test_the_schema_of_one_kind_refuses_another() -> None:
    validator = jsonschema.Draft202012Validator(json_schema("metrics"))
    assert validator.is_valid(json.loads(encode(Metrics(time=0, values={"x": 1}), 0)))
    assert not validator.is_valid({"kind": "points", "seq": 0, "time": 0, "values": {}})
    assert not validator.is_valid({"kind": "metrics", "time": 0, "values": {}})

"""Lines read straight into points: what is taken that way is what the codec says, and what the codec refuses is never taken."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.errors import RecordError
from multitrack.records import Metrics, Points, decode, encode
from multitrack.records.rows import read_column, read_row
from multitrack.records.sameness import keys_of
from multitrack.state import RunState, fold, take_line
from support import strategies as our

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False) | st.sampled_from(["", "metrics", "user", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["$", "a", "v"]), inner | st.sampled_from(["nan", "inf", "int", "map"]), max_size=2)
    ),
    max_leaves=4,
)
"""What may stand in a line, whoever wrote it."""


def points_of(state: RunState) -> dict[str, Any]:
    return {
        name: (series.source, keys_of(series.steps), keys_of(series.times), keys_of(series.values))
        for name, series in state.metrics.items()
    }


def by_the_codec(line: bytes) -> RunState | None:
    try:
        return fold([decode(line)[1]])
    except RecordError:
        return None


def check(line: bytes) -> bool:
    """Whether the line was taken; if it was, the codec says the same of it, the order of the metrics included."""
    state = RunState()
    if not take_line(state, line):
        assert state == RunState(), "what is not taken leaves no trace"
        return False
    expected = by_the_codec(line)
    assert expected is not None, "the codec refuses this line"
    assert list(points_of(state).items()) == list(points_of(expected).items())
    return True


@given(our.metrics | our.points)
def test_a_line_means_what_its_record_means(record: Metrics | Points) -> None:
    check(encode(record, 3).rstrip(b"\n"))


@given(our.metrics | our.points, st.data())
def test_a_line_that_somebody_has_changed(record: Metrics | Points, data: st.DataObject) -> None:
    wire = orjson.loads(encode(record, 3))
    field = data.draw(st.sampled_from([*wire, "more"]))
    if data.draw(st.booleans()) and field in wire:
        del wire[field]
    elif isinstance(inner := wire.get(field), dict | list) and inner and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(range(len(inner)) if isinstance(inner, list) else list(inner)))
        inner[key] = data.draw(anything)
    else:
        wire[field] = data.draw(anything)
    try:
        line = orjson.dumps(wire)
    except TypeError:  # an int beyond 64 bits: none of the lines that can be
        return
    check(line)
    if cut := data.draw(st.integers(0, 8)):
        assert not check(line[:-cut])


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"metrics","seq":1,"time":5,"step":2,"values":{"loss":0.5,"n":3,"ok":true,"word":"x"}}',
        b'{"kind":"metrics","seq":1,"time":5,"values":{"loss":0.5}}',
        b'{"kind":"metrics","seq":1,"time":5,"step":0.5,"values":{"cpu":1.0},"source":"system"}',
        b'{"kind":"metrics","seq":1,"time":5,"values":{"cpu":1.0},"source":"system"}',
        b'{"kind":"metrics","seq":1,"time":5,"step":2,"values":{"loss":{"$":"nan"},"high":{"$":"-inf"}}}',
        b'{"kind":"metrics","seq":1,"time":5,"step":2,"values":{}}',
        b'{"kind":"points","seq":1,"time":5,"name":"a","steps":[1,null,0.5],"times":[1,2,3],"values":[1,0.5,"x"]}',
        b'{"kind":"points","seq":1,"time":5,"name":"a","times":[1],"values":[true],"source":"system"}',
        b'{"kind":"points","seq":1,"time":5,"name":"a","times":[],"values":[]}',
    ],
)
def test_the_usual_lines_are_taken(line: bytes) -> None:
    assert check(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"metrics","seq":1,"time":5,"step":true,"values":{"loss":0.5}}',
        b'{"kind":"metrics","seq":1,"time":5,"values":{"$":"nan"}}',
        b'{"kind":"metrics","seq":1,"time":5,"values":{"h":{"$":"histogram","edges":[],"counts":[]}}}',
        b'{"kind":"metrics","seq":1,"time":5,"values":{"loss":null}}',
        b'{"kind":"metrics","seq":1,"time":5.0,"values":{"loss":1}}',
        b'{"kind":"metrics","seq":1,"time":5,"values":{"loss":1},"more":1}',
        b'{"kind":"metrics","kind":"summary","seq":1,"time":5,"values":{"loss":1}}',
        b'{"kind":"points","seq":1,"time":5,"name":"a","times":[1,2],"values":[1]}',
        b'{"kind":"points","seq":1,"time":5,"name":"a","steps":[true],"times":[1],"values":[1]}',
        b'{"kind":"points","seq":1,"time":5,"name":{"$":"text","b64":"7aCA"},"times":[1],"values":[1]}',
        b'{"kind":"points","seq":1,"time":5,"name":"a","times":[1],"values":[{"$":"int","v":"18446744073709551616"}]}',
        b'{"kind":"metrics_of_a_kind","seq":1,"time":5,"values":{"loss":1}}',
        b'{"kind":"metrics",',
        b"",
    ],
)
def test_anything_unusual_is_left_to_the_codec(line: bytes) -> None:
    assert read_row(line) is None
    assert read_column(line) is None

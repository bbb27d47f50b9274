"""What users hand over becomes what records hold, and the hot path writes what the codec would."""

from __future__ import annotations

import decimal
import enum
import fractions
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.params import to_params
from multitrack.records import Histogram
from multitrack.records.sameness import same
from multitrack.values import to_artifact_name, to_microseconds, to_point, to_step, to_tags
from support.strategies import param_values, values


class Colour(enum.IntEnum):
    RED = 1


class Word(enum.StrEnum):
    YES = "yes"


class Scalar:
    """As torch and jax have them."""

    shape = ()

    def __init__(self, value: Any) -> None:
        self._value = value

    def item(self) -> Any:
        return self._value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (3, 3),
        (0.5, 0.5),
        ("text", "text"),
        (math.inf, math.inf),
        (10**400, 10**400),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.float16(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int64(3), 3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.bool_(True), True),
        (np.str_("text"), "text"),
        (np.array(0.5), 0.5),
        (np.array([0.5]), 0.5),
        (np.array([[3]]), 3),
        (Scalar(0.5), 0.5),
        (Scalar(True), True),
        (Scalar(np.float32(0.5)), 0.5),
        (Colour.RED, 1),
        (Word.YES, "yes"),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 2), 0.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_points(value: Any, expected: Any) -> None:
    point = to_point("a", value)
    assert type(point) is type(expected)
    assert point == expected


def test_a_nan_stays_one() -> None:
    assert math.isnan(to_point("a", np.float32("nan")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [None, {}, [], (1,), b"x", 1j, np.complex128(1), np.array([1, 2]), np.array([]), np.datetime64("2020-01-01"), object()],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_point(value: Any) -> None:
    with pytest.raises(TypeError, match="metric 'a': "):
        to_point("a", value)


def test_a_number_beyond_the_floats() -> None:
    with pytest.raises(ValueError, match="beyond the floats"):
        to_point("a", fractions.Fraction(10**400))


@given(values)
def test_what_a_record_may_hold_stays_as_it_is(value: Any) -> None:
    assert same(to_point("a", value), value)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (None, None),
        (3, 3),
        (-3, -3),
        (0.5, 0.5),
        (10**30, 10**30),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (Scalar(7), 7),
        (np.array([7]), 7),
        (Colour.RED, 1),
    ],
)
def test_steps(step: Any, expected: Any) -> None:
    found = to_step(step)
    assert type(found) is type(expected)
    assert found == expected


@pytest.mark.parametrize(
    "step", ["1", True, [1], {}, np.array([1, 2]), np.str_("1"), Scalar(True), 1j, object()], ids=lambda value: type(value).__name__
)
def test_what_is_no_step(step: Any) -> None:
    with pytest.raises(TypeError, match="step must be an int or a float"):
        to_step(step)


@pytest.mark.parametrize("step", [math.nan, -math.inf, np.float32("nan"), Scalar(math.inf)])
def test_steps_are_finite(step: Any) -> None:
    with pytest.raises(ValueError, match="step must be finite"):
        to_step(step)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (0, 0),
        (1.5, 1_500_000),
        (np.float64(1.5), 1_500_000),
        (np.int64(2), 2_000_000),
        (-1.5, -1_500_000),
        (datetime(1970, 1, 2, tzinfo=UTC), 86_400_000_000),
        (datetime(1970, 1, 1, 1, 0, 0, 1, tzinfo=timezone(timedelta(hours=1))), 1),
        (datetime.fromtimestamp(1_700_000_000.25), 1_700_000_000_250_000),
    ],
)
def test_times(time: Any, expected: int) -> None:
    assert to_microseconds(time) == expected


@pytest.mark.parametrize("time", [1.7e12, 1e300, math.nan, math.inf, -1e12, datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))])
def test_times_that_no_date_can_say(time: Any) -> None:
    with pytest.raises(ValueError, match="time"):
        to_microseconds(time)


@given(st.dictionaries(st.text(st.characters()), param_values, max_size=4))
def test_params_that_a_record_may_hold_stay_as_they_are(params: dict[str, Any]) -> None:
    assert same(to_params(params), params)


def test_params_of_other_types() -> None:
    given = {
        "tuple": (1, (2, 3)), "set": {3, 1, 2}, "frozen": frozenset({"a"}), "range": range(3),
        "path": Path("/data/x"), "pure": PurePosixPath("a/b"),
        "numpy": np.float32(0.5), "int": np.int64(3), "bool": np.bool_(False), "one": np.array([7]), "enum": Word.YES, "key": {Word.YES: 1},
        "decimal": decimal.Decimal("0.5"), "none": None, "nan": math.nan, "empty": {}, "list": [],
    }  # fmt: skip
    expected = {
        "tuple": [1, [2, 3]], "set": [1, 2, 3], "frozen": ["a"], "range": [0, 1, 2], "path": "/data/x", "pure": "a/b",
        "numpy": 0.5, "int": 3, "bool": False, "one": 7, "enum": "yes", "key": {"yes": 1},
        "decimal": 0.5, "none": None, "nan": math.nan, "empty": {}, "list": [],
    }  # fmt: skip
    assert same(to_params(given), expected)


def test_one_object_in_two_places_is_no_circle() -> None:
    shared = {"lr": 0.1}
    assert to_params({"a": shared, "b": [shared, shared]}) == {"a": shared, "b": [shared, shared]}


def test_tags() -> None:
    assert to_tags(["a", "b"]) == {"a": None, "b": None}
    assert to_tags({"team": "vision", "base": None}) == {"team": "vision", "base": None}
    assert to_tags(name for name in ("a",)) == {"a": None}
    assert [type(name) for name in to_tags([Word.YES])] == [str]


@pytest.mark.parametrize(
    ("name", "expected"), [("a", "a"), ("a/b.pt", "a/b.pt"), ("./a//b/", "a/b"), ("a b#é", "a b#é"), ("..a/b..", "..a/b..")]
)
def test_artifact_names(name: str, expected: str) -> None:
    assert to_artifact_name(name) == expected


@pytest.mark.parametrize("name", ["", ".", "/", "/a", "..", "../x", "a/../..", "a/../b", "a\0"])
def test_artifact_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(ValueError, match="relative path inside the run"):
        to_artifact_name(name)


def test_histograms_pass() -> None:
    histogram = Histogram(edges=[0.0, 1.0], counts=[3])
    assert to_point("a", histogram) is histogram

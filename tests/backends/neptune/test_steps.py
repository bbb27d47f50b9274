"""Steps as Neptune takes them, and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack_neptune.steps import original, place

STEPS = st.none() | st.integers(-(10**300), 10**300) | st.floats() | st.integers(0, 50) | st.integers(0, 200).map(lambda n: n / 4)


@pytest.mark.parametrize("step", [0, 1, 0.5, 10**12 - 1, 0.000001])
def test_an_ordinary_step_stays_where_it_is(step: float) -> None:
    assert place(step, None) == (step, None)


@pytest.mark.parametrize(
    ("step", "last", "stands"),
    [
        (1, 1, 2),
        (0, 3.5, 4),
        (None, None, 0),
        (None, 7, 8),
        (-1, None, 0),
        (10**12, 5, 6),
        (0.1234567, 0, 1),
        (2.0, None, 0),
        (math.nan, 1, 2),
    ],
)
def test_any_other_stands_at_the_next_whole_number(step: float | None, last: float | None, stands: float) -> None:
    assert place(step, last)[0] == stands
    assert place(step, last)[1] is not None


@given(st.lists(STEPS, max_size=30))
def test_every_step_comes_back_and_where_points_stand_only_grows(steps: list[float | None]) -> None:
    last = None
    for step in steps:
        stands, text = place(step, last)
        assert last is None or stands > last
        back = original(float(stands), text)
        assert (back, type(back)) == (step, type(step)) or (step is not None and math.isnan(step) and back is not None and math.isnan(back))
        last = stands

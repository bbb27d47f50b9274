"""Where a run stands, from what its config says and the number of its lines."""

from __future__ import annotations

import pytest

from multitrack.backend import Entry
from multitrack.records import Metrics
from multitrack_wandb.positions import Counts, Mark, settle, write_position

START = Mark(Counts(10, 2, 3), 19, {"a": 4})
END = Mark(Counts(15, 2, 4), 30, {"a": 9, "b": 0})


def entry(writer: str, seq: int) -> Entry:
    return Entry(writer, seq, Metrics(time=0, values={"loss": 1.0}))


@pytest.mark.parametrize(
    ("counts", "mark", "beyond"),
    [
        (Counts(10, 2, 3), START, Counts()),
        (Counts(12, 2, 3), START, Counts(2)),
        (Counts(15, 2, 3), START, Counts(5)),
        (Counts(15, 2, 4), END, Counts()),
        (Counts(15, 3, 4), END, Counts(0, 1)),
    ],
    ids=["nothing new", "a part", "all rows, not all lines", "all", "more"],
)
def test_the_counts_tell_which_mark_is_reached(counts: Counts, mark: Mark, beyond: Counts) -> None:
    assert settle(write_position(START, END), counts, 30) == (mark, beyond)


def test_of_an_upload_that_has_only_begun_the_start_is_known() -> None:
    assert settle(write_position(START), Counts(11, 2, 3), 20) == (START, Counts(1))


@pytest.mark.parametrize("said", [None, "", "[]", "{", '{"start": 3}', '{"start": {"lines": [1], "step": 0, "ends": {}}}', 7])
def test_a_run_of_somebody_elses_goes_on_where_it_is(said: object) -> None:
    assert settle(said, Counts(5, 1, 0), 44) == (Mark(Counts(5, 1, 0), 44), Counts())


def test_a_run_that_lost_lines_goes_on_where_it_is() -> None:
    assert settle(write_position(START, END), Counts(3, 0, 0), 2) == (Mark(Counts(3, 0, 0), 2, {"a": 4}), Counts())


def test_a_mark_holds_what_came_before_it() -> None:
    assert END.holds(entry("a", 9))
    assert not END.holds(entry("a", 10))
    assert not END.holds(entry("c", 0))
    assert END.after([entry("a", 11), entry("c", 0), entry("b", 0)]) == {"a": 11, "b": 0, "c": 0}

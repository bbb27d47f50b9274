"""What is known to go wrong with exports, one by one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from support.neptune_exports import CREATED, Export, Row, file, point, scalar, sys_2x, sys_3x, us
from support.neptune_reading import Reading

Read = Callable[..., Reading]
T = CREATED + timedelta(seconds=1)
PNG = b"\x89PNG\r\n\x1a\n"


# -- 1: series of Neptune 2.x hold the exporting machine's local time


def local(moment: datetime, zone: str) -> datetime:
    """Return a time as the exporter writes it."""
    return moment.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Warsaw", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"])
def test_times_are_set_right_in_summer_and_winter(export: Export, read: Read, zone: str) -> None:
    moments = [datetime(2025, month, 15, hour, 0, 1, tzinfo=UTC) for month in range(1, 13) for hour in (0, 12)]
    rows = [point("loss", step, local(moment, zone), 1.0) for step, moment in enumerate(moments)]
    out = [point("monitoring/0a1b2c3d/stdout", 0, local(moments[0], zone), "hi\n", "string_series")]
    export.run("R-1", [sys_2x("R-1", created=moments[0]), rows, out])
    state = read(source_tz=zone).state("R-1")

    assert list(state.metrics["loss"].times) == [us(moment) for moment in moments]
    assert state.console[0].time == us(moments[0])
    assert state.started == us(moments[0])  # was right all along


def test_points_on_both_sides_of_a_change_of_clocks(export: Export, read: Read) -> None:
    change = datetime(2025, 3, 30, 1, 0, tzinfo=UTC)  # Warsaw: 02:00 becomes 03:00
    moments = [change + timedelta(minutes=minutes) for minutes in range(-40, 41, 10)]
    export.run("R-1", [sys_2x("R-1"), [point("loss", step, local(at, "Europe/Warsaw"), 1.0) for step, at in enumerate(moments)]])

    assert list(read(source_tz="Europe/Warsaw").state("R-1").metrics["loss"].times) == [us(moment) for moment in moments]


def test_scale_has_the_right_times(export: Export, read: Read) -> None:
    export.run("r", [sys_3x("r"), [point("loss", 0, T, 1.0)]])

    assert list(read(source_tz="America/New_York").state("r").metrics["loss"].times) == [us(T)]


@pytest.mark.parametrize(("zone", "offset"), [("America/New_York", "-04:00"), ("Asia/Kathmandu", "+05:45"), ("Asia/Tokyo", "+09:00")])
def test_a_shift_is_noticed(export: Export, read: Read, zone: str, offset: str) -> None:
    usage = [point("monitoring/0a1b2c3d/cpu", 0, local(T, zone), 1.0)]
    backdated = [point("loss", 0, datetime(2020, 1, 1, tzinfo=UTC), 1.0)]  # by the user: tells nothing
    export.run("R-1", [sys_2x("R-1"), [*backdated, *usage]])

    (notice,) = read().notices("R-1")
    assert offset in notice
    assert not read(source_tz=zone).notices("R-1")


@pytest.mark.parametrize("first", [timedelta(seconds=3), timedelta(minutes=7), timedelta(minutes=15), timedelta(hours=3, minutes=5)])
def test_points_that_come_when_they_may_are_no_shift(export: Export, read: Read, first: timedelta) -> None:
    export.run("R-1", [sys_2x("R-1", running_time=5 * 3600.0), [point("loss", 0, CREATED + first, 1.0)]])

    assert not read().notices("R-1")


def test_a_run_that_may_have_waited_for_an_hour(export: Export, read: Read) -> None:
    export.run("R-1", [sys_2x("R-1", running_time=2 * 3600.0), [point("loss", 0, CREATED + timedelta(hours=1), 1.0)]])

    (notice,) = read().notices("R-1")
    assert "begin +01:00 hours from its creation: if that is not so" in notice


def test_a_shift_is_noticed_where_nothing_tells_of_the_end(export: Export, read: Read) -> None:
    rows = [row for row in sys_2x("R-1") if row["attribute_path"] != "sys/running_time"]
    export.run("R-1", [rows, [point("loss", 0, CREATED + timedelta(hours=2), 1.0)]])

    (notice,) = read().notices("R-1")
    assert "+02:00" in notice


# -- 2: the step of a file in a series of 2.x is its position


def test_positions_are_said_to_be_positions(export: Export, read: Read) -> None:
    export.content("acme/vision/R-1/img/0.png", PNG)
    export.run("R-1", [sys_2x("R-1"), [file("img", "acme/vision/R-1/img/0.png", "file_series", 0)]])

    (notice,) = read().notices("R-1")
    assert "'img'" in notice
    assert "positions" in notice


# -- 3: 2.x: the commit is lost, but for the name of a file


def test_the_pushed_commit_and_what_was_changed_since(export: Export, read: Read) -> None:
    sha = "0123456789abcdef0123456789abcdef01234567"
    for name, content in (("diff", b"diff --git a/x b/x\n"), (f"upstream_diff_{sha}", b"diff --git a/y b/y\n")):
        export.content(f"acme/vision/R-1/source_code/{name}", content)
    rows = [file(f"source_code/{name}", f"acme/vision/R-1/source_code/{name}") for name in ("diff", f"upstream_diff_{sha}")]
    export.run("R-1", [sys_2x("R-1"), rows])
    state = read().state("R-1")

    assert state.code is not None
    assert (state.code.commit, state.code.diff, state.code.omitted) == (sha, "diff --git a/y b/y\n", [])
    assert "source_code/diff" in state.artifacts  # against a commit that nobody knows any more


# -- 4: 3.x: rows without anything in them, and paths with two types


def test_rows_without_a_value_are_no_attributes(export: Export, read: Read) -> None:
    nothing: list[Row] = [
        {"attribute_path": "lr", "attribute_type": kind} for kind in ("float", "int", "string", "bool", "datetime", "string_set", "file")
    ]
    export.run("r", [sys_3x("r") + nothing, [{"attribute_path": "loss", "attribute_type": "float_series"}, point("loss", 1, T, 2.0)]])
    state = read().state("r")

    assert (state.params, list(state.metrics["loss"].values), state.artifacts) == ({}, [2.0], {})
    assert not read().notices("r")


def test_a_point_without_its_value_is_said_to_be_lost(export: Export, read: Read) -> None:
    export.run("r", [sys_3x("r"), [point("loss", 0, T, None), point("loss", 1, T, 1.0)]])

    assert read().notices("r") == ["1 point was exported without a value, of 'loss'"]


def test_both_types_of_a_path_are_kept(export: Export, read: Read) -> None:
    rows = [scalar("x", 1), scalar("x", "one"), scalar("a", 1), scalar("a/b", 2)]
    series = [point("x", 0, T, 1.5), point("x", 0, T, "text", "string_series")]
    export.run("r", [sys_3x("r") + rows, series])
    state = read().state("r")

    assert state.params == {"x": 1, "x:string": "one", "a": {"b": 2}, "a:int": 1}
    assert {name: list(series.values) for name, series in state.metrics.items()} == {"x": [1.5], "x:string_series": ["text"]}


def test_files_whose_paths_collide_are_named(export: Export, read: Read) -> None:
    export.content("r/a_b", b"one of them")
    export.run("r", [sys_3x("r"), [file("a.b", "r/a_b"), file("a_b", "r/a_b")]])

    (notice,) = read().notices("r")
    assert "'a.b' and 'a_b'" in notice


# -- 5: 3.x: a fork holds its own points only


def test_a_fork_of_a_fork_is_whole(export: Export, read: Read) -> None:
    def series(steps: range, value: float) -> list[Row]:
        own = [point("runtime/stdout", step, T, str(value), "string_series") for step in steps]
        return (
            [point("loss", step, T, value) for step in steps]
            + [point("note", step, T, str(value), "string_series") for step in steps]
            + own
        )

    def forked(parent: str, step: float) -> list[Row]:
        return [scalar("sys/forking/parent", parent), scalar("sys/forking/step", step)]

    export.run("root", [sys_3x("root"), series(range(10), 0.0)])
    export.run("child", [sys_3x("child") + forked("root", 4.0), series(range(5, 10), 1.0)])
    export.run("grandchild", [sys_3x("grandchild") + forked("child", 6.5), series(range(7, 9), 2.0)])
    export.run("early", [sys_3x("early") + forked("child", 2.0), series(range(3, 4), 3.0)])
    reading = read()
    refs = reading.refs()

    assert refs["grandchild"].parent == refs["child"].id
    assert reading.state("grandchild").parent == refs["child"].id
    assert list(reading.state("child").metrics["loss"].values) == [0.0] * 5 + [1.0] * 5
    grandchild = reading.state("grandchild")
    assert list(grandchild.metrics["loss"].steps) == list(range(9))
    assert list(grandchild.metrics["loss"].values) == [0.0] * 5 + [1.0] * 2 + [2.0] * 2
    assert list(grandchild.metrics["note"].values) == ["0.0"] * 5 + ["1.0"] * 2 + ["2.0"] * 2
    assert [line.text for line in grandchild.console] == ["2.0", "2.0"]  # what the others printed is theirs
    assert list(reading.state("early").metrics["loss"].values) == [0.0] * 3 + [3.0]


def test_a_fork_whose_parent_is_not_there(export: Export, read: Read) -> None:
    export.run(
        "child", [[*sys_3x("child"), scalar("sys/forking/parent", "gone"), scalar("sys/forking/step", 4.0)], [point("m", 5, T, 1.0)]]
    )
    reading = read()

    assert reading.refs()["child"].parent is None
    assert reading.state("child").tags["sys/forking/parent"] == "gone"
    assert "'gone', which is not in this export" in reading.notices("child")[0]


def test_forks_in_a_circle_end(export: Export, read: Read) -> None:
    for run, parent in (("a", "b"), ("b", "a"), ("c", "c")):
        rows = [scalar("sys/forking/parent", parent), scalar("sys/forking/step", 4.0)]
        export.run(run, [sys_3x(run) + rows, [point("m", 5, T, 1.0)]])

    assert all(len(read().state(run).metrics["m"]) == 1 for run in "abc")


# -- 6: what the exporter did not get


def test_what_the_exporter_noted_is_told(export: Export, read: Read) -> None:
    export.run("R-1", [[*sys_2x("R-1"), scalar("there", 1)]])
    entries = [
        {"project_id": export.project, "run_id": run, "attribute_path": path, "attribute_type": None, "exception": error}
        for run, path, error in (
            ("R-1", "metrics/gone", "NeptuneException"), ("R-1", "there", "NeptuneException"), ("R-1", None, "OSError"),
            ("R-9", "x", "OSError"), ("R-1", "metrics/gone", "NeptuneException"),
        )
    ]  # fmt: skip
    (export.root.parent / "neptune_exporter_errors.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + '{"torn')
    reading = read()

    assert reading.notices("R-1") == [
        "neptune-exporter could not fetch 'metrics/gone' (NeptuneException)",
        "neptune-exporter could not fetch a whole group of attributes (OSError)",
    ]
    elsewhere, torn = reading.source.notices()
    assert "'R-9' of 'acme/vision'" in elsewhere
    assert "1 lines" in torn


# -- 7: any order, any number of parts, any id


def test_rows_in_any_order_over_several_parts(export: Export, read: Read) -> None:
    told = [scalar(f"p/{number}", number) for number in range(50)]
    words = [point("monitoring/0a1b2c3d/stdout", step, T, str(step) + " \n"[step % 2], "string_series") for step in range(100)]
    series = [point(f"m/{number}", step, T, float(step)) for number in range(7) for step in range(40)]
    tidy = [*sys_2x("R-1"), *told, *words, *series]
    mixed = random.Random(7).sample(tidy, len(tidy))
    export.run("R-1", [tidy])
    batches = [mixed[start : start + 30] for start in range(0, len(mixed), 30)]
    other = Export(export.root.parent / "mixed")
    other.run("R-1", batches[:4], batches[4:9], batches[9:])
    one, two = read().state("R-1"), Reading(other.root).state("R-1")

    assert (two.params, two.name, two.started, two.user) == (one.params, one.name, one.started, one.user)
    assert [line.text for line in two.console] == [line.text for line in one.console] == [f"{step} {step + 1}" for step in range(0, 100, 2)]
    assert two.metrics.keys() == one.metrics.keys()
    for name, series in one.metrics.items():
        assert sorted(zip(two.metrics[name].steps, two.metrics[name].values, strict=True)) == list(
            zip(series.steps, series.values, strict=True)
        )


@pytest.mark.parametrize("run", ["a_part_0", "my run #1", "x_part_1_part_0", "ü/..", "a.b:c"])
def test_any_id(export: Export, read: Read, run: str) -> None:
    export.run(run, [sys_3x(run), [point("m", 0, T, 1.0)]], [[point("m", 1, T, 2.0)]])

    assert list(read().refs()) == [run]
    assert list(read().state(run).metrics["m"].values) == [1.0, 2.0]

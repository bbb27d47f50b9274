"""The 1.x client's operation log: read whole, torn, with gaps, and with pieces that are none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from multitrack_neptune.offline.log import Log
from multitrack_neptune.offline.places import find_containers
from multitrack_neptune.offline.replay import Key, blocks, survey

UUID = "34e85620-af05-49da-8d12-cdae94af775f"


def operation(version: int, kind: str, path: str, **body: Any) -> str:
    return json.dumps({"obj": {"type": kind, "path": path.split("/"), **body}, "version": version, "at": 1_700_000_000.5 + version})


def floats(version: int, path: str, *points: tuple[float | None, float], ts: float = 1_700_000_000.25) -> str:
    return operation(version, "LogFloats", path, values=[{"value": value, "step": step, "ts": ts} for step, value in points])


def write(folder: Path, lines: Iterable[str], *, put: int | str | None = None, first: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines)
    (folder / f"data-{first}.log").write_text(text + "\n" if text.endswith("}") else text)
    if put is not None:
        (folder / "last_put_version").write_text(str(put))
    return folder


def test_versions_run_through_all_files_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for first in (1, 3, 11):
        write(tmp_path, [floats(first, "m", (first, 1.0)), floats(first + 1, "m", (first + 1, 1.0))], first=first)
    log = Log(tmp_path)
    assert [one.version for one in log] == [1, 2, 3, 4, 11, 12]
    assert (log.shortfall.gaps, log.shortfall.lost) == (6, 6)


def test_a_torn_end_is_counted_as_what_was_lost_and_not_twice(tmp_path: Path) -> None:
    whole = [floats(number, "m", (number, 1.0)) for number in range(1, 4)]
    log = Log(write(tmp_path, [*whole, whole[0][:40]], put=10))
    assert len(list(log)) == 3
    assert log.shortfall.lost == 7
    assert list(log.shortfall.lines("run")) == ["7 of 10 operations that the client had accepted never reached run: the process was killed"]


def test_damage_in_the_middle_costs_only_what_is_damaged(tmp_path: Path) -> None:
    lines = [floats(number, "m", (number, 1.0)) for number in range(1, 5)]
    lines[1] = lines[1][:30] + "\x00" * 20
    log = Log(write(tmp_path, lines, put=4))
    assert [one.version for one in log] == [1, 3, 4]
    assert log.shortfall.lost == 1


def test_objects_need_no_lines_of_their_own(tmp_path: Path) -> None:
    pair = operation(1, "AssignString", "a", value="x{}y\n") + operation(2, "AssignInt", "b", value=3)
    spread = json.dumps(json.loads(operation(3, "AssignInt", "c", value=4)), indent=1)
    assert [one.path for one in Log(write(tmp_path, [pair + spread], put=3))] == ["a", "b", "c"]


def test_a_whole_log_lacks_nothing(tmp_path: Path) -> None:
    log = Log(write(tmp_path, [floats(1, "m", (0, 1.0))], put=1))
    assert list(log)
    assert not list(log.shortfall.lines("run"))


def test_what_a_server_has_acknowledged_is_gone_and_said(tmp_path: Path) -> None:
    log = Log(write(tmp_path, [floats(101, "m", (0, 1.0))], put=101, first=101))
    assert list(log)
    assert list(log.shortfall.lines("run")) == [
        "the first 100 operations are not in run any more: the client deletes what the server has acknowledged"
    ]


@pytest.mark.parametrize("put", ["", "12x", None])
def test_an_offset_file_that_says_nothing_is_no_reason_to_fail(tmp_path: Path, put: str | None) -> None:
    log = Log(write(tmp_path, [floats(1, "m", (0, 1.0))], put=put))
    assert len(list(log)) == 1
    assert log.shortfall.lost == 0


# -- replay


def read(tmp_path: Path, *lines: str) -> tuple[Any, dict[str, tuple[list[Any], list[Any]]]]:
    log = Log(write(tmp_path, lines))
    found = survey(log)
    series: dict[str, tuple[list[Any], list[Any]]] = {}
    for block in blocks(log, found, types=("float_series", "string_series"), chunk=2):
        steps, values = series.setdefault(block.key.path, ([], []))
        steps += block.steps
        values += block.values
    return found, series


def test_a_missing_step_is_the_one_after_the_last(tmp_path: Path) -> None:
    _, series = read(tmp_path, floats(1, "m", (None, 1.0), (None, 2.0), (5.5, 3.0), (None, 4.0)))
    assert series["m"] == ([0, 1, 5.5, 6.5], [1.0, 2.0, 3.0, 4.0])


def test_what_a_server_would_refuse_is_kept(tmp_path: Path) -> None:
    _, series = read(tmp_path, floats(1, "m", (3, 1.0), (1, 2.0), (3, 3.0)))
    assert series["m"] == ([3, 1, 3], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("taken_away", [operation(2, "ClearFloatLog", "m"), operation(2, "DeleteAttribute", "m")])
def test_points_before_a_series_was_cleared_do_not_count(tmp_path: Path, taken_away: str) -> None:
    _, series = read(tmp_path, floats(1, "m", (0, 1.0)), taken_away, floats(3, "m", (0, 2.0)))
    assert series["m"] == ([0], [2.0])


def test_a_deleted_series_that_never_came_again_is_not_there(tmp_path: Path) -> None:
    found, series = read(tmp_path, floats(1, "m", (0, 1.0)), operation(2, "DeleteAttribute", "m"))
    assert not found.series
    assert not series


def test_single_values_and_sets(tmp_path: Path) -> None:
    found, _ = read(
        tmp_path,
        operation(1, "AssignInt", "n", value=1),
        operation(2, "AssignInt", "n", value=2),
        operation(3, "AddStrings", "sys/tags", values=["b", "a"]),
        operation(4, "RemoveStrings", "sys/tags", values=["b"]),
        operation(5, "AssignFloat", "gone", value=2.0),
        operation(6, "DeleteAttribute", "gone"),
        operation(7, "ConfigFloatSeries", "m", min=0, max=1, unit=None),
        operation(8, "CopyAttribute", "copy", container_id=UUID),
        operation(9, "SomethingNew", "x"),
    )
    assert found.scalars == {Key("n", "int"): 2, Key("sys/tags", "string_set"): ["a"]}
    assert found.copied == ["copy"]
    assert found.unknown == {"SomethingNew": 1}


# -- places


@pytest.mark.parametrize(
    ("folders", "mode"),
    [
        ([f"offline/run__{UUID}__77__abcdefgh"], "offline"),
        ([f"offline/{UUID}"], "offline"),
        ([f"async/run__{UUID}__77__abcdefgh", f"async/run__{UUID}__78__abcdefgi"], "async"),
        ([f"async/run__{UUID}/exec-0-2023-01-01"], "async"),
        ([f"async/{UUID}/exec-0-2023-01-01", f"async/{UUID}/exec-1-2023-01-02"], "async"),
    ],
)
def test_every_layout_that_clients_have_used(tmp_path: Path, folders: list[str], mode: str) -> None:
    for folder in folders:
        write(tmp_path / ".neptune" / folder, [floats(1, "m", (0, 1.0))], put=1)
    for root in (tmp_path, tmp_path / ".neptune"):
        (container,) = find_containers(root)
        assert (container.id, container.type, container.mode) == (UUID, "run", mode)
        assert len(container.executions) == len(folders)

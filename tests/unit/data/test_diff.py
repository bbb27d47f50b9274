"""What differs between the data of two runs."""

from __future__ import annotations

import pandas as pd

from multitrack.data import diff_data
from multitrack.data.describe import find
from multitrack.data.found import Inquiry
from multitrack.data.record import combine
from multitrack.records import DataFile, DataVersion


def table(frame: pd.DataFrame, name: str = "d") -> DataVersion:
    return combine(DataVersion(time=0, name=name), find(frame)(Inquiry()))


def version(digest: str | None, name: str = "d", **fields: object) -> DataVersion:
    return DataVersion.model_validate({"time": 0, "name": name, "digest": digest, "algorithm": "sha256", **fields})


def test_the_same() -> None:
    one = table(pd.DataFrame({"x": [1]}))
    assert diff_data([one], [one.model_copy(update={"time": 1, "uri": "elsewhere"})]) == []
    assert diff_data([], []) == []


def test_columns() -> None:
    one = table(pd.DataFrame({"x": [1, 2], "y": ["a", "b"], "z": [0, 0]}))
    other = table(pd.DataFrame({"x": [1, 3], "y": ["a", "b"], "new": [1.0, 2.0]}))
    assert [(found.what, found.name, found.change) for found in diff_data([one], [other])] == [
        ("column", "x", "changed"), ("column", "z", "removed"), ("column", "new", "added"),
    ]  # fmt: skip


def test_types_and_rows() -> None:
    found = diff_data([table(pd.DataFrame({"x": [1, 2]}))], [table(pd.DataFrame({"x": [1.0, 2.0, 3.0]}))])
    assert [str(one).split(": ")[0] for one in found] == ["d is changed", "d"]
    assert (found[0].before, found[0].after) == ("2 rows", "3 rows")
    assert (found[1].before or "").endswith("(int64)")
    assert (found[1].after or "").endswith("(float64)")


def test_order_of_columns_alone() -> None:
    frame = pd.DataFrame({"x": [1], "y": [2]})
    [found] = diff_data([table(frame)], [table(frame[["y", "x"]])])
    assert (found.what, found.change) == ("data", "changed")


def test_columns_of_one_name() -> None:
    one = pd.DataFrame([[1, 2]], columns=["a", "a"])
    other = pd.DataFrame([[1, 3]], columns=["a", "a"])
    assert [(found.name, found.change) for found in diff_data([table(one)], [table(other)])] == [("a", "changed")]


def test_data_sets_are_told_by_name_and_role() -> None:
    one = [version("a", role="train"), version("b", role="test"), version("c", name="old")]
    other = [version("a", role="train"), version("B", role="test"), version("c", name="new")]
    assert [(found.data, found.change) for found in diff_data(one, other)] == [
        ("d (test)", "changed"), ("old", "removed"), ("new", "added"),
    ]  # fmt: skip


def test_two_versions_of_one_data_set_in_a_run() -> None:
    found = diff_data([version("a"), version("b")], [version("b"), version("c")])
    assert [(one.change, one.before, one.after) for one in found] == [("changed", "a", "c")]


def test_digests_of_two_kinds_say_nothing_unless_the_version_does() -> None:
    here = version("a", version="md5:1")
    elsewhere = version("1", algorithm="md5", version="md5:1")
    assert diff_data([here], [elsewhere]) == []
    [found] = diff_data([version("a")], [version("1", algorithm="md5")])
    assert str(found) == "d cannot be compared: one digest is sha256, the other md5"
    [found] = diff_data([version(None)], [version(None)])
    assert found.change == "unknown"


def test_files_from_elsewhere() -> None:
    lists = {"a": [DataFile(path="x", size=1, digest="1")], "b": [DataFile(path="x", size=1, digest="2")]}
    found = diff_data([version("a")], [version("b")], files=lambda one: lists[one.digest or ""])
    assert [str(one) for one in found] == ["d: file 'x' is changed: 1 before, 2 now"]

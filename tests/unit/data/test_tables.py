"""Tables: one digest for one content, whichever library holds it and however it is cut."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.data.columns import hash_arrow, hash_numbers, hash_texts
from multitrack.data.describe import find
from multitrack.data.found import Found, Inquiry

MOMENT = dt.datetime(2024, 2, 29, 12, 30, 1, 5)
COLUMNS: dict[str, list[Any]] = {
    "int": [1, -2, 3],
    "float": [1.5, None, -0.0],
    "text": ["a", None, "üñ"],
    "bool": [True, False, True],
    "moment": [MOMENT, None, dt.datetime(1969, 1, 1)],
    "day": [dt.date(2020, 1, 1), dt.date(1960, 1, 2), None],
    "clock": [dt.time(1, 2, 3, 4), None, dt.time(0)],
    "list": [[1, 2], None, []],
    "lists": [[["a"], []], [], [None]],
    "struct": [{"a": 1, "b": "x"}, {"a": 2, "b": None}, None],
    "bytes": [b"\x00\xff", b"", None],
    "money": [decimal.Decimal("1.10"), None, decimal.Decimal("-7.00")],
}


def table(columns: dict[str, list[Any]] = COLUMNS) -> pa.Table:
    return pa.table(columns)


def describe(data: Any) -> Found:
    return find(data)(Inquiry())


def digests(found: Found) -> dict[str, str | None]:
    return {column.name: column.digest for column in found.columns}


@pytest.mark.parametrize(
    "make",
    [lambda: pl.DataFrame(table()), lambda: pd.DataFrame(table().to_pydict()), lambda: table().to_pandas()],
    ids=["polars", "pandas", "arrow to pandas"],
)
def test_libraries_agree(make: Callable[[], Any]) -> None:
    arrow, other = describe(table()), describe(make())
    assert arrow.failure is None
    assert digests(other) == digests(arrow)
    assert (other.digest, other.algorithm, other.rows) == (arrow.digest, "sha256-table", 3)
    assert arrow.digest is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.slice(0, 2),
        lambda t: t.take([1, 0, 2]),
        lambda t: t.drop_columns(["int"]),
        lambda t: t.rename_columns(["INT", *t.column_names[1:]]),
        lambda t: t.select(t.column_names[::-1]),
        lambda t: t.set_column(0, "int", pa.array([1, -2, 4])),
        lambda t: t.set_column(0, "int", pa.array([1, -2, 3], pa.int32())),
        lambda t: t.set_column(1, "float", pa.array([1.5, 0.0, -0.0])),
        lambda t: t.set_column(2, "text", pa.array(["a", "", "üñ"])),
        lambda t: t.set_column(2, "text", pa.array(["aü", None, "ñ"])),
        lambda t: t.set_column(7, "list", pa.array([[1], None, [2]])),
        lambda t: t.set_column(7, "list", pa.array([[1, 2], [], []])),
    ],
    ids=["rows", "order of rows", "a column less", "a name", "order of columns", "a value", "a type", "zero for none", "empty for none",
         "where texts end", "where lists end", "no list for an empty one"],
)  # fmt: skip
def test_what_counts(change: Callable[[pa.Table], pa.Table]) -> None:
    assert describe(change(table())).digest != describe(table()).digest


@pytest.mark.parametrize(
    "change",
    [
        lambda t: pa.concat_tables([t.slice(0, 1), t.slice(1)]),
        lambda t: pa.concat_tables([t.slice(1), t]).slice(2),
        lambda t: pa.concat_tables([t, t.slice(0, 0)]),
        lambda t: t.set_column(2, "text", t["text"].dictionary_encode()),
        lambda t: t.set_column(2, "text", t["text"].cast(pa.large_string())),
        lambda t: t.set_column(2, "text", t["text"].cast(pa.string_view())),
        lambda t: t.set_column(1, "float", pa.array([1.5, float("nan"), -0.0])),
        lambda t: t.set_column(7, "list", t["list"].cast(pa.large_list(pa.int64()))),
        lambda t: t.replace_schema_metadata({"a": "b"}),
        lambda t: t.to_batches()[0],
    ],
    ids=["chunks", "a slice", "an empty chunk", "a dictionary", "large texts", "views", "NaN", "large lists", "metadata", "a batch"],
)
def test_what_does_not_count(change: Callable[[pa.Table], Any]) -> None:
    assert describe(change(table())).digest == describe(table()).digest


@given(st.lists(st.none() | st.text(max_size=5), min_size=1), st.data())
def test_however_it_is_cut(values: list[str | None], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    whole = pa.array(values, pa.string())
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(values)], strict=True)]
    assert hash_arrow(parts).hexdigest() == hash_arrow([whole]).hexdigest() == hash_texts(values).hexdigest()


@given(st.lists(st.floats(allow_nan=True, width=32)))
def test_numpy_and_arrow_agree(values: list[float]) -> None:
    array = np.array(values, np.float32)
    swapped = array.astype(array.dtype.newbyteorder())
    assert hash_numbers(array).hexdigest() == hash_arrow([pa.array(array)]).hexdigest() == hash_numbers(swapped).hexdigest()


def test_more_rows_than_are_converted_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = digests(describe(table()))
    monkeypatch.setattr("multitrack.data.columns._ROWS", 2)
    assert digests(describe(table())) == whole
    assert digests(describe(table().to_pandas())) == whole


def test_pandas_without_pyarrow_agrees() -> None:
    """Numbers, dates and texts need no pyarrow; a column that does has no digest, and the record says what to install."""
    program = """
import sys, json
sys.modules["pyarrow"] = None
import pandas as pd
from multitrack.data.describe import find
from multitrack.data.found import Inquiry
frame = pd.DataFrame({"int": [1, -2, 3], "float": [1.5, None, -0.0], "text": ["a", None, "\\u00fc\\u00f1"], "bool": [True, False, True]})
found = find(frame)(Inquiry())
lists = find(pd.DataFrame({"list": [[1, 2], None]}))(Inquiry())
print(json.dumps([[column.digest for column in found.columns], lists.digest, lists.failure]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plain, no_digest, failure = json.loads(done.stdout)
    assert plain == [digests(describe(table()))[name] for name in ("int", "float", "text", "bool")]
    assert no_digest is None
    assert "a list" in failure


def test_an_index_counts_unless_it_is_the_rows_numbers() -> None:
    frame = pd.DataFrame({"x": [1, 2, 3]})
    chosen = frame[frame["x"] > 1]
    assert [column.name for column in describe(frame).columns] == ["x"]
    assert [column.name for column in describe(chosen).columns] == ["index", "x"]
    assert [column.name for column in describe(frame.set_index(pd.Index(["a", "b", "c"], name="key"))).columns] == ["key", "x"]
    assert describe(chosen.reset_index(drop=True)).digest == describe(pd.DataFrame({"x": [2, 3]})).digest


def test_series_categories_zones_and_columns_without_names() -> None:
    assert describe(pd.Series([1, 2], name="x")).digest == describe(pl.Series("x", [1, 2])).digest
    categories = pd.DataFrame({"text": pd.Categorical(["a", None, "b"])})
    assert describe(categories).digest == describe(pl.DataFrame({"text": pl.Series(["a", None, "b"], dtype=pl.Categorical)})).digest
    zones = pd.DataFrame({"t": pd.to_datetime(["2024-01-01"]).tz_localize("Europe/Berlin").as_unit("us")})
    assert describe(zones).digest == describe(pl.from_pandas(zones)).digest
    assert [column.name for column in describe(pd.DataFrame([[1, 2]])).columns] == ["0", "1"]
    assert describe(pd.DataFrame([[1, 2]], columns=["a", "a"])).failure is None
    assert describe(pd.DataFrame({"x": []})).digest is not None
    assert describe(pl.DataFrame({"x": pl.Series([], dtype=pl.Int64)})).digest == describe(pa.table({"x": pa.array([], pa.int64())})).digest


def test_a_column_of_mixed_values_has_no_digest_and_the_others_do() -> None:
    found = describe(pd.DataFrame({"x": [1, 2], "mixed": [object(), 1]}))
    assert [column.digest is None for column in found.columns] == [False, True]
    assert found.digest is None
    assert (found.failure or "").startswith("column 'mixed': it has no digest: ")


def test_without_reading_the_columns_are_left() -> None:
    found = find(table())(Inquiry(read=False))
    assert (found.digest, found.rows) == (None, 3)
    assert [column.name for column in found.columns] == list(COLUMNS)

"""Arrays, Hugging Face's and MLflow's data sets, and what is no data."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from multitrack.data.describe import find
from multitrack.data.found import Found, Inquiry


def describe(data: Any, **options: Any) -> Found:
    return find(data)(Inquiry(**options))


# -- arrays


def test_an_array() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3)
    found = describe(array)
    assert found.digest == hashlib.sha256(b"<f4 [2, 3]\0" + array.astype("<f4").tobytes()).hexdigest()
    assert (found.algorithm, found.rows, found.size) == ("sha256-array", 2, 24)
    assert found.data_schema == {"dtype": ">f4", "shape": [2, 3]}


@pytest.mark.parametrize(
    "array",
    [np.arange(24).reshape(2, 3, 4), np.array(3.5), np.zeros((0, 3)), np.array(["a", "üü"]), np.array([1 + 2j, 0]),
     np.array(["2024-01-01", "NaT"], "M8[D]"), np.array([True, False]), np.array(["a", "bc"], object)],
    ids=["numbers", "no axis", "empty", "texts", "complex", "dates", "bools", "objects"],
)  # fmt: skip
def test_how_an_array_lies_in_memory_does_not_count(array: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multitrack.data.arrays._PIECE", 20)
    digest = describe(array).digest
    assert digest == describe(array.copy("F")).digest
    assert digest == describe(array.astype(array.dtype.newbyteorder())).digest
    if array.ndim:
        assert digest == describe(np.repeat(array, 2, axis=0)[::2]).digest
        assert array.size == 0 or digest != describe(array[::-1]).digest
    assert digest != describe(array.reshape(1, *array.shape)).digest


def test_several_arrays() -> None:
    found = describe({"x": np.ones((5, 2)), "y": np.arange(5)})
    assert [(column.name, column.type) for column in found.columns] == [("x", "float64[5, 2]"), ("y", "int64[5]")]
    assert found.rows == 5
    assert found.digest != describe({"x": np.ones((5, 2)), "y": np.arange(5)[::-1]}).digest


def test_an_array_on_the_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(1000.0))
    assert describe(np.load(tmp_path / "x.npy", mmap_mode="r")).digest == describe(np.arange(1000.0)).digest


def test_a_tensor() -> None:
    torch = pytest.importorskip("torch")
    assert describe(torch.ones(2, 3, requires_grad=True)).digest == describe(np.ones((2, 3), np.float32)).digest


# -- Hugging Face


def test_a_hugging_face_dataset() -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"x": [1, 2, 3], "y": ["a", "b", "c"]}, split="train")
    found = describe(dataset)
    assert (found.digest, found.algorithm, found.rows) == (dataset._fingerprint, "hugging_face-fingerprint", 3)
    assert [(column.name, column.type) for column in found.columns] == [("x", "int64"), ("y", "string")]
    assert (found.source_type, found.tags) == ("hugging_face", {"hugging_face.split": "train"})
    assert describe(dataset.filter(lambda row: row["x"] > 1)).digest != found.digest


def test_its_rows_are_a_table_like_any_other() -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"x": [1, 2, 3], "y": ["a", "b", "c"]})
    table = describe(pl.DataFrame({"x": [3, 1], "y": ["c", "a"]}))
    chosen = describe(dataset.select([2, 0]), read=True)
    assert (chosen.digest, chosen.algorithm) == (table.digest, "sha256-table")
    assert describe(dataset.select([]), read=True).rows == 0


def test_splits_and_streams() -> None:
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"x": [1]})
    with pytest.raises(TypeError, match="log each of its splits"):
        find(datasets.DatasetDict(train=dataset))
    stream = describe(dataset.to_iterable_dataset())
    assert (stream.digest, stream.failure) == (None, "a streamed data set has no fingerprint")


# -- MLflow


def test_an_mlflow_dataset() -> None:
    """In a process of its own: importing MLflow takes seconds and changes the process."""
    program = """
import json, pandas as pd, mlflow.data
from multitrack.data.describe import find
from multitrack.data.found import Inquiry
dataset = mlflow.data.from_pandas(pd.DataFrame({"x": [1, 2]}), source="https://user:secret@example.com/d.csv", name="d")
found = find(dataset)(Inquiry())
told = [found.digest, found.algorithm, found.uri, found.source_type, found.rows, found.columns[0].name, found.profile]
print(json.dumps([dataset.digest, *told]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    digest, ours, algorithm, uri, source_type, rows, column, profile = json.loads(done.stdout)
    assert (ours, algorithm, source_type, rows, column) == (digest, "mlflow", "http", 2, "x")
    assert profile["num_rows"] == 2
    assert "secret" not in uri
    assert "example.com/d.csv" in uri


# -- what is no data


@pytest.mark.parametrize(
    ("data", "remedy"),
    [
        (3, "a int is no data"),
        ({1, 2}, "a set is no data"),
        (b"x", "a bytes is no data"),
        ([1, 2], "a list is no data"),
        ({"x": [1]}, "maps names to arrays"),
        (pl.LazyFrame({"x": [1]}), "collect"),
        (["s3://b/x"], "log each by itself"),
    ],
)
def test_what_is_no_data(data: Any, remedy: str) -> None:
    with pytest.raises(TypeError, match=remedy):
        find(data)


def test_objects_of_other_types_have_no_digest() -> None:
    with pytest.raises(TypeError, match="where all are texts"):
        describe(np.array([object()]))


def test_subclasses_count() -> None:
    class Frame(pd.DataFrame):
        """Somebody's own."""

    assert describe(Frame({"x": [1]})).digest == describe(pd.DataFrame({"x": [1]})).digest


def test_nothing_is_imported_to_ask() -> None:
    program = (
        "import sys; before = {'pandas', 'polars', 'pyarrow', 'numpy', 'datasets', 'mlflow', 'fsspec', 'torch', 'yaml'}\n"
        "from multitrack.data.describe import find\n"
        "try: find(object())\nexcept TypeError: pass\n"
        "print(before & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

"""A run that people change at a service after it was moved, and that is moved again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import multitrack as mt
from multitrack.journal import Store


@pytest.fixture
def there(tmp_path: Path) -> str:
    """An MLflow database with a run from the store `a`, which was brought into the store `b` as well."""
    address = f"mlflow:sqlite:///{tmp_path}/m.db"
    capture = mt.Capture(code=False, environment=False, system=False, console=False)
    with mt.init("p", "one", dir=tmp_path / "a", tags={"k": "old"}, params={"lr": 0.1}, capture=capture, quiet=True) as run:
        for step in range(5):
            run.log({"loss": step}, step=step)
    assert mt.migrate(f"local:{tmp_path}/a", address).ok
    assert mt.migrate(address, f"local:{tmp_path}/b").ok
    return address


def change(tmp_path: Path, statement: str) -> None:
    with sqlite3.connect(tmp_path / "m.db") as database:
        assert database.execute(statement).rowcount == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "b"])
def test_an_edit_arrives_and_nothing_is_there_twice(tmp_path: Path, there: str, name: str) -> None:
    for value in ("new", "newer"):
        change(tmp_path, f"update tags set value = '{value}' where key = 'k'")
        assert mt.migrate(there, f"local:{tmp_path}/{name}").ok
        with mt.open(f"local:{tmp_path}/{name}") as store:
            (view,) = store.runs()
            assert view.tags == {"k": value}
            assert view.params == {"lr": 0.1}
            assert view.metrics("loss")["value"] == [0, 1, 2, 3, 4]  # ints, as they were recorded
    assert mt.verify(there, f"local:{tmp_path}/{name}").ok


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "b"])
def test_what_was_taken_away_is_refused_where_the_run_is_as_it_was_recorded(tmp_path: Path, there: str, name: str) -> None:
    before = {path: path.read_bytes() for run in Store(tmp_path / name).runs() for path in run.records.glob("*.jsonl")}
    change(tmp_path, "delete from metrics where step = 2")
    change(tmp_path, "update tags set value = 'new' where key = 'k'")  # rows that are gone alone do not show in a listing
    report = mt.migrate(there, f"local:{tmp_path}/{name}")
    assert not report.ok
    assert ("--as-recorded" if name == "b" else "the destination refused") in str(report)
    assert {path: path.read_bytes() for run in Store(tmp_path / name).runs() for path in run.records.glob("*.jsonl")} == before
    assert mt.migrate(there, f"local:{tmp_path}/{name}", as_recorded=True).ok

    assert mt.migrate(there, f"local:{tmp_path}/c").ok  # where nothing of it is, it is as it is there now
    with mt.open(f"local:{tmp_path}/c") as store:
        (view,) = store.runs()
        assert view.metrics("loss")["step"] == [0, 1, 3, 4]

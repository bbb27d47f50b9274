"""Hyperparameters fitted to a service."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from multitrack.adapt import Adapter, Losses, leaves, plant
from multitrack.adapt.names import hash8
from multitrack.backend import Capabilities
from multitrack.records import Hyperparameters, RunUpdated
from support.strategies import FOLDER_LIKE, MLFLOW_LIKE, ROWS_ONLY, entries_of, params, some


def _adapt(held: Capabilities, *values: dict[str, Any]) -> tuple[list[Any], list[str]]:
    adapted = Adapter(held).adapt(entries_of([Hyperparameters(time=0, values=one) for one in values]))
    return [entry.record for entry in adapted.entries], Losses(adapted.losses).lines()


def test_nested_params_stand_under_dotted_names() -> None:
    records, losses = _adapt(ROWS_ONLY, {"model": {"depth": 3, "opt": {"lr": 0.1}}, "layers": [1, {"a": 2}], "none": {}})
    assert records[0].values == {"model.depth": 3, "model.opt.lr": 0.1, "layers": [1, {"a": 2}], "none": "{}"}
    assert losses == ["params: nested params stand under dotted names (2 times)"]


def test_a_dotted_name_and_a_nested_one_stay_apart() -> None:
    records, _ = _adapt(ROWS_ONLY, {"a.b": 1, "a": {"b": 2}})
    assert records[0].values == {"a.b": 1, f"a.b-{hash8('a.b')}": 2}
    records, _ = _adapt(ROWS_ONLY, {"a": {"b": 2}, "a.b": 1})
    assert records[0].values == {"a.b": 2, f"a.b-{hash8('a.b')}": 1}


def test_params_as_text() -> None:
    values = {"s": "text", "b": True, "i": 3, "f": 1.0, "n": None, "nan": math.nan, "l": [1, math.inf, "é"], "e": {}, "big": 10**5000}
    records, losses = _adapt(MLFLOW_LIKE, values)
    texts = records[0].values
    assert len(texts.pop("big")) < 5000
    assert texts == {
        "s": "text", "b": "True", "i": "3", "f": "1.0", "n": "None", "nan": "nan", "l": '[1,{"$":"inf"},"é"]', "e": "{}",
    }  # fmt: skip
    assert losses == ["params: values other than text stand as text (8 times)"]


def test_numbers_that_params_have_no_place_for_stand_as_text() -> None:
    held = Capabilities(finite_params=True, largest_int=2**53)
    values = {"nan": math.nan, "deep": {"inf": -math.inf, "list": [1, 2**60, {"x": math.nan}]}, "ok": {"a": [2**53, 0.5, None, True]}}
    records, losses = _adapt(held, values, {"huge": 10**5000})
    assert records[0].values == {
        "nan": "nan",
        "deep": {"inf": "-inf", "list": [1, str(2**60), {"x": "nan"}]},
        "ok": {"a": [2**53, 0.5, None, True]},
    }
    assert records[1].values["huge"].startswith("0x")
    assert losses == [
        "params: NaN and the infinities stand as text (3 times)",
        "params: ints beyond 2**53 stand as text (2 times)",
    ]
    unchanged = Hyperparameters(time=0, values=values["ok"])
    assert Adapter(held).adapt(entries_of([unchanged])).entries[0].record is unchanged


def test_long_params_are_cut_and_declared() -> None:
    records, losses = _adapt(MLFLOW_LIKE, {"p": "x" * 6001, "q": "x" * 6000})
    assert [len(value) for value in records[0].values.values()] == [6000, 6000]
    assert losses == ["param 'p': only the first 6,000 characters arrive"]


def test_the_first_value_stays_and_the_last_stands_in_a_tag() -> None:
    records, losses = _adapt(MLFLOW_LIKE, {"lr": 1, "same": 2}, {"lr": 1}, {"lr": 3, "same": 2}, {"lr": 3}, {"lr": 1}, {"new": 4})
    assert records == [
        Hyperparameters(time=0, values={"lr": "1", "same": "2"}),
        RunUpdated(time=0, tags={"multitrack.param.lr": "3"}),
        RunUpdated(time=0, tags={"multitrack.param.lr": "1"}),
        Hyperparameters(time=0, values={"new": "4"}),
    ]
    assert "param 'lr': the first value stays, the last one stands in a tag (2 times)" in losses


def test_without_tags_later_values_are_declared_lost() -> None:
    held = replace(ROWS_ONLY, changing_params=False)
    records, losses = _adapt(held, {"lr": 1}, {"lr": 2})
    assert records == [Hyperparameters(time=0, values={"lr": 1})]
    assert losses == ["param 'lr': the first value stays, later ones do not arrive whole"]


def test_sources_that_have_no_place_are_declared() -> None:
    record = Hyperparameters(time=0, values={"lr": 1}, sources={"lr": "default"})
    told = Adapter(replace(ROWS_ONLY, param_sources=False)).adapt(entries_of([record]))
    assert [entry.record for entry in told.entries] == [Hyperparameters(time=0, values={"lr": 1})]
    assert Losses(told.losses).lines() == ["params: where their values come from does not arrive"]
    kept = Adapter(replace(ROWS_ONLY, param_sources=True)).adapt(entries_of([record]))
    assert [entry.record for entry in kept.entries] == [record]
    assert not kept.losses


def test_values_that_python_takes_for_equal_are_changes() -> None:
    records, _ = _adapt(replace(FOLDER_LIKE, tag_length=None), {"a": 1}, {"a": 1.0}, {"a": True})
    assert [[*record.tags.values()] for record in records[1:]] == [["1.0"], ["true"]]


def test_keys_are_fitted_at_every_level() -> None:
    records, _ = _adapt(FOLDER_LIKE, {"a": {"K": 1, "k": 2}, "b": {"k": 3}})
    assert records[0].values == {"a": {"K": 1, f"k-{hash8('k')}": 2}, "b": {"k": 3}}


@some
@given(st.lists(params, max_size=3))
def test_no_two_params_become_one(values: list[dict[str, Any]]) -> None:
    paths = {path for one in values for path, _ in leaves(one)}
    for held in (MLFLOW_LIKE, ROWS_ONLY, FOLDER_LIKE):
        adapter = Adapter(held)
        adapter.adapt(entries_of([Hyperparameters(time=0, values=one) for one in values]))
        places = {adapter.param_place(path) for path in paths}
        assert len(places) == len(paths)


@given(params)
def test_leaves_and_plant_are_each_other_s_inverse(values: dict[str, Any]) -> None:
    planted: dict[str, Any] = {}
    for path, value in leaves(values):
        plant(planted, path, value)
    assert str(planted) == str(values)

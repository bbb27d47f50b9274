"""Names that a service cannot hold, and names that clash there."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multitrack.adapt import Adapter, Losses
from multitrack.adapt.names import Names, hash8, hashed, holds, is_hashed_name_of
from multitrack.backend import Capabilities, NameRule
from multitrack.records import ArtifactRef, CodeVersion, MetricDefinition, Metrics, RunUpdated
from support.strategies import FOLDER_LIKE, MLFLOW_LIKE, MLFLOW_NAMES, entries_of, names

RULES = [
    NameRule(),
    MLFLOW_NAMES,
    NameRule(max_length=16),
    NameRule(allowed="a-z0-9_", path=True, max_length=20),
    NameRule(ignores_case=True, reserved=("Sys/", "_")),
    NameRule(path=True, leaf_or_folder=True),
    NameRule(path=True, leaf_or_folder=True, ignores_case=True, allowed="A-Za-z0-9/-", max_length=14, reserved=("x", "-")),
]
rules = st.sampled_from(RULES)

# Names, and names that look as if they were the hashed names of others.
lookalikes = st.tuples(rules, names, st.integers(0, 2)).map(lambda it: hashed(it[0], it[1], salt=it[2]))
tricky = names | lookalikes | lookalikes.map(str.upper) | st.tuples(rules, lookalikes).map(lambda it: hashed(*it))


def _fit(taken: Names, name: str) -> str:
    return taken.fit(name, original=name, owner=name)[0]


def _fold(rule: NameRule, name: str) -> str:
    return name.casefold() if rule.ignores_case else name


@settings(max_examples=300)
@given(rules, st.lists(tricky, max_size=10))
@example(MLFLOW_NAMES, ["a_b-" + hash8("a#b"), "a#b"])
@example(MLFLOW_NAMES, ["a#b", "a_b-" + hash8("a#b"), hashed(MLFLOW_NAMES, "a_b-" + hash8("a#b"))])
def test_every_name_fits_and_no_two_become_one(rule: NameRule, originals: list[str]) -> None:
    taken = Names(rule, {})
    fitted = {name: _fit(taken, name) for name in originals}
    assert all(holds(rule, there) for there in fitted.values())
    assert len({_fold(rule, there) for there in fitted.values()}) == len(fitted)
    if rule.leaf_or_folder:
        leaves = {_fold(rule, there) for there in fitted.values()}
        folders = {_fold(rule, there).rsplit("/", n)[0] for there in fitted.values() for n in range(1, there.count("/") + 1)}
        assert not leaves & folders
    assert {name: _fit(taken, name) for name in reversed(originals)} == fitted
    assert {name: _fit(Names(rule, dict(taken.claims)), name) for name in originals} == fitted


@given(rules, names, st.lists(names, max_size=6))
def test_a_name_that_cannot_be_held_is_always_the_same(rule: NameRule, name: str, before: list[str]) -> None:
    if holds(rule, name) or rule.leaf_or_folder:
        return
    taken = Names(rule, {})
    for other in before:
        if not is_hashed_name_of(other, name):
            _fit(taken, other)
    assert _fit(taken, name) == hashed(rule, name)


@given(rules, names)
def test_a_name_alone_that_can_be_held_is_kept(rule: NameRule, name: str) -> None:
    if holds(rule, name):
        assert _fit(Names(rule, {}), name) == name


def test_the_form_of_a_hashed_name() -> None:
    digits = hashlib.sha256(b"a#b").hexdigest()[:8]
    assert hashed(MLFLOW_NAMES, "a#b") == f"a_b-{digits}"
    assert len(hashed(MLFLOW_NAMES, "x" * 400)) == 250
    assert hashed(MLFLOW_NAMES, "../x").startswith("__/x-")
    assert hashed(MLFLOW_NAMES, "/a//b/").startswith("a/b-")
    assert hashed(NameRule(reserved=("mlflow.",)), "mlflow.user").startswith("_mlflow.user-")


@pytest.mark.parametrize("name", ["/a", "a/", "a//b", "../a", ".", "a/./b", "", "a\n", "a#", "x" * 251])
def test_names_that_mlflow_refuses(name: str) -> None:
    assert not holds(MLFLOW_NAMES, name)


@pytest.mark.parametrize("name", ["a", "a/b", "é t/a_b-c.d:e", "x" * 250, "..a", "漢字"])
def test_names_that_mlflow_takes(name: str) -> None:
    assert holds(MLFLOW_NAMES, name)


def test_dates_and_counters_are_not_taken_for_hashes() -> None:
    taken = Names(MLFLOW_NAMES, {})
    assert [_fit(taken, name) for name in ("ckpt-00001000", "run-20240101")] == ["ckpt-00001000", "run-20240101"]


def test_the_first_delivered_keeps_the_name() -> None:
    case = Names(NameRule(ignores_case=True), {})
    assert [_fit(case, name) for name in ("Loss", "loss", "LOSS", "Loss")] == [
        "Loss",
        f"loss-{hash8('loss')}",
        f"LOSS-{hash8('LOSS')}",
        "Loss",
    ]
    folder = Names(NameRule(leaf_or_folder=True), {})
    assert [_fit(folder, name) for name in ("a", "a/b", "c/d", "c")] == ["a", f"a_b-{hash8('a/b')}", "c/d", f"c-{hash8('c')}"]


def test_what_is_remembered_is_only_what_could_clash() -> None:
    plain = Names(MLFLOW_NAMES, {})
    for number in range(100):
        _fit(plain, f"metric/{number}")
    assert plain.claims == {}
    _fit(plain, "a#b")
    assert [re.fullmatch("[0-9a-f]{16}", text) is not None for item in plain.claims.items() for text in item] == [True, True]


# -- the names in records -------------------------------------------------------------------------------------------------


def _adapt(held: Capabilities, *records: Any) -> tuple[list[Any], list[str]]:
    adapted = Adapter(held).adapt(entries_of(list(records)))
    return [entry.record for entry in adapted.entries], Losses(adapted.losses).lines()


def test_a_rename_is_declared_and_told_once() -> None:
    row = Metrics(time=0, step=1, values={"a#b": 1.0, "ok": 2.0})
    records, losses = _adapt(MLFLOW_LIKE, row, row)
    there = f"a_b-{hash8('a#b')}"
    assert records == [
        Metrics(time=0, step=1, values={there: 1.0, "ok": 2.0}),
        RunUpdated(time=0, tags={f"multitrack.name.metric.{hash8(there)}": "a#b"}),
        Metrics(time=0, step=1, values={there: 1.0, "ok": 2.0}),
    ]
    assert losses == [f"metric 'a#b': stands as '{there}'"]


def test_a_name_that_its_tag_cannot_hold_whole() -> None:
    records, losses = _adapt(FOLDER_LIKE, RunUpdated(time=0, tags={"k" * 50: "v"}))
    assert [*records[1].tags.values()] == ["k" * 5]
    assert f"tag '{'k' * 50}': the tag that tells its name does not hold all of it" in losses


def test_system_metrics_get_the_prefix_and_metrics_with_it_count_as_system() -> None:
    records, losses = _adapt(
        MLFLOW_LIKE,
        Metrics(time=0, step=0, values={"cpu": 1.0}, source="system"),
        Metrics(time=0, step=0, values={"system/gpu": 1.0, "loss": 2.0}),
        Metrics(time=0, step=0, values={"system/cpu": 3.0}, source="system"),
    )
    rows = [record for record in records if isinstance(record, Metrics)]
    assert [(row.source, [*row.values]) for row in rows] == [
        ("system", ["system/cpu"]),
        ("system", ["system/gpu"]),
        ("user", ["loss"]),
        ("system", [f"system/cpu-{hash8('system/cpu')}"]),
    ]
    assert "metric 'system/gpu': counts as a system metric there" in losses


def test_references_follow_their_artifact_and_definitions_their_metric() -> None:
    records, _ = _adapt(
        MLFLOW_LIKE, CodeVersion(time=0, untracked=[ArtifactRef(name="a#b", sha256="0" * 64)]), MetricDefinition(time=0, name="val/*")
    )
    assert records[0].untracked[0].name == f"a_b-{hash8('a#b')}"
    held = Capabilities(metric_names=MLFLOW_NAMES)
    records, _ = _adapt(held, MetricDefinition(time=0, name="a#b", x="c#d"), MetricDefinition(time=0, name="#/*"))
    assert (records[0].name, records[0].x) == (f"a_b-{hash8('a#b')}", f"c_d-{hash8('c#d')}")
    assert records[-1].name == "#/*"

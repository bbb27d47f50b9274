"""The conditions on runs: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multitrack.errors import ConfigError
from multitrack.query import GROUPS, MISSING, PLAIN_FIELDS, Field, parse, parse_field

RUN: dict[str, Any] = {
    "id": "0" * 32,
    "name": "mlp-base",
    "project": "digits",
    "status": "finished",
    "started": 1_767_225_600_000_000,  # 2026-01-01
    "duration": 5400.0,
    "params.lr": 0.05,
    "params.text_lr": "0.05",
    "params.depth": 3,
    "params.big": 2**70,
    "params.aug": True,
    "params.text_aug": "True",
    "params.none": None,
    "params.kind": "Tree",
    "params.list": [1, 2],
    "metrics.val/acc": 0.95,
    "metrics.val acc": 0.5,
    "metrics.nan": math.nan,
    "metrics.inf": math.inf,
    "tags.base": None,
    "tags.team": "vision",
}


def look(field: Field) -> Any:
    return RUN.get(f"{field.group}.{field.name}" if field.group else field.name, MISSING)


def holds(text: str) -> bool:
    return parse(text).matches(look)


@pytest.mark.parametrize(
    "text",
    [
        "params.lr < 0.1 and metrics.val/acc > 0.9 and status = finished",
        "params.lr == 5e-2",
        "params.depth >= 3 and params.depth <= 3.0",
        "params.big = 1180591620717411303424 and params.big > 1180591620717411303423",
        "params.aug = true and not params.aug = 1",
        "params.none = none",
        "params.kind = Tree and params.kind != tree",
        "params.list = '[1, 2]'",
        'metrics."val acc" = 0.5',
        "metrics.inf > 1e308 and metrics.inf = inf",
        "tags.base",
        "tags.team = vision and not tags.old",
        "name ~ BASE and name ~ 'mlp*' and not name ~ 'base*'",
        "started >= 2026-01-01 and started < 2026-01-01T00:00:01+00:00",
        "duration > 1h and duration = 90m and duration < 5401 and duration < 1d",
        "id = 00000000000000000000000000000000",
        "params.nope = 1 or params.lr",
        "(params.depth = 1 or params.depth = 3) and NOT (status = failed OR project = other)",
    ],
)
def test_what_holds(text: str) -> None:
    assert holds(text)
    assert not holds(f"not ({text})")


@pytest.mark.parametrize("field", ["params.text_lr", "params.lr"])
def test_a_text_that_is_a_number_is_compared_as_one(field: str) -> None:
    assert holds(f"{field} < 0.1 and {field} = 0.05 and {field} = 0.050 and {field} != 0.1")
    assert holds("params.text_aug = true")
    assert not holds("params.kind < 0.1")
    assert not holds("params.kind > 0.1")


def test_a_missing_field_meets_nothing_but_unequal() -> None:
    assert [op for op in ("=", "!=", "<", "<=", ">", ">=", "~") if holds(f"params.nope {op} 1")] == ["!="]


def test_nan_is_itself_and_neither_less_nor_greater() -> None:
    assert holds("metrics.nan = nan and metrics.nan != 1")
    assert not any(holds(f"metrics.nan {op} 1") for op in ("=", "<", "<=", ">", ">="))


def test_and_binds_more_than_or() -> None:
    assert holds("params.lr or params.nope and params.nope")
    assert not holds("(params.lr or params.nope) and params.nope")


def test_or_does_not_look_further_than_it_must() -> None:
    asked: list[str] = []

    def watch(field: Field) -> Any:
        asked.append(str(field))
        return look(field)

    assert parse("status = finished or params.lr > 1").matches(watch)
    assert not parse("status = failed and params.lr > 1").matches(watch)
    assert asked == ["status", "status"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the filter is empty"),
        ("lr < 1", "write params.lr, metrics.lr or tags.lr"),
        ("metric.val/acc > 1", "Did you mean 'metrics.val/acc'?"),
        ("statsu = failed", "Did you mean 'status'?"),
        ("status = finsihed", "Did you mean 'finished'?"),
        ("params.x >", "a value after '>' is missing (at ▸): params.x >▸"),
        ("(params.x = 1", "a `)` is missing"),
        ("params.x = 1)", "one `)` too many"),
        ("params.x = 1 params.y = 2", "`and` or `or` is missing before 'params.y'"),
        ("params.x = 1 && params.y", "write `and` (at ▸): params.x = 1 ▸&&"),
        ("params.x = 1 || params.y", "write `or`"),
        ("!params.x", "write `not`"),
        ("params.x = 'a", "this quote is not closed"),
        ("params. = 1", "params needs a name"),
        ("params = 1", "params needs a name"),
        ("name", "is to be compared"),
        ("and params.x", "a condition is missing before 'and'"),
        ("started > yesterday", "is no time; write 2026-11-23"),
        ("duration > soon", "is no duration"),
        ("= 1", "a field such as params.lr is missing"),
        ("'name' = x", "is no field"),
        ("(" * 60 + "params.x" + ")" * 60, "more than 50 parentheses"),
    ],
)
def test_what_is_not_understood_is_said_in_one_line(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.text(max_size=60) | st.lists(st.sampled_from([*"()=<>!~\"'&| ", "and", "or", "not", "params.a", "status", "1", "x"])).map(" ".join)
)
@example("__import__('os').system('false') = 1")
def test_any_text_is_a_condition_or_a_config_error(text: str) -> None:
    try:
        condition = parse(text)
    except ConfigError:
        return
    assert condition.matches(look) in (True, False)
    assert list(condition.fields())


@given(st.sampled_from(GROUPS), st.text(min_size=1))
def test_a_fields_own_text_names_it(group: Any, name: str) -> None:
    assert parse_field(str(Field(group, name))) == Field(group, name)


@pytest.mark.parametrize("name", PLAIN_FIELDS)
def test_plain_fields_are_named_by_themselves(name: str) -> None:
    assert parse_field(name) == Field(None, name)


@pytest.mark.parametrize("text", ["", "params.a params.b", "params.a =", "(name)", "nope"])
def test_what_is_no_field_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no field|needs a name"):
        parse_field(text)

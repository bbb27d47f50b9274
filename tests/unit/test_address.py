"""Addresses: what they mean, and what is said to those that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.address import Address, hide_credentials, holds_password, is_target_name
from multitrack.errors import ConfigError

RUN = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("local", Address("local")),
        ("local:", Address("local")),
        ("local:./.multitrack", Address("local", "./.multitrack")),
        ("mlflow:http://127.0.0.1:5000", Address("mlflow", "http://127.0.0.1:5000")),
        (f"mlflow:http://127.0.0.1:5000#{RUN}", Address("mlflow", "http://127.0.0.1:5000", RUN)),
        ("mlflow:sqlite:///mlflow.db", Address("mlflow", "sqlite:///mlflow.db")),
        ("mlflow:databricks", Address("mlflow", "databricks")),
        ("wandb:entity/project", Address("wandb", "entity/project")),
        ("comet:./run.zip", Address("comet", "./run.zip")),
        ("prod", Address("prod")),
        ("prod#ab-12", Address("prod", None, "ab-12")),
        ("local:/data/a#b#", Address("local", "/data/a#b")),
        (f"local:/data/a#b#{RUN}", Address("local", "/data/a#b", RUN)),
        (RUN, Address("local", None, RUN)),
    ],
)
def test_an_address_names_target_location_and_run(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True),
    st.none() | st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text == text.strip() and not text.startswith("//")),
    st.none() | st.text(st.characters(codec="utf-8", exclude_characters="#"), min_size=1).filter(lambda text: text == text.strip()),
)
def test_an_address_survives_being_written_and_parsed(target: str, location: str | None, run_id: str | None) -> None:
    address = Address(target, location, run_id)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "Write TARGET"),
        (":x", "Write TARGET"),
        ("my target", "Write TARGET"),
        ("./mlruns", "'local:./mlruns'"),
        ("/data/runs", "'local:/data/runs'"),
        ("http://127.0.0.1:5000", "'mlflow:http://127.0.0.1:5000'"),
        ("mlflow: http://127.0.0.1:5000", "space"),
        ("prod# ab", "space"),
    ],
)
def test_what_is_no_address_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(ConfigError, match="is no address") as caught:
        Address.parse(text)
    assert advice in str(caught.value)


@pytest.mark.parametrize("text", ["http://alice:hush@host:5000", "https://hush@host", "http://alice:p/hush@host/x", "x y://a:hush@host"])
def test_a_refusal_never_repeats_a_login(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse(text)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mlflow:http://alice:hush@host:5000/x", "mlflow:http://***@host:5000/x"),
        ("postgresql://alice:h/u@sh@host/db", "postgresql://***@host/db"),
        ("postgresql://host/db?user=a&password=hush&x=1", "postgresql://host/db?user=a&password=***&x=1"),
        ("https://host/?api_key=hush", "https://host/?api_key=***"),
        ("from http://a:b@c to http://d:e@f", "from http://***@c to http://***@f"),
        ("wandb:entity/project", "wandb:entity/project"),
    ],
)
def test_credentials_are_hidden_for_messages(text: str, shown: str) -> None:
    assert hide_credentials(text) == shown


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://alice:hush@host:5000", True),
        ("https://hush@host", True),
        ("postgresql+psycopg://alice:h/ush@host/db", True),
        ("postgresql://host/db?password=hush", True),
        ("postgresql://alice@host/db", False),
        ("http://host:5000/runs@v2", False),
        ("http://host/runs@v2", False),
        ("http://127.0.0.1:5000", False),
        ("sqlite:////data/a@b.db", False),
        ("./a:b@c", False),
        ("entity/project", False),
    ],
)
def test_a_password_in_a_location_is_recognised(location: str, expected: bool) -> None:
    assert holds_password(location) is expected


def test_a_run_id_cannot_name_a_target() -> None:
    assert is_target_name("prod-2")
    assert not is_target_name(RUN)
    assert not is_target_name("a.b")

"""Locations: what is made absolute, what is left alone, what is refused, and where passwords go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from multitrack.errors import ConfigError
from multitrack_mlflow import MLflowBackend, MLflowSettings, location
from multitrack_mlflow.location import complete, folder_of, sqlite_file, without_secrets

BASE = Path("/home/me/project")


@pytest.fixture(autouse=True)
def _no_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def resolve(text: str | None) -> str | None:
    return MLflowBackend.resolve(text, BASE)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://mlflow.example.com/team/", "https://mlflow.example.com/team"),
        ("sqlite:///mlflow.db", "sqlite:////home/me/project/mlflow.db"),
        ("sqlite:///../mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("sqlite:////var/mlflow.db", "sqlite:////var/mlflow.db"),
        ("./mlruns", "/home/me/project/mlruns"),
        ("/data/mlruns/", "/data/mlruns"),
        ("file:///data/mlruns", "/data/mlruns"),
        ("file:mlruns", "/home/me/project/mlruns"),
    ],
)
def test_relative_locations_are_made_absolute(given: str, expected: str) -> None:
    assert resolve(given) == expected
    assert resolve(expected) == expected, "resolving twice changes nothing"


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://me@db.example.com/mlflow",
        "postgresql+psycopg://db.example.com:5433/mlflow?sslmode=require",
        "mysql+pymysql://me@db/mlflow",
        "mssql+pyodbc://me@db/mlflow?driver=x",
        "databricks",
        "databricks://profile",
    ],
)
def test_databases_and_managed_services_are_left_alone(given: str) -> None:
    assert resolve(given) == given


@pytest.mark.parametrize(
    "given",
    [
        "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/team",
        "azureml://westeurope.api.azureml.ms/mlflow/v1.0/subscriptions/x",
    ],
)
def test_schemes_of_installed_plugins_are_left_alone(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"pip install (sagemaker|azureml)-mlflow"):
        resolve(given)
    monkeypatch.setattr(location, "_plugin_schemes", lambda: frozenset({"arn", "azureml"}))
    assert resolve(given) == given


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("htp://127.0.0.1:5000", r"Did you mean http://127\.0\.0\.1:5000\?"),
        ("127.0.0.1:5000", r"Did you mean http://127\.0\.0\.1:5000\?"),
        ("localhost:5000", r"Did you mean http://localhost:5000\?"),
        ("postgres://me@db/mlflow", r"Did you mean postgresql://me@db/mlflow\?"),
        ("mlruns", r"Did you mean \./mlruns\?"),
        ("mlflow.db", r"Did you mean sqlite:///mlflow\.db\?"),
        ("sqlite://mlflow.db", "sqlite:///mlflow.db"),
        ("postgresql:mlflow", "postgresql://HOST/DATABASE"),
        ("http://", "http://127.0.0.1:5000"),
        ("http://host:port", "http://127.0.0.1:5000"),
        ("http://host:5000/#/experiments/1", "address of a page"),
        ("team-server", "Known forms"),
        ("", "Known forms"),
    ],
)
def test_other_locations_are_refused_with_the_remedy(given: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        resolve(given)


def test_no_location_is_the_variable_of_mlflow_else_a_file_in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(None) == "sqlite:////home/me/project/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000/")
    assert resolve(None) == "http://tracking:5000"


@pytest.mark.parametrize(
    "given",
    [
        "http://alice:s3cret@host:5000",
        "https://s3cret@host",
        "postgresql://me:s3cret@db/mlflow",
        "postgresql://me@db/mlflow?sslmode=require&password=s3cret",
        "mssql+pyodbc:///?odbc_connect=UID%3Dme%3BPWD%3Ds3cret",
    ],
)
def test_a_location_with_a_password_is_refused_and_the_password_not_repeated(given: str) -> None:
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD") as refusal:
        resolve(given)
    assert "s3cret" not in str(refusal.value)


def test_the_variables_password_stays_out_of_the_location_and_is_used_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:s3c%40ret@db/mlflow")
    where = resolve(None)
    assert where == "postgresql://me@db/mlflow"
    assert complete(where, MLflowSettings())[0] == "postgresql://me:s3c%40ret@db/mlflow"
    assert complete("postgresql://me@other/mlflow", MLflowSettings())[0] == "postgresql://me@other/mlflow"

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice:s3c%40ret@host:5000/")
    where = resolve(None)
    assert where == "http://host:5000"
    uri, settings = complete(where, MLflowSettings())
    assert uri == where
    assert settings.username == "alice"
    assert settings.password is not None
    assert settings.password.get_secret_value() == "s3c@ret"


def test_a_databases_login_comes_from_the_settings_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:old@db/mlflow")
    settings = MLflowSettings(username="a b", password=SecretStr("p@ss/word"))
    assert complete("postgresql://me@db/mlflow", settings)[0] == "postgresql://a%20b:p%40ss%2Fword@db/mlflow"
    assert complete("postgresql://me@db/mlflow", MLflowSettings(password=SecretStr("new")))[0] == "postgresql://me:new@db/mlflow"


def test_settings_do_not_show_their_secrets() -> None:
    shown = repr(MLflowSettings(password=SecretStr("s3cret"), token=SecretStr("s3cret")))
    assert "s3cret" not in shown


def test_locations_tell_what_they_are() -> None:
    assert folder_of("/data/mlruns") == Path("/data/mlruns")
    assert folder_of("sqlite:////data/mlflow.db") is None
    assert sqlite_file("sqlite:////data/mlflow.db?timeout=5") == Path("/data/mlflow.db")
    assert sqlite_file("http://host") is None
    assert without_secrets("databricks://profile") == "databricks://profile"


def test_the_backend_is_there_without_its_sdk() -> None:
    """The training process loads the class, resolves locations and reads settings; it never pays for importing MLflow."""
    code = (
        "import sys; from pathlib import Path; from multitrack_mlflow import MLflowBackend as B; "
        "B(B.resolve('http://127.0.0.1:1', Path()), B.settings_type()); "
        "sys.exit(', '.join({'mlflow', 'sqlalchemy', 'requests', 'pandas', 'numpy'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

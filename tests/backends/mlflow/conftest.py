"""Real MLflow stores: one server a session, and sqlite files and folders of a test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.mlflow_server import MLflowServer


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """Keep the MLflow variables of whoever runs the tests out of them, and ours out of later tests."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "_MLFLOW_"))]:
        del os.environ[name]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """A running server that the session's tests share: use project names of your own. Never stop it."""
    with MLflowServer(tmp_path_factory.mktemp("mlflow-server")) as server:
        yield server


@pytest.fixture
def server_uri(mlflow_server: MLflowServer) -> str:
    """The address of the shared server."""
    return mlflow_server.url


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making one takes seconds of migrations, copying it none."""
    from multitrack_mlflow.client import connect
    from multitrack_mlflow.settings import MLflowSettings

    file = tmp_path_factory.mktemp("mlflow-sqlite") / "mlflow.db"
    connect(f"sqlite:///{file}", MLflowSettings())
    return file


@pytest.fixture
def sqlite_uri(_sqlite_template: Path, tmp_path: Path) -> str:
    """The location of an empty sqlite store of the test's own."""
    file = tmp_path / "mlflow.db"
    file.write_bytes(_sqlite_template.read_bytes())
    return f"sqlite:///{file}"


@pytest.fixture
def file_store(tmp_path: Path) -> str:
    """The location of an empty file store (`./mlruns`) of the test's own."""
    return str(tmp_path / "mlruns")


@pytest.fixture
def project(request: pytest.FixtureRequest) -> str:
    """A project name that no other test uses."""
    return f"{request.node.name[:200]} {os.urandom(4).hex()}"


@pytest.fixture
def client(server_uri: str) -> Any:
    """MLflow's own client at the shared server: the witness of what arrived there."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server_uri)

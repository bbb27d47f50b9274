"""The MLflow backend against the conformance suite: a database read by SQL, and a server through MLflow's own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from multitrack.testing.conformance import ConformanceSuite
from multitrack_mlflow import MLflowBackend
from support.mlflow_server import MLflowServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; making one takes seconds, copying it none."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


class TestSqlite(ConformanceSuite):
    @pytest.fixture
    def backend(self, empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MLflowBackend:
        monkeypatch.chdir(tmp_path)  # where MLflow puts the artifacts of a database without a server
        file = tmp_path / "mlflow.db"
        file.write_bytes(empty_database.read_bytes())
        return MLflowBackend(MLflowBackend.resolve(f"sqlite:///{file}", tmp_path))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflowServer]:
    """A server that this file's tests share."""
    with MLflowServer(tmp_path_factory.mktemp("server")) as running:
        yield running


class TestServer(ConformanceSuite):
    @pytest.fixture
    def backend(self, server: MLflowServer) -> MLflowBackend:
        return MLflowBackend(server.url)

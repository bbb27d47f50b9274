"""The Neptune backend against the conformance suite: offline folders, and a server's double through the real client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from multitrack.testing.conformance import ConformanceSuite
from multitrack_neptune import NeptuneBackend, NeptuneSettings
from services.neptune_double import NeptuneDouble


class TestOfflineFolder(ConformanceSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> NeptuneBackend:
        return NeptuneBackend(NeptuneBackend.resolve("./neptune", tmp_path))


@pytest.fixture(scope="module")
def server() -> Iterator[NeptuneDouble]:
    """A server that this file's tests share: the client reads its specification once."""
    with NeptuneDouble() as double:
        yield double


@pytest.mark.slow
class TestServer(ConformanceSuite):
    @pytest.fixture
    def backend(self, server: NeptuneDouble) -> NeptuneBackend:
        project = server.add_project()
        return NeptuneBackend(project, NeptuneSettings(api_token=SecretStr(server.token)))

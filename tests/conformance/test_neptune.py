"""The Neptune backend against the conformance suite: offline folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.testing.conformance import ConformanceSuite
from multitrack_neptune import NeptuneBackend


class TestOfflineFolder(ConformanceSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> NeptuneBackend:
        return NeptuneBackend(NeptuneBackend.resolve("./neptune", tmp_path))

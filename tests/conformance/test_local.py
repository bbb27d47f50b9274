"""The local backend against the conformance suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.testing.conformance import ConformanceSuite
from multitrack_local import LocalBackend


class TestLocal(ConformanceSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> LocalBackend:
        return LocalBackend(LocalBackend.resolve("./elsewhere", tmp_path))

"""Comet's archives against the conformance suite: written, and read, without comet_ml."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.testing.conformance import ConformanceSuite
from multitrack_comet import CometBackend


class TestArchives(ConformanceSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> CometBackend:
        return CometBackend(CometBackend.resolve("./archives", tmp_path))

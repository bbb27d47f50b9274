"""W&B's offline folders against the conformance suite: written by us, and read by us."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.testing.conformance import ConformanceSuite
from multitrack_wandb import WandbBackend


class TestOffline(ConformanceSuite):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> WandbBackend:
        return WandbBackend(WandbBackend.resolve("./wandb", tmp_path))

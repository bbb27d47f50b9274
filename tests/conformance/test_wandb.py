"""W&B against the conformance suite: the real SDK and wandb-core, with a double of the service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from multitrack.testing.conformance import ConformanceSuite
from multitrack.testing.scene import Scene
from multitrack_wandb import WandbBackend, WandbSettings
from services.wandb_double.server import WandbDouble

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbDouble]:
    """A service that this file's tests share."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    with WandbDouble() as running:
        yield running
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.live
class TestLive(ConformanceSuite):
    """W&B itself: WANDB_API_KEY of an account for tests, in whose own entity, or WANDB_ENTITY, the runs stay. Before `double` is there."""

    @pytest.fixture
    def backend(self) -> WandbBackend:
        if not os.environ.get("WANDB_API_KEY"):
            pytest.skip("WANDB_API_KEY is not set")
        return WandbBackend(None)

    def test_listings_filter(self, scene: Scene) -> None:
        """It needs an entity with nothing in it."""
        pytest.skip("earlier runs are in the entity")


class TestService(ConformanceSuite):
    @pytest.fixture
    def backend(self, double: WandbDouble, tmp_path: Path) -> Iterator[WandbBackend]:
        double.clear()
        yield WandbBackend("team/", WandbSettings.model_validate({"base_url": double.url, "api_key": double.key}))
        assert double.unknown == [], tmp_path

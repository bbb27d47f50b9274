"""The Comet backend against the conformance suite: the real SDK, and a loopback double of the service."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from multitrack.testing.conformance import ConformanceSuite
from multitrack.testing.scene import Scene
from multitrack_comet import CometBackend, CometSettings
from services.comet.double import CometDouble

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def comet() -> Iterator[CometDouble]:
    """A service that this file's tests share."""
    with CometDouble() as double:
        yield double
        assert not double.unknown


@pytest.mark.live
class TestLive(ConformanceSuite):
    """Comet itself: COMET_API_KEY, and COMET_WORKSPACE with a workspace for tests, where the runs stay."""

    @pytest.fixture
    def backend(self) -> CometBackend:
        if not (os.environ.get("COMET_API_KEY") and os.environ.get("COMET_WORKSPACE")):
            pytest.skip("COMET_API_KEY and COMET_WORKSPACE are not set")
        return CometBackend(f"{os.environ['COMET_WORKSPACE']}/")

    def test_listings_filter(self, scene: Scene) -> None:
        """It needs a workspace with nothing in it."""
        pytest.skip("earlier runs are in the workspace")


class TestService(ConformanceSuite):
    @pytest.fixture
    def backend(self, comet: CometDouble) -> CometBackend:
        return CometBackend("team/", CometSettings(api_key=SecretStr(comet.api_key), url=comet.root))

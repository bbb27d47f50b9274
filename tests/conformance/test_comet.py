"""The Comet backend against the conformance suite: the real SDK, and a loopback double of the service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from multitrack.testing.conformance import ConformanceSuite
from multitrack_comet import CometBackend, CometSettings
from services.comet.double import CometDouble

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def comet() -> Iterator[CometDouble]:
    """A service that this file's tests share."""
    with CometDouble() as double:
        yield double
        assert not double.unknown


class TestService(ConformanceSuite):
    @pytest.fixture
    def backend(self, comet: CometDouble) -> CometBackend:
        return CometBackend("team/", CometSettings(api_key=SecretStr(comet.api_key), url=comet.root))

"""A loopback double of the service for each test, and nothing of the Comet settings of whoever runs the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from multitrack_comet import CometBackend, CometSettings
from services.comet.double import CometDouble


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep Comet's variables and files of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("COMET_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COMET_CONFIG", str(tmp_path / "no comet.config"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def comet() -> Iterator[CometDouble]:
    """An empty service."""
    with CometDouble() as double:
        yield double
        assert not double.unknown


@pytest.fixture
def backend(comet: CometDouble) -> CometBackend:
    """The service as a target: the workspace `team`."""
    return CometBackend("team/", CometSettings(api_key=SecretStr(comet.api_key), url=comet.root))

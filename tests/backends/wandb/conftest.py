"""A double of W&B's service, which the real SDK talks to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from multitrack.testing.scene import Scene
from multitrack_wandb import WandbBackend, WandbSettings
from services.wandb_double.server import WandbDouble


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the W&B variables and the login of whoever runs the tests out of them, and ours out of later tests."""
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        del os.environ[name]
    home = tmp_path_factory.mktemp("wandb-home")
    os.environ |= {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true", "WANDB_CACHE_DIR": str(home), "NETRC": str(home / "netrc")}
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def running_double() -> Iterator[WandbDouble]:
    """The service that the session's tests share."""
    with WandbDouble() as double:
        yield double


@pytest.fixture
def double(running_double: WandbDouble) -> Iterator[WandbDouble]:
    """The service, empty, and asked for nothing that it does not know."""
    running_double.clear()
    yield running_double
    assert running_double.unknown == []


@pytest.fixture
def backend(double: WandbDouble) -> WandbBackend:
    """The project `team/digits` there."""
    return WandbBackend("team/digits", WandbSettings.model_validate({"base_url": double.url, "api_key": double.key}))


@pytest.fixture
def scene(backend: WandbBackend, tmp_path: Path) -> Scene:
    """A local store, and the service."""
    folder = tmp_path / "scene"
    folder.mkdir()
    return Scene(folder, backend)

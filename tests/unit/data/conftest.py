"""A cache of hashes of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack.data.cache import HashCache
from multitrack.data.found import Inquiry


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


@pytest.fixture
def inquiry(cache_home: Path, tmp_path: Path) -> Inquiry:
    return Inquiry(root=tmp_path, cache=HashCache(cache_home / "hashes.sqlite"))

"""Exports, written and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.neptune_exports import Export
from support.neptune_reading import Reading


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """An empty export."""
    return Export(tmp_path / "exports")


@pytest.fixture
def read(export: Export) -> Callable[..., Reading]:
    """Reads the export."""
    return lambda **settings: Reading(export.root, **settings)

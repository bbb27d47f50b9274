"""A folder in which scripts record, and what they started is ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.couriers import Bench
from support.couriers import bench as make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A store and flaky services of the test's own."""
    with make_bench(tmp_path) as made:
        yield made

"""What the tests of this folder share: a bench, seeds, and how many kills there are."""

from __future__ import annotations

import os
import random
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


@pytest.fixture
def dice() -> random.Random:
    """Chance that can be repeated: `MULTITRACK_TEST_SEED` brings the seed that a failed test has printed."""
    seed = int(os.environ.get("MULTITRACK_TEST_SEED") or random.randrange(10**6))
    print(f"MULTITRACK_TEST_SEED={seed}")
    return random.Random(seed)

"""What the tests of this folder share: a bench, seeds, and how many kills there are."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
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


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; making one takes seconds, copying it none."""
    folder = tmp_path_factory.mktemp("empty")
    code = f"import mlflow; mlflow.MlflowClient('sqlite:///{folder}/mlflow.db').search_experiments()"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    return folder / "mlflow.db"


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Path:
    """An empty MLflow database of the test's own."""
    return Path(shutil.copy(empty_database, tmp_path / "mlflow.db"))


@pytest.fixture
def dice() -> random.Random:
    """Chance that can be repeated: `MULTITRACK_TEST_SEED` brings the seed that a failed test has printed."""
    seed = int(os.environ.get("MULTITRACK_TEST_SEED") or random.randrange(10**6))
    print(f"MULTITRACK_TEST_SEED={seed}")
    return random.Random(seed)

"""A process that delivers to Comet, killed again and again: everything arrives, and once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from multitrack.records import LogLines, Metrics, Record
from multitrack.testing.scene import START, Scene
from multitrack_comet import CometBackend
from services.comet.double import CometDouble

pytestmark = pytest.mark.slow

STEPS = 9_000
KILLS = 3
DELIVER = """
import sys
from pathlib import Path
from pydantic import SecretStr
from multitrack.config.filters import Filters
from multitrack.delivery import Delivery
from multitrack.journal import Store
from multitrack_comet import CometBackend, CometSettings
store, url, key = sys.argv[1:]
[run] = Store(Path(store)).runs()
backend = CometBackend("team/", CometSettings(api_key=SecretStr(key), url=url))
with Delivery(run, "conformance", backend, Filters()) as delivery:
    sys.exit(not delivery.advance())
"""


def test_whatever_moment_it_is_killed_at(tmp_path: Path, comet: CometDouble, backend: CometBackend) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    pick = random.Random(seed)
    scene = Scene(tmp_path, backend)
    records: list[Record] = []
    for step in range(STEPS):
        records.append(Metrics(time=START + step * 1000, step=step, values={"loss": step / 8, "acc": 0.5}))
        if step % 100 == 0:
            records.append(LogLines(time=START + step * 1000, times=[START + step * 1000], lines=[f"step {step}"]))
    run = scene.record(scene.start(), records)
    arguments = [sys.executable, "-c", DELIVER, str(scene.store.root), comet.root, comet.api_key]

    for _ in range(KILLS):
        process = subprocess.Popen(arguments)
        asked, wanted = comet.requests, pick.randrange(2, 30)
        while process.poll() is None and comet.requests - asked < wanted:
            time.sleep(0.001)
        process.kill()
        process.wait()

    assert subprocess.run(arguments, check=False, timeout=120).returncode == 0
    there = comet.experiment(run.id)
    for name in ("loss", "acc"):
        assert [point.step for point in there.points if point.name == name] == list(range(STEPS))
    assert [line.text for line in there.lines] == [f"step {step}\n" for step in range(0, STEPS, 100)]
    result = scene.verify(run)
    assert not result.differences
    assert result.complete

"""Services that are down or hang: the others, and the training, do not notice, and nothing is lost."""

from __future__ import annotations

import json
import time

import pytest

from multitrack.backend import EVERYTHING
from multitrack.delivery import Ledger
from multitrack.live import WATCH_INTERVAL
from support.couriers import Bench, wait_for
from support.journals import expected_entries

pytestmark = pytest.mark.slow

LOGGING = """
import json
run = mt.init(project="p", backends=[address("one"), address("two")])
took = []
for i in range(500):
    began = time.perf_counter()
    run.log({"loss": i}, step=i)
    took.append(time.perf_counter() - began)
    time.sleep(0.004)
    if i == 250:
        open("halfway", "w").close()
        while os.path.exists("wait"):
            time.sleep(0.05)
run.finish(timeout=TIMEOUT)
print(json.dumps(sorted(took)))
"""


def assert_equal_contents(bench: Bench) -> None:
    run = bench.only_run()
    for ledger in Ledger.of(run):
        service = str(ledger.read_target()["location"]).rpartition("/")[2]
        found = [(entry.writer, entry.seq, entry.record) for entry in bench.stored(service).entries()]
        assert found == [(entry.writer, entry.seq, entry.record) for entry in expected_entries(run, ledger.target, EVERYTHING)]


def test_an_outage_in_the_middle_is_made_up_for(bench: Bench) -> None:
    (bench.folder / "wait").touch()
    process = bench.start(LOGGING.replace("TIMEOUT", "60"))
    wait_for(lambda: bench.service("two").runs())
    bench.rule("two", "down")
    wait_for((bench.folder / "halfway").exists)
    wait_for(lambda: any(target["state"] == "retrying" and "does not answer" in target["error"] for target in bench.status()))
    time.sleep(2 * WATCH_INTERVAL)  # as often as the run looks, it is said once
    (bench.folder / "wait").unlink()
    bench.rule("two", "down", on=False)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err.count("does not answer. Training goes on") == 1
    assert_equal_contents(bench)
    assert all(target["state"] == "delivered" for target in bench.status("--all"))


def test_a_service_that_is_down_at_the_end_is_left_to_sync(bench: Bench) -> None:
    bench.rule("two", "down")
    _, err = bench.run(LOGGING.replace("TIMEOUT", "3"))
    run = bench.only_run()
    assert f"multitrack sync {run.id}" in err
    assert "are still to deliver" in err
    assert bench.multitrack("sync", "--timeout", "3").returncode == 1
    bench.rule("two", "down", on=False)
    done = bench.multitrack("sync", "--timeout", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_equal_contents(bench)


def test_a_service_that_hangs_delays_neither_the_other_nor_the_training(bench: Bench) -> None:
    calm, _ = bench.run(LOGGING.replace("TIMEOUT", "20"))
    bench.rule("two", "hang")
    began = time.monotonic()
    process = bench.start(LOGGING.replace("TIMEOUT", "3").replace('project="p"', 'project="q"'))
    wait_for((bench.folder / "halfway").exists)
    out, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    run = next(run for run in bench.store.runs() if run.path.parent.name == "q")
    stored = bench.service("one").run(run.id)
    assert stored is not None
    assert stored.marker is not None
    assert bench.service("two").run(run.id) is None
    middle = [json.loads(text)[250] for text in (calm, out)]
    assert middle[1] < 5 * middle[0] + 0.001, middle
    bench.rule("two", "hang", on=False)
    assert bench.multitrack("sync").returncode == 0

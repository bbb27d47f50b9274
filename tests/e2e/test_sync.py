"""`multitrack sync` and `multitrack status`, as people and batch jobs use them."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from multitrack.delivery import Ledger
from support.couriers import MULTITRACK, Bench, wait_for

pytestmark = pytest.mark.slow

DEFERRED = """
run = mt.init(project="p", name="svc", mode="deferred", backends=[address("one")], quiet=True)
for i in range(20):
    run.log({"loss": i}, step=i)
run.finish()
"""


def test_a_deferred_run_is_delivered_by_sync(bench: Bench) -> None:
    bench.run(DEFERRED)
    assert not bench.couriers()
    (target,) = bench.status()
    assert (target["state"], target["delivered"]) == ("waiting", 0)
    assert target["behind"] > 20
    shown = bench.multitrack("status").stdout
    assert "svc" in shown
    assert "nobody is delivering to" in shown
    assert "multitrack sync" in shown
    done = bench.multitrack("sync", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    assert report["records"] == target["behind"]
    assert bench.stored("one").marker is not None
    assert "everything is delivered" in bench.multitrack("status").stdout
    assert "nothing to deliver" in bench.multitrack("sync").stdout


def test_an_old_run_goes_to_a_new_service(bench: Bench) -> None:
    bench.run(DEFERRED)
    run = bench.only_run()
    done = bench.multitrack("sync", run.id, "--to", bench.address("new"))
    assert done.returncode == 0, done.stderr
    assert "1 of 1 runs delivered" in done.stdout
    assert bench.stored("new").marker is not None
    assert not bench.service("one").runs()
    assert len(Ledger.of(run)) == 2


def test_a_run_that_a_service_has_lost_is_delivered_again(bench: Bench) -> None:
    bench.run(DEFERRED)
    assert bench.multitrack("sync").returncode == 0
    run = bench.only_run()
    before = bench.stored("one")
    bench.service("one").delete(run.id)
    assert "nothing to deliver" in bench.multitrack("sync").stdout
    assert bench.multitrack("sync", "--again").returncode == 1
    done = bench.multitrack("sync", run.id, "--again")
    assert done.returncode == 0, done.stderr
    assert bench.stored("one").lines == before.lines


def test_sync_waits_for_a_courier_that_is_at_work(bench: Bench) -> None:
    process = bench.start(
        """
run = mt.init(project="p", backends=[address("one")], quiet=True)
run.log({"loss": 1.0})
while not os.path.exists("stop"):
    time.sleep(0.05)
run.finish()
"""
    )
    wait_for(lambda: bench.service("one").runs())
    assert bench.status()[0]["state"] == "delivering"
    up_to_date = bench.multitrack("sync", "--timeout", "20")
    assert up_to_date.returncode == 0, up_to_date.stdout
    assert "still going on" in up_to_date.stdout
    assert "up to date" in bench.multitrack("status").stdout
    (bench.folder / "stop").touch()
    process.communicate(timeout=60)
    assert bench.multitrack("sync").returncode == 0
    assert bench.stored("one").marker is not None


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_watch_delivers_what_comes_until_it_is_interrupted(bench: Bench, ending: signal.Signals) -> None:
    bench.run(DEFERRED)
    watch = subprocess.Popen(
        [*MULTITRACK, "sync", "--watch"], cwd=bench.folder, env=bench.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: bench.service("one").runs())
        bench.run(DEFERRED)
        wait_for(lambda: len([run for run in bench.service("one").runs().values() if run.marker]) == 2)
        watch.send_signal(ending)
        out, err = watch.communicate(timeout=20)
    finally:
        watch.kill()
        watch.communicate()
    assert watch.returncode == 0, err
    assert "2 of 2 runs delivered" in out


def test_sync_of_a_service_that_hangs_ends_with_its_timeout(bench: Bench) -> None:
    bench.run(DEFERRED)
    bench.rule("one", "hang")
    began = time.monotonic()
    done = bench.multitrack("sync", "--timeout", "1")
    assert time.monotonic() - began < 20
    assert done.returncode == 1
    assert "records to go" in done.stdout


def test_what_was_refused_is_shown(bench: Bench) -> None:
    bench.run(
        """
backend = {"backend": "flaky", "location": address("one")[6:], "name": "picky", "refused_metrics": ["bad"]}
run = mt.init(project="p", backends=[backend], quiet=True)
run.log({"bad": 1.0})
run.log({"good": 1.0})
run.finish()
"""
    )
    assert "picky refused 1 records" in bench.multitrack("status", "--all").stdout
    assert bench.status("--all")[0]["rejected"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["0" * 32], "no run"),
        (["--target", "nowhere"], "have no target 'nowhere'"),
        (["--to", "nowhere"], "neither a target nor a backend"),
        (["--dir", "none"], "there is no store"),
        (["--to", "local"], "this store itself"),
    ],
)
def test_a_wrong_argument_is_one_line(bench: Bench, arguments: list[str], said: str) -> None:
    bench.run(DEFERRED)
    done = bench.multitrack("sync", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1

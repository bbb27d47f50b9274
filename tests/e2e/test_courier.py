"""Couriers, in real processes: they deliver beside the training, die, follow one another, and keep secrets."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from multitrack.backend import EVERYTHING
from multitrack.courier import LOGIN_REFUSED, UNREACHABLE
from multitrack.delivery import Ledger, start
from multitrack.journal import Journal, RunFolder
from support.couriers import Bench, wait_for
from support.journals import expected_entries

pytestmark = pytest.mark.slow

SECRET = "hunter2-correct-horse"


def target_of(run: RunFolder) -> str:
    (ledger,) = Ledger.of(run)
    return ledger.target


def assert_whole(bench: Bench, service: str, run: RunFolder) -> None:
    """Every record is there once, in the order of the batches."""
    target = next(ledger.target for ledger in Ledger.of(run) if str(ledger.read_target()["location"]).endswith(f"/{service}"))
    stored = bench.service(service).run(run.id)
    assert stored is not None
    found = [(entry.writer, entry.seq, entry.record) for entry in stored.entries()]
    wanted = [(entry.writer, entry.seq, entry.record) for entry in expected_entries(run, target, EVERYTHING)]
    assert found == wanted
    assert len({(writer, seq) for writer, seq, _ in found}) == sum(1 for _ in Journal(run).entries())
    assert stored.marker is not None


def test_a_run_is_delivered_while_it_goes_on(bench: Bench) -> None:
    out, err = bench.run(
        """
run = mt.init(project="p", backends=[address("one")])
run.log({"loss": 1.0}, step=1)
print(run.url(run._session._targets and next(iter(run._session._targets)), wait=20))
run.log({"loss": 0.5}, step=2)
run.finish()
"""
    )
    assert out.startswith("memory://")
    assert "has it whole" in err
    assert_whole(bench, "one", bench.only_run())
    wait_for(lambda: not bench.couriers())
    assert "is delivered" in bench.log_of("flaky")


def test_couriers_killed_again_and_again_deliver_every_record_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("MULTITRACK_TEST_SEED") or random.randrange(10**6))
    print(f"seed {seed}")
    dice = random.Random(seed)
    for name, value in bench.env.items():
        monkeypatch.setenv(name, value)
    process = bench.start(
        """
def target(keeps):
    return {"backend": "flaky", "location": address(keeps)[6:], "keeps": keeps, "name": keeps}
run = mt.init(project="p", backends=[target("keys"), target("count")])
for i in range(100000):
    run.log({"loss": 1 / (i + 1), "acc": i}, step=i)
    time.sleep(0.002)
    if os.path.exists("stop"):
        break
run.finish(timeout=60)
"""
    )
    wait_for(bench.couriers)
    for _ in range(20):
        time.sleep(dice.uniform(0.0, 1.2))
        for target in ("keys", "count"):
            start._started.clear()  # who is killed so often is started less and less often
            start.start_courier(bench.store, target, {})
        if couriers := bench.couriers():
            with contextlib.suppress(psutil.NoSuchProcess):
                dice.choice(couriers).send_signal(signal.SIGKILL)
    (bench.folder / "stop").touch()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    start._started.clear()
    for keeps in ("keys", "count"):
        wait_for(lambda keeps=keeps: Ledger(bench.only_run(), keeps).progress().done)
        assert_whole(bench, keeps, bench.only_run())


def test_a_training_that_is_killed_is_delivered_as_crashed(bench: Bench) -> None:
    process = bench.start(
        """
run = mt.init(project="p", backends=[address("one")])
run.log({"loss": 1.0}, step=1)
time.sleep(60)
"""
    )
    wait_for(lambda: bench.service("one").runs())
    process.kill()
    stored = wait_for(lambda: bench.stored("one").concluded)
    assert stored["status"] == "crashed"
    assert_whole(bench, "one", bench.only_run())


def test_a_sweep_has_one_courier_a_target(bench: Bench) -> None:
    script = """
run = mt.init(project="p", backends=[address("one"), address("two")], quiet=True)
for i in range(30):
    run.log({"loss": i}, step=i)
    time.sleep(0.05)
run.finish(timeout=60)
"""
    waiting = [bench.start(script) for _ in range(4)]
    most = 0
    while any(process.poll() is None for process in waiting):
        held = {tuple(courier.cmdline()[-1:]) for courier in bench.couriers() if _holds_lock(courier)}
        most = max(most, len([courier for courier in bench.couriers() if _holds_lock(courier)]))
        assert len(held) <= 2
        time.sleep(0.1)
    assert most == 2
    runs = list(bench.store.runs())
    assert len(runs) == 4
    for run in runs:
        assert_whole(bench, "one", run)
        assert_whole(bench, "two", run)


def _holds_lock(courier: psutil.Process) -> bool:
    """A courier that has come in vain leaves without opening any run."""
    try:
        return any("/delivery/" in file.path for file in courier.open_files())
    except psutil.Error:
        return False


def test_runs_that_come_as_the_courier_leaves_are_all_delivered(bench: Bench) -> None:
    dice = random.Random(7)
    pauses = [round(dice.uniform(0.0, 0.5), 3) for _ in range(20)]
    bench.run(
        f"""
for pause in {pauses}:
    run = mt.init(project="p", backends=[address("one")], quiet=True)
    run.log({{"loss": 1.0}}, step=1)
    run.finish(timeout=30)
    time.sleep(pause)
""",
        env={"MULTITRACK_COURIER_LINGER": "0.2"},
    )
    runs = list(bench.store.runs())
    assert len(runs) == 20
    for run in runs:
        assert_whole(bench, "one", run)
    log = bench.log_of("flaky")
    assert "Error" not in log, log


def test_a_secret_given_in_code_reaches_the_courier_and_nothing_else(bench: Bench) -> None:
    process = bench.start(
        f"""
backend = {{"backend": "flaky", "location": {str(bench.folder / "one")!r}, "name": "safe", "token": "hunter2-" + "correct-horse",
            "wanted_token": "other" if len(sys.argv) > 5 else None}}
run = mt.init(project="p", backends=[backend])
run.log({{"loss": 1.0}}, step=1)
time.sleep(2)
run.finish()
"""
    )
    (courier,) = wait_for(bench.couriers)
    assert SECRET not in " ".join(courier.cmdline())
    assert SECRET not in json.dumps(courier.environ())
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "has it whole" in err
    assert SECRET not in err
    assert_not_on_disk(bench.folder)


def test_a_secret_that_a_service_repeats_is_not_written_down(bench: Bench) -> None:
    _, err = bench.run(
        f"""
backend = {{"backend": "flaky", "location": {str(bench.folder / "one")!r}, "name": "safe", "token": "hunter2-" + "correct-horse",
            "wanted_token": "other"}}
run = mt.init(project="p", backends=[backend])
run.log({{"loss": 1.0}}, step=1)
run.finish()
"""
    )
    assert "does not know the token '***'" in err
    assert SECRET not in err
    assert "***" in bench.log_of("safe")
    assert_not_on_disk(bench.folder)


def assert_not_on_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_refused_login_stops_that_target_only_and_is_said_once(bench: Bench) -> None:
    bench.rule("two", "refuse")
    _, err = bench.run(
        """
run = mt.init(project="p", backends=[address("one"), address("two")])
for i in range(60):
    run.log({"loss": i}, step=i)
    time.sleep(0.1)
run.finish()
"""
    )
    assert len(re.findall(r"refuses the login.*Training goes on", err)) == 1
    assert "multitrack sync" in err
    assert_whole(bench, "one", bench.only_run())
    assert not bench.service("two").runs()
    assert bench.log_of("flaky").count("refuses the login") == 1
    states = {target["state"] for target in bench.status()}
    assert states == {"delivered", "stopped"}
    bench.rule("two", "refuse", on=False)
    done = bench.multitrack("sync")
    assert done.returncode == 0, done.stderr
    assert_whole(bench, "two", bench.only_run())


def test_a_courier_whose_backend_cannot_be_imported_says_so(bench: Bench) -> None:
    (bench.plugins / "broken.py").write_text("import no_such_module\n")
    info = bench.plugins / "flaky_plugin-1.0.dist-info" / "entry_points.txt"
    process = bench.start(
        """
run = mt.init(project="p", backends=[address("one")])
open("begun", "w").close()
while not os.path.exists("go"):
    time.sleep(0.05)
run.log({"loss": 1.0}, step=1)
run.finish(timeout=10)
""",
        env={"MULTITRACK_COURIER_LINGER": "0.2"},
    )
    wait_for((bench.folder / "begun").exists)
    for courier in wait_for(bench.couriers):
        courier.kill()
    info.write_text("[multitrack.backends]\nflaky = broken:Backend\n")
    (bench.folder / "go").touch()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "no_such_module" in err
    assert bench.status()[0]["state"] == "stopped"


def test_a_courier_leaves_when_its_store_is_deleted(bench: Bench) -> None:
    import shutil

    process = bench.start('run = mt.init(project="p", backends=[address("one")])\ntime.sleep(60)\n')
    wait_for(lambda: bench.service("one").runs())
    couriers = bench.couriers()
    process.kill()
    shutil.rmtree(bench.store.root)
    wait_for(lambda: not any(courier.is_running() and courier.status() != psutil.STATUS_ZOMBIE for courier in couriers), 15)


@pytest.mark.parametrize(
    ("rule", "code", "line"),
    [(None, 0, "0 runs"), ("refuse", LOGIN_REFUSED, "refuses the login"), ("down", UNREACHABLE, "does not answer")],
)
def test_check_asks_the_service(bench: Bench, rule: str | None, code: int, line: str) -> None:
    if rule:
        bench.rule("one", rule)
    public = {"name": "t", "backend": "flaky", "location": str(bench.folder / "one"), "settings": {}, "filters": {}, "secrets": ["token"]}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "multitrack.courier", "--check"],
        input=json.dumps({"target": public, "secrets": {"token": SECRET}}),
        env=bench.env,
        cwd=bench.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    said = done.stderr if code else done.stdout
    assert line in said
    assert len(said.splitlines()) == 1

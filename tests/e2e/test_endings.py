"""How a process ends is how its run ends: scripts as people write them, each in a process of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from multitrack.journal import Journal
from multitrack.records import Metrics, RunFinished
from support.scripts import Ended, Scripts, stop


@pytest.fixture
def scripts(tmp_path: Path) -> Scripts:
    return Scripts(tmp_path)


BEGIN = 'run = mt.init("p", "r", capture=QUICK)\nrun.log({"loss": 0.5}, step=1)\n'


def error_of(ended: Ended) -> str | None:
    return next(record.error for record in ended.records if isinstance(record, RunFinished))


# -- of itself


@pytest.mark.parametrize(
    ("code", "exit_code", "status", "error"),
    [
        ("run.finish()", 0, "finished", None),
        ("pass", 0, "finished", None),
        ("import sys; sys.exit()", 0, "finished", None),
        ("import sys; sys.exit(0)", 0, "finished", None),
        ("import sys; sys.exit(1)", 1, "failed", "exit 1"),
        ("import sys; sys.exit('no data')", 1, "failed", "exit no data"),
        ("raise SystemExit(3)", 3, "failed", "SystemExit"),
        ("1 / 0", 1, "failed", "ZeroDivisionError"),
        ("raise KeyboardInterrupt", -2, "killed", "KeyboardInterrupt"),
        ("run.finish('failed', error='no data')", 0, "failed", "no data"),
        ("import os; os._exit(0)", 0, "crashed", None),
    ],
)  # fmt: skip
def test_a_script_that_ends_by_itself(scripts: Scripts, code: str, exit_code: int, status: str, error: str | None) -> None:
    ended = scripts.run(BEGIN + code, check=exit_code)
    assert ended.status == status
    assert ended.state.metrics["loss"].values == [0.5]
    if status != "crashed":
        assert error is None or error in str(error_of(ended))


@pytest.mark.parametrize(
    ("code", "exit_code", "status"),
    [
        ("pass", 0, "finished"),
        ("raise SystemExit(0)", 0, "finished"),
        ("raise SystemExit(3)", 3, "failed"),
        ("1 / 0", 1, "failed"),
        ("raise KeyboardInterrupt", -2, "killed"),
    ],
)
def test_a_with_block(scripts: Scripts, code: str, exit_code: int, status: str) -> None:
    ended = scripts.run(f'with mt.init("p", capture=QUICK) as run:\n    run.log({{"a": 1}})\n    {code}', check=exit_code)
    assert ended.status == status


@pytest.mark.parametrize(
    "code",
    [
        "import sys\ntry:\n    sys.exit(1)\nexcept SystemExit:\n    pass",
        "import sys\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    sys.excepthook(*sys.exc_info())",
        "import threading\nthread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()",
    ],
    ids=["exit", "excepthook", "thread"],
)
def test_what_did_not_end_the_program_did_not_end_the_run(scripts: Scripts, code: str) -> None:
    assert scripts.run(BEGIN + code).status == "finished"


def test_an_error_deep_inside_is_recorded_with_its_traceback(scripts: Scripts) -> None:
    ended = scripts.run(BEGIN + "def train():\n    return {}['depth']\ntrain()", check=1)
    assert "in train" in str(error_of(ended))
    assert "KeyError: 'depth'" in str(error_of(ended))
    assert "KeyError: 'depth'" in ended.err  # and is shown as ever


# -- by a signal


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SIGTERM")])
def test_signals_kill_and_are_recorded(scripts: Scripts, number: int, error: str) -> None:
    process = scripts.start(BEGIN + "import time\nprint('ready', flush=True)\ntime.sleep(60)")
    out, err = stop(process, lambda: process.send_signal(number))
    ended = Ended(process.returncode, out, err, scripts.store)
    assert process.returncode == -number  # as without us: the shell and the scheduler see the same
    assert (ended.status, error_of(ended)) == ("killed", error)


def test_a_handler_of_the_users_own_stays(scripts: Scripts) -> None:
    code = "import signal, time, sys\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(5))\n" + BEGIN
    process = scripts.start(code + "print('ready', flush=True)\ntime.sleep(60)")
    stop(process, process.terminate)
    assert process.returncode == 5
    assert Ended(5, "", "", scripts.store).status == "failed"


def test_a_signal_handler_that_records_while_a_record_is_written(scripts: Scripts) -> None:
    ended = scripts.run("""
        import signal
        run = mt.init("p", capture=QUICK)
        ticks = 0
        def tick(*_):
            global ticks
            ticks += 1
            run.log({"tick": ticks})
        signal.signal(signal.SIGALRM, tick)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for i in range(30_000):
            run.log({"i": i}, step=i)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(ticks)
    """)
    state = ended.state
    assert state.metrics["i"].steps == list(range(30_000))
    assert sorted(state.metrics["tick"].values) == list(range(1, int(ended.out) + 1))  # a tick may interrupt a tick
    seqs = [entry.seq for entry in ended.journal.entries()]
    assert seqs == sorted(set(seqs))  # copies of the journal rely on it


# -- several runs


def test_a_second_run_ends_the_first_with_a_notice(scripts: Scripts) -> None:
    ended = scripts.run(
        'mt.init("p", "one", capture=QUICK)\nmt.init("p", "two", capture=QUICK)\nmt.log({"a": 1})\nraise ValueError', check=1
    )
    assert ended.statuses() == {"one": "finished", "two": "failed"}
    assert "run one" in ended.err
    assert "is finished, since another one starts; nest them with parent=" in ended.err


def test_a_child_leaves_its_parent_open_and_gives_way_to_it(scripts: Scripts) -> None:
    ended = scripts.run("""
        parent = mt.init("p", "parent", capture=QUICK)
        child = mt.init("p", "child", parent=parent, capture=QUICK)
        mt.log({"who": "child"})
        child.finish()
        mt.log({"who": "parent"})
        mt.init("p", "second", parent=parent, capture=QUICK)
        mt.init("p", "third", parent=parent.id, capture=QUICK)
        1 / 0
    """, check=1)  # fmt: skip
    assert ended.statuses() == {"parent": "failed", "child": "finished", "second": "finished", "third": "failed"}


def test_a_run_that_cannot_start_leaves_the_one_before_alone(scripts: Scripts) -> None:
    ended = scripts.run("""
        run = mt.init("p", "one", capture=QUICK)
        for wrong in ({"params": 5}, {"tags": "base"}, {"backends": "mlfow"}, {"id": "x"}, {"parent": 3}, {"notes": 3}):
            try:
                mt.init("p", "two", **wrong)
            except (mt.ConfigError, TypeError) as error:
                assert "\\n" not in str(error)
            else:
                raise AssertionError(wrong)
        run.log({"a": 1})
    """)
    assert ended.statuses() == {"one": "finished"}
    assert sorted(path.name for path in ended.store.root.iterdir()) == [".gitignore", "p"]


def test_threads_may_each_have_a_run(scripts: Scripts) -> None:
    ended = scripts.run("""
        import threading
        def train(i):
            with mt.init("p", f"r{i}", capture=QUICK) as run:
                for step in range(50):
                    mt.log({"i": i}, step=step)
        threads = [threading.Thread(target=train, args=(i,)) for i in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
    """)
    assert ended.statuses() == {f"r{i}": "finished" for i in range(4)}
    assert "another one starts" not in ended.err


def test_finishing_twice_and_logging_afterwards(scripts: Scripts) -> None:
    ended = scripts.run(BEGIN + """
run.finish("failed")
run.finish()
for record in (lambda: run.log({"a": 1}), lambda: mt.log({"a": 1}), lambda: run.set_tags(["a"]), lambda: run.summary.update(a=1)):
    try:
        record()
    except ValueError as error:
        assert "has ended, so this was not recorded" in str(error)
    else:
        raise AssertionError
    """)  # fmt: skip
    assert ended.status == "failed"
    assert "a" not in ended.state.metrics


# -- children


def test_forked_children_write_files_of_their_own_and_end_nothing(scripts: Scripts) -> None:
    ended = scripts.run(BEGIN + """
import os, sys
pids = []
for i in range(3):
    pid = os.fork()
    if not pid:
        run.log({"child": i}, step=i)
        run.finish("failed")
        sys.exit(4)
    pids.append(pid)
assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [4, 4, 4]
run.log({"loss": 0.25}, step=2)
    """)  # fmt: skip
    assert ended.status == "finished"
    assert sorted(ended.state.metrics["child"].values) == [0, 1, 2]
    assert ended.state.metrics["loss"].values == [0.5, 0.25]
    assert len(ended.journal.writers()) == 4


def test_multiprocessing_children(scripts: Scripts) -> None:
    ended = scripts.run("""
        import multiprocessing as mp
        def work(i):
            mt.log({"child": i}, step=i)
        def own(i):
            mt.init("p", f"own{i}", capture=QUICK)
            if i:
                raise ValueError("as planned")
        if __name__ == "__main__":
            mp.set_start_method("fork")
            run = mt.init("p", "parent", capture=QUICK)
            with mp.Pool(2) as pool:
                pool.map(work, range(8))
            for i in range(2):
                process = mp.Process(target=own, args=(i,))
                process.start()
                process.join()
    """)
    assert ended.statuses() == {"parent": "finished", "own0": "finished", "own1": "failed"}
    (parent,) = (run for run in ended.store.runs() if Journal(run).started().name == "parent")
    steps = sorted(record.step for record in Journal(parent).records() if isinstance(record, Metrics) and record.step is not None)
    assert steps == list(range(8))


def test_a_forked_child_that_lives_on_does_not_keep_the_run_alive(scripts: Scripts) -> None:
    process = scripts.start(
        BEGIN + "import os, time\npid = os.fork()\nif pid: print(pid, flush=True)\nos.close(1)\nos.close(2)\ntime.sleep(60)"
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        process.kill()
        process.communicate(timeout=60)
        assert Ended(0, "", "", scripts.store).status == "crashed"
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.slow
def test_processes_join_a_run_by_its_id(scripts: Scripts) -> None:
    run_id = "joined" + "0" * 26
    code = """
        import sys, time
        run = mt.init("p", params={"rank": sys.argv[1]}, capture=QUICK)
        run.log({"rank" + sys.argv[1]: 1})
        print("ready", flush=True)
        time.sleep(float(sys.argv[2]))
    """
    first = scripts.start(code, "0", "3", MULTITRACK_RUN_ID=run_id)
    assert first.stdout is not None
    first.stdout.readline()
    second = scripts.run(code, "1", "0", MULTITRACK_RUN_ID=run_id)
    assert second.status == "running"  # the one that began it goes on
    assert "this process's part of it has ended" in second.err
    first.communicate(timeout=60)
    assert second.status == "finished"
    assert set(second.state.metrics) == {"rank0", "rank1"}
    assert second.state.params == {"rank": "0"}


@pytest.mark.slow
def test_of_processes_that_start_together_one_begins_the_run(scripts: Scripts) -> None:
    code = 'run = mt.init("p", capture=QUICK)\nrun.log({"a": 1})\nimport time\ntime.sleep(1)'
    processes = [scripts.start(code, MULTITRACK_RUN_ID="7" * 32) for _ in range(4)]
    assert [process.communicate(timeout=60) and process.returncode for process in processes] == [0] * 4
    ended = Ended(0, "", "", scripts.store)
    kinds = [record.kind for record in ended.records]
    assert (kinds.count("run_started"), kinds.count("run_updated"), kinds.count("run_finished")) == (1, 0, 1)
    assert len(ended.state.metrics["a"]) == 4


def test_a_crashed_run_goes_on(scripts: Scripts) -> None:
    code = """
        import os, sys
        run = mt.init("p", id="9" * 32, resume="allow", capture=QUICK)
        run.log({"a": 1})
        if sys.argv[1] == "crash":
            os._exit(0)
    """
    assert scripts.run(code, "crash").status == "crashed"
    ended = scripts.run(code, "end")
    assert ended.status == "finished"
    assert len(ended.state.metrics["a"]) == 2


# -- a disk that refuses


def test_a_full_disk_never_reaches_the_training_and_what_is_lost_is_counted(scripts: Scripts) -> None:
    ended = scripts.run("""
        import pathlib, resource
        pathlib.Path("big").write_bytes(b"x" * 100_000)
        run = mt.init("p", capture=QUICK)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        for i in range(100):
            run.log({"i": i}, step=i)
        run.log_params({"lr": 0.1})
        run.log_artifact("big")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        run.log({"i": 100}, step=100)
    """)
    steps = ended.state.metrics["i"].steps
    assert steps == [*range(len(steps) - 1), 100]
    lost = 101 - len(steps) + 2
    assert f"the disk refused {lost} records; they are lost" in ended.err
    assert ended.err.count("records are lost until the disk takes them again") == 1
    assert ended.status == "finished"
    assert not list((ended.folder.path / "artifacts").iterdir())


def test_a_forked_child_on_a_full_disk_goes_on(scripts: Scripts) -> None:
    ended = scripts.run("""
        import os, resource
        run = mt.init("p", capture=QUICK)
        if not (pid := os.fork()):
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
            run.log({"a": 1})
            run.log({"a": 2})
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            run.log({"a": 3})
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    """)
    assert ended.state.metrics["a"].values == [3]
    assert ended.err.count("lost until the disk takes it") == 1


def test_a_store_that_is_removed_hurts_nobody(scripts: Scripts) -> None:
    ended = scripts.run(BEGIN + "import shutil\nshutil.rmtree(run.dir)\nrun.log({'a': 1})\nrun.finish()\nprint('done')")
    assert ended.out == "done\n"
    assert "cannot be written" in ended.err


# -- what people see


def test_the_lines_at_the_start_and_the_end(scripts: Scripts) -> None:
    lines = scripts.run(BEGIN + "print(run)\nprint(repr(run))").err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("multitrack: run r (")
    assert lines[0].endswith(f"of p, recorded in store/p/{scripts.store.root.joinpath('p').iterdir().__next__().name}")
    assert " finished after " in lines[1]


def test_quiet_says_nothing(scripts: Scripts) -> None:
    assert scripts.run(BEGIN, MULTITRACK_QUIET="1").err == ""


@pytest.mark.parametrize("close", ["sys.stderr.close()", "sys.stderr = None", "os.close(2)"])
def test_a_closed_standard_error_hurts_nobody(scripts: Scripts, close: str) -> None:
    assert scripts.run(f"import os, sys\n{close}\n{BEGIN}\nrun.finish()\nos._exit(0)").status == "finished"


def test_a_working_folder_that_is_removed_hurts_nobody(scripts: Scripts) -> None:
    (scripts.folder / "gone").mkdir()
    assert scripts.run(f"import os\nos.chdir('gone')\n{BEGIN}\nos.rmdir('../gone')\nprint(run)").status == "finished"


def test_disabled_records_nothing_and_takes_everything(scripts: Scripts) -> None:
    ended = scripts.run(BEGIN + """
import pathlib
pathlib.Path("f").write_text("x")
run.log_params({"a": 1}); run.set_tags(["t"]); run.set_notes("n"); run.set_name("n")
run.log_artifact("f"); run.log_artifact("f", "g", reference=True)
run.log_data("d", "f"); run.define_metric("loss", goal="min"); run.summary["best"] = 1; mt.log({"a": 1})
print(run, run.url("mlflow"), run.dir)
assert run.summary["best"] == 1 and len(run.id) == 32
for wrong in ({"a": None}, {"a": [1]}):
    try: run.log(wrong)
    except TypeError: pass
    else: raise AssertionError
    """, MULTITRACK_MODE="disabled")  # fmt: skip
    assert ended.err == ""
    assert not ended.store.root.exists()


def test_deferred_records_and_names_the_command_that_delivers(scripts: Scripts) -> None:
    ended = scripts.run(BEGIN, MULTITRACK_MODE="deferred", MULTITRACK_BACKENDS="local:./mirror")
    assert ended.status == "finished"
    assert f"multitrack sync {ended.folder.id}" in ended.err
    assert not (scripts.folder / "mirror").exists()
    assert not (ended.store.root / ".couriers").exists()

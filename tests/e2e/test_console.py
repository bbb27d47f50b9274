"""What scripts print: every byte comes out as without multitrack, and the lines are in the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from multitrack.journal import Journal, Store
from multitrack.state import fold
from support.consoles import Consoles, Where, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def consoles(tmp_path: Path) -> Consoles:
    return Consoles(tmp_path)


EVERYONE = r"""
import ctypes, logging, multiprocessing, os, subprocess, sys, threading, time
later = logging.getLogger("later")
later.addHandler(logging.StreamHandler())
later.propagate = False
print("tty", sys.stdout.isatty(), sys.stderr.isatty(), os.isatty(0), sys.stdout.fileno(), sys.stderr.fileno(), sys.stdout.encoding)
print("python stdout", flush=True)
print("python stderr", file=sys.stderr)
logging.warning("handler made before")
later.warning("handler made after")
print("no line end", end="", flush=True)
print(" until now \x1b[31mred\x1b[0m", flush=True)
subprocess.run(["sh", "-c", "test -t 1 && echo child sees a terminal; echo child stdout; echo child stderr >&2"])
os.system("echo of a shell")
os.write(1, b"raw stdout\n")
os.write(2, b"raw stderr\n")
libc = ctypes.CDLL(None)
libc.puts(b"c library")
libc.fflush(None)
threads = [threading.Thread(target=print, args=(f"thread {n}",), kwargs={"flush": True}) for n in range(2)]
for thread in threads:
    thread.start()
    thread.join()
if (pid := os.fork()) == 0:
    print("forked", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
for method in ("fork", "spawn"):
    child = multiprocessing.get_context(method).Process(target=print, args=(method,), kwargs={"flush": True})
    child.start()
    child.join()
for n in range(5):
    print(f"\rbar {n}", end="", file=sys.stderr, flush=True)
print(file=sys.stderr)
os.write(1, b"no text: \xff\xfe\n")
print("\u00e9 \U0001f600", flush=True)
"""
EVERYONE = "if __name__ == '__main__':\n" + "\n".join("    " + line for line in EVERYONE.splitlines()) + "\n"
BEGIN = """
import logging
if __name__ == "__main__":
    import multitrack as mt
    logging.basicConfig()
    print("before the run", flush=True)
    run = mt.init()
"""
STDOUT = [
    "python stdout",
    "no line end until now red",
    "child stdout",
    "of a shell",
    "raw stdout",
    "c library",
    "thread 0",
    "thread 1",
    "forked",
    "fork",
    "spawn",
    "no text: \udcff\udcfe",
    "\u00e9 \U0001f600",
]
PYTHON_STDERR = ["python stderr", "WARNING:root:handler made before", "handler made after", "bar 4"]


@pytest.mark.parametrize("where", ["terminal", "pipe", "file"])
def test_every_byte_comes_out_as_ever_and_every_line_is_recorded(consoles: Consoles, where: Where) -> None:
    without = consoles.run(EVERYONE, where, capture="none", begin=BEGIN)
    shown = consoles.run(EVERYONE, where, begin=BEGIN)
    assert (shown.code, shown.out, shown.err) == (without.code, without.out, without.err)
    assert without.lines() == []
    ours = where == "terminal"
    assert (
        shown.lines()[0 if where != "pipe" else shown.lines().index(f"tty {ours} {ours} {ours} 1 2 utf-8")]
        == f"tty {ours} {ours} {ours} 1 2 utf-8"
    )
    expected = [*STDOUT[:2], *(["child sees a terminal"] if ours else []), *STDOUT[2:]]
    rest = shown.lines("stdout")[1:]
    if where == "pipe":
        assert rest == expected
        assert shown.lines("stderr") == [*PYTHON_STDERR[:3], "child stderr", "raw stderr", PYTHON_STDERR[3]]
    else:  # one place for both: what others than this process's Python print on standard error counts as standard output
        assert [line for line in rest if line not in ("child stderr", "raw stderr")] == expected
        assert {"child stderr", "raw stderr"} <= set(rest)
        assert shown.lines("stderr") == PYTHON_STDERR


def test_times_are_those_of_printing(consoles: Consoles) -> None:
    shown = consoles.run(
        """
        import time
        for _ in range(3):
            print(time.time_ns() // 1000, flush=True)
            time.sleep(0.3)
        """
    )
    for line in shown.console:
        assert 0 <= line.time - int(line.text) < 200_000


@pytest.mark.parametrize("where", ["terminal", "pipe"])
def test_a_prompt_appears_at_once_and_is_answered(consoles: Consoles, where: Where) -> None:
    shown = consoles.run(
        """
        import sys
        print("ready", flush=True)
        name = input("name? ")
        print("hello", name)
        """,
        where,
        typed=b"bob\n",
        ready=b"name? " if where == "terminal" else b"ready",
    )
    assert shown.code == 0
    assert shown.out.replace(b"\r\n", b"\n").endswith(b"name? bob\nhello bob\n" if where == "terminal" else b"name? hello bob\n")


def test_a_debugger_works(consoles: Consoles) -> None:
    shown = consoles.run("value = 41\nbreakpoint()\nprint('went on')", "terminal", typed=b"p value + 1\nc\n", ready=b"(Pdb) ")
    assert shown.code == 0
    assert b"42" in shown.out
    assert b"went on" in shown.out


def test_the_window_is_that_of_the_terminal_and_follows_it(consoles: Consoles) -> None:
    shown = consoles.run(
        """
        import fcntl, os, struct, termios, time
        assert os.get_terminal_size(1) == os.get_terminal_size(0)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        for _ in range(100):
            if os.get_terminal_size(1) == (77, 33):
                break
            time.sleep(0.05)
        print(os.get_terminal_size(1))
        """,
        "terminal",
    )
    assert b"columns=77, lines=33" in shown.out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell of it")
def test_modes_set_through_standard_output_reach_the_terminal(consoles: Consoles) -> None:
    shown = consoles.run(
        """
        import subprocess, termios, time, tty

        def wait_for(canonical, echo):
            for _ in range(100):
                modes = termios.tcgetattr(0)[3]
                if (bool(modes & termios.ICANON), bool(modes & termios.ECHO)) == (canonical, echo):
                    return
                time.sleep(0.05)
            raise SystemExit(f"{modes:o}")

        before = termios.tcgetattr(1)
        tty.setcbreak(1)
        wait_for(False, False)
        termios.tcsetattr(1, termios.TCSADRAIN, before)
        wait_for(True, True)
        subprocess.run("stty -echo <&1", shell=True)
        wait_for(True, False)
        subprocess.run("stty echo <&1", shell=True)
        wait_for(True, True)
        print("done")
        """,
        "terminal",
    )
    assert (shown.code, shown.out) == (0, b"done\r\n")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell of it")
def test_curses(consoles: Consoles) -> None:
    script = """
        import curses
        def draw(screen):
            screen.addstr(2, 3, "press a key")
            screen.refresh()
            return screen.getch()
        key = curses.wrapper(draw)
        print("key", chr(key))
        """
    shown = consoles.run(script, "terminal", typed=b"k", ready=b"press")  # no line end: the terminal must be in another mode
    assert shown.code == 0
    assert shown.out.endswith(b"key k\r\n")
    assert shown.lines()[-1] == "key k"


@pytest.mark.parametrize("where", ["terminal", "pipe", "file"])
@pytest.mark.parametrize(
    ("end", "code"), [("os.kill(os.getpid(), 9)", -9), ("os._exit(3)", 3), ("os.abort()", -6), ("sys.exit(4)", 4), ("1 / 0", 1)]
)
def test_last_words(consoles: Consoles, where: Where, end: str, code: int) -> None:
    script = f"import faulthandler, os, sys\nfaulthandler.enable(all_threads=False)\nprint('last words', flush=True)\n{end}"
    without = consoles.run(script, where, capture="none")
    shown = consoles.run(script, where)
    assert (shown.code, shown.out, shown.err) == (without.code, without.out, without.err)
    assert shown.code == code
    wait_until(lambda: bool(shown.lines()))
    wait_until(lambda: shown.status != "running")
    assert "last words" in shown.lines()
    if "abort" in end:
        assert any("Fatal Python error: Aborted" in line for line in shown.lines())
    if "/" in end:
        assert "ZeroDivisionError: division by zero" in shown.lines("stderr")


def test_nothing_is_lost_when_a_program_is_killed_while_it_prints(consoles: Consoles) -> None:
    shown = consoles.run(
        """
        import itertools, os
        print("ready", flush=True)
        for number in itertools.count():
            os.write(1, b"%d\\n" % number)
        """,
        ready=b"ready\n",
        act=lambda pid: os.kill(pid, signal.SIGKILL),
    )
    assert shown.code == -9
    numbers = shown.out.split(b"\n")[1:-1]
    assert [int(number) for number in numbers] == list(range(len(numbers)))
    wait_until(lambda: len(shown.lines()) >= len(numbers) + 1)
    assert [line.encode() for line in shown.lines()[1:]] == numbers


def test_a_reader_that_has_enough_is_as_without_us(consoles: Consoles) -> None:
    script = """
        import sys
        try:
            for number in range(1_000_000):
                print(number, flush=True)
        except BrokenPipeError:
            sys.stderr.write("broken pipe\\n")
            sys.stdout = None
        print("still here", file=sys.stderr)
        """
    (consoles.folder / "head.sh").write_text(f'exec {sys.executable} "$@" | head -1')
    consoles.run("", capture="none")
    path = consoles.folder / "train.py"
    path.write_text("import multitrack as mt\nrun = mt.init()\n" + "\n".join(line[8:] for line in script.splitlines()))
    env = {**os.environ, "MULTITRACK_DIR": str(consoles.folder / "heads"), "MULTITRACK_CAPTURE": "console", "MULTITRACK_QUIET": "1"}
    done = subprocess.run(["sh", str(consoles.folder / "head.sh"), str(path)], capture_output=True, env=env, timeout=60, check=False)
    assert done.stdout == b"0\n"
    assert done.stderr == b"broken pipe\nstill here\n"


def test_a_pump_that_is_killed_takes_nothing_along(consoles: Consoles) -> None:
    shown = consoles.run(
        """
        import os, subprocess, time
        from multitrack.capture.console.source import Source
        (tap,) = Source._open.values()
        for round in range(4):
            while tap.pump is None:
                time.sleep(0.01)
            pump, tap.pump = tap.pump, None
            print("round", round, flush=True)
            time.sleep(0.3)
            os.kill(pump, 9)
            for number in range(20_000):
                print(number)
            subprocess.run(["echo", "child"])
            if round == 2:
                break
        print("end")
        """
    )
    expected = [line for round in range(3) for line in (f"round {round}", *map(str, range(20_000)), "child")]
    without_order = sorted(shown.out.decode().split())
    assert without_order == sorted(" ".join([*expected, "end"]).split())
    assert shown.code == 0
    assert {"round 0", "round 1", "round 2"} <= set(shown.lines())


def test_children_that_outlive_the_run_go_on_printing(consoles: Consoles) -> None:
    shown = consoles.run(
        """
        import subprocess
        subprocess.Popen(["sh", "-c", "echo during; sleep 1.5; echo afterwards; echo more"])
        import time; time.sleep(0.7)
        print("main", flush=True)
        run.finish()
        print("behind", flush=True)
        """
    )
    assert shown.out == b"during\nmain\nbehind\nafterwards\nmore\n"
    assert shown.lines() == ["during", "main"]


def test_each_run_has_what_was_printed_while_it_went_on(consoles: Consoles) -> None:
    shown = consoles.run(
        """
        print("nobody's")
        with mt.init(name="one"):
            print("of one")
        print("nobody's")
        with mt.init(name="outer") as outer:
            print("of outer")
            with mt.init(name="inner", parent=outer):
                print("of both")
            print("of outer again")
        """,
        begin="import multitrack as mt\n",
    )
    runs = {state.name: [line.text for line in state.console] for state in (fold(Journal(run).records()) for run in shown.store.runs())}
    assert runs == {"one": ["of one"], "outer": ["of outer", "of both", "of outer again"], "inner": ["of both"]}


@pytest.mark.parametrize("broken", ["sys.stdout = sys.stderr = None", "sys.stdout.close()", "os.close(1); os.close(2)"])
def test_no_console_is_no_obstacle(consoles: Consoles, broken: str) -> None:
    shown = consoles.run("run.log({'a': 1})", begin=f"import os, sys\nimport multitrack as mt\n{broken}\nrun = mt.init()\n")
    assert shown.code in (0, 120)
    assert shown.state.metrics["a"].values == [1]


def test_secrets_are_masked(consoles: Consoles) -> None:
    shown = consoles.run("print('at https://user:hunter2@example.org/x')")
    assert shown.out == b"at https://user:hunter2@example.org/x\n"
    assert shown.lines() == ["at https://***@example.org/x"]


def test_much_is_printed_without_end(consoles: Consoles) -> None:
    shown = consoles.run("for n in range(300_000): print('line', n)\nrun.finish()\nprint('behind')")
    assert shown.out == b"".join(b"line %d\n" % n for n in range(300_000)) + b"behind\n"
    assert shown.lines() == [f"line {n}" for n in range(300_000)]


def test_python_alone(consoles: Consoles) -> None:
    shown = consoles.run(EVERYONE, "terminal", begin=BEGIN, MULTITRACK_CONSOLE="python")
    assert "python stdout" in shown.lines("stdout")
    assert "forked" in shown.lines("stdout")
    assert shown.lines("stderr") == PYTHON_STDERR
    assert "child stdout" not in shown.lines()


RANKS = """
import os, multitrack as mt
run = mt.init()
print("of rank", os.environ["PMI_RANK"])
"""


def test_ranks_are_told_apart(consoles: Consoles) -> None:
    store = Store(consoles.folder / "store")
    ranks = {"PMI_SIZE": "2", "MULTITRACK_RUN_ID": "0" * 32, "MULTITRACK_DIR": str(store.root)}
    for rank in "01":
        shown = consoles.run("", begin=RANKS, PMI_RANK=rank, **ranks)
        assert shown.out == f"of rank {rank}\n".encode()
    (folder,) = store.runs()
    console = fold(Journal(folder).records()).console
    assert {(line.label, line.text) for line in console} == {(None, "of rank 0"), ("rank 1", "of rank 1")}


WORKERS = """
import os, subprocess, sys, multitrack as mt
run = mt.init()
if "WORKER" in os.environ:
    print("of a worker")
    run.finish()
    raise SystemExit
env = {**os.environ, "WORKER": "1", "MULTITRACK_RUN_ID": run.id}
print("of the first", flush=True)
"""


def test_workers_that_join_are_recorded_once(consoles: Consoles) -> None:
    shown = consoles.run("subprocess.run([sys.executable, __file__], env=env)", begin=WORKERS)
    assert [(line.label, line.text) for line in shown.console] == [(None, "of the first"), (None, "of a worker")]
    shown = consoles.run("print(subprocess.run([sys.executable, __file__], env=env, capture_output=True).stdout)", begin=WORKERS)
    (worker,) = (line for line in shown.console if line.label)
    assert worker.text == "of a worker"
    assert worker.label.startswith("process ")


PYTEST = """
import os, sys, logging
import multitrack as mt

def test_capsys(capsys):
    with mt.init(name="capsys"):
        print("out")
        print("err", file=sys.stderr)
    assert capsys.readouterr() == ("out\\n", "err\\n")

def test_capfd(capfd):
    with mt.init(name="capfd"):
        os.write(1, b"raw\\n")
        print("out")
    assert capfd.readouterr().out == "raw\\nout\\n"

def test_nothing_asked_for():
    with mt.init(name="plain"):
        print("out")
"""


def test_under_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(PYTEST)
    env = {**os.environ, "MULTITRACK_DIR": str(tmp_path / "store"), "MULTITRACK_CAPTURE": "console", "MULTITRACK_QUIET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)],
        env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    states = [fold(Journal(run).records()) for run in Store(tmp_path / "store").runs()]
    assert {state.name: [line.text for line in state.console] for state in states} == {
        "capsys": ["out", "err"],
        "capfd": ["out"],
        "plain": ["out"],
    }

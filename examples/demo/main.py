"""The main job, end to end: train, mirror to two services, survive an outage, migrate, verify.

    python examples/demo/main.py [--output demo-output]

Starts three MLflow servers of its own on loopback, and ends them. Exits 0 only if every check held.

    chapters.py  what happens        servers.py   the MLflow servers             checks.py   what has to hold
    training.py  models and runs     witness.py   what a server really holds     ending.py   what is left, and what to type next
                                                                                 story.py    how it is printed
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import psutil

MARK = ".multitrack-demo"
"""Lies in the output folder, so that the next demo knows that it may replace the folder."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell the story; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for what is left behind (default: %(default)s)")
    output: Path = parser.parse_args(arguments).output.absolute()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, interrupt)
    began_in = Path.cwd()
    prepare_folder(output)
    prepare_environment(output)

    # The libraries read the environment when they are imported.
    from chapters import Demo
    from ending import tell_commands, tell_what_is_where
    from story import Story

    story = Story()
    demo = Demo(story, output)
    with own_processes():
        try:
            demo.tell()
        finally:
            demo.stop()
        story.check("every process that the demo started has ended", not left_over(timeout=20))
    tell_what_is_where(story, demo.servers, demo.results, began_in)
    tell_commands(story, demo.results, output, began_in)
    return 0 if story.close() else 1


def prepare_folder(output: Path) -> None:
    """Make the output folder; one that an earlier demo has left is replaced."""
    if output.exists() and any(output.iterdir()):
        if not (output / MARK).exists():
            sys.exit(f"{output} is there already and was not made by this demo: name another folder with --output")
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / MARK).touch()


def prepare_environment(output: Path) -> None:
    """Work in the output folder on the demo's own settings, with nobody's targets or logins."""
    for name in [name for name in os.environ if name.startswith(("MULTITRACK_", "MLFLOW_", "_MLFLOW_"))]:
        del os.environ[name]
    os.environ |= {
        "MULTITRACK_COURIER_LINGER": "3",  # couriers end soon after the last run, and with them the demo
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "PYTHONWARNINGS": "ignore",
    }
    os.chdir(output)


def interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """End the demo by an exit: a KeyboardInterrupt, scikit-learn's training loops would take for their own, and go on."""
    print("\ninterrupted: ending what the demo has started", file=sys.stderr)
    sys.exit(128 + number)


@contextmanager
def own_processes() -> Iterator[None]:
    """However the block ends, end what was started in it: the children of this process, by their ids, and nothing else."""
    import psutil

    try:
        yield
    finally:
        left = left_over(timeout=0)
        for process in left:
            process.terminate()
        for process in psutil.wait_procs(left, timeout=5)[1]:
            process.kill()


def left_over(timeout: float) -> list[psutil.Process]:
    """Return the children of this process that still run after `timeout` seconds."""
    import psutil

    _, alive = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=timeout)
    return list(alive)


if __name__ == "__main__":
    sys.exit(main())

"""What is recorded by itself: what it costs, beside the least that the same can cost."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import fresh, milliseconds, show


def run(full: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-", ignore_cleanup_errors=True) as folder:
        _code(Path(folder), full)


# -- code: a large repository, beside `git status` of the same


def _code(folder: Path, full: bool) -> None:
    if shutil.which("git") is None:
        print("there is no git here: the code's capture is not measured")
        return
    files, rounds = (100_000, 7) if full else (20_000, 3)
    repository = make_repository(folder / "repository", files)
    cases = {"`git status`, all untracked files": lambda: status(repository), "capture, clean": lambda: capture(repository, folder)}
    rows = _rounds(cases, rounds)
    for number in range(100):
        (repository / f"d{number}" / "f0.py").write_text("changed = True\n")
        (repository / f"d{number}" / "new.py").write_text("new = True\n")
    changed = {
        "`git status`, 100 files changed, 100 untracked": lambda: status(repository),
        "capture, the same": lambda: capture(repository, folder),
    }
    rows += _rounds(changed, rounds)
    show(f"code: a repository of {files:,} files", ("", "median", "best", "median / git status"), rows)
    _init(folder, repository, rounds)


def _rounds(cases: dict[str, Callable[[], float]], rounds: int) -> list[tuple[str, str, str, float]]:
    """Time cases in turns; the first one is the floor."""
    kept: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            seconds = case()
            if number:
                kept[name].append(seconds)
    floor = next(iter(kept.values()))
    return [
        (
            name,
            milliseconds(statistics.median(times)),
            milliseconds(min(times)),
            statistics.median(one / low for one, low in zip(times, floor, strict=True)),
        )
        for name, times in kept.items()
    ]


def make_repository(folder: Path, files: int) -> Path:
    """Make a repository with so many small files, a hundred a folder, in one commit."""
    folder.mkdir()
    stream = ["blob\nmark :1\ndata 6\nx = 1\n\n", "commit refs/heads/main\ncommitter n <n@example.com> 1700000000 +0000\ndata 5\nfirst\n"]
    stream += [f"M 100644 :1 d{number // 100}/f{number % 100}.py\n" for number in range(files)]
    git(folder, "init", "-q", "--initial-branch=main")
    git(folder, "fast-import", "--quiet", given="".join(stream))
    git(folder, "reset", "-q", "--hard")
    return folder


def git(folder: Path, *arguments: str, given: str | None = None) -> None:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_OPTIONAL_LOCKS": "0"}
    subprocess.run(["git", "-C", str(folder), *arguments], input=given, text=True, check=True, capture_output=True, env=env)


def status(repository: Path) -> float:
    start = time.perf_counter()
    git(repository, "status", "--porcelain", "--untracked-files=all")
    return time.perf_counter() - start


CAPTURE = """
import sys, time
from pathlib import Path
from multitrack.capture.code.survey import Survey
from multitrack.capture.code.entry import find_entry
from multitrack.capture.recorder import Recorder
from multitrack.journal import RunFolder
from multitrack.masking import Mask
folder = RunFolder(Path({folder!r}))
folder.create()
start = time.perf_counter()
version = Survey(Recorder(folder=folder, write=lambda record: None, mask=Mask()), find_entry()).look()
print(time.perf_counter() - start)
assert version.dirty is not None
"""


def capture(repository: Path, folder: Path) -> float:
    """Return the seconds that the code's capture takes, in a fresh process, beyond its imports."""
    with tempfile.TemporaryDirectory(dir=folder) as run:
        return float(fresh(CAPTURE.format(folder=run), cwd=repository))


INIT = """
import time
import multitrack as mt
mt.init
start = time.perf_counter()
run = mt.init(project="p", dir={store!r}, quiet=True, backends=["local"], capture={capture})
begun = time.perf_counter() - start
run.finish()
print(begun, time.perf_counter() - start)
"""


def _init(folder: Path, repository: Path, rounds: int) -> None:
    """What `init` costs the training there, and a run that ends at once, which waits for what is captured."""
    nothing = "mt.Capture(code=False, environment=False, system=False, console=False)"
    code = "mt.Capture(code=True, environment=False, system=False, console=False)"
    cases = {"nothing captured": nothing, "the code": code, "all": "None"}
    kept: dict[str, list[list[float]]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, wanted in cases.items():
            with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as store:
                times = [float(word) for word in fresh(INIT.format(store=store, capture=wanted), cwd=repository).split()]
            if number:
                kept[name].append(times)
    floor = statistics.median(times[0] for times in kept["nothing captured"])
    rows = [
        (
            name,
            milliseconds(begun := statistics.median(one[0] for one in times)),
            begun / floor,
            milliseconds(statistics.median(one[1] for one in times)),
        )
        for name, times in kept.items()
    ]
    show("init in that repository, after the import", ("captured", "init", "init / nothing captured", "init and finish"), rows)

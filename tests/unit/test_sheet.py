"""What `multitrack show` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

import multitrack as mt
from multitrack.records import (
    ArtifactRef,
    CaptureFailed,
    CodeVersion,
    DataColumn,
    DataVersion,
    Environment,
    Gpu,
    Hyperparameters,
    LogLines,
    Metrics,
    Omission,
    PackageSource,
    Record,
    Submodule,
)
from multitrack.sheet import changed_lines, describe_records, show_run, size_text

QUICK = mt.Capture(code=False, environment=False, system=False, console=False)
DIFF = """diff --git a/a.py b/a.py
--- a/a.py
+++ b/a.py
@@ -1,2 +1,3 @@
 x
-y
+z
++++ not a header
diff --git a/b.bin b/b.bin
GIT binary patch
"""


@pytest.fixture
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mt.RunView:
    monkeypatch.chdir(tmp_path)
    with mt.init(project="p", name="svc", dir="store", capture=QUICK, quiet=True) as run:
        for record in records():
            run._write(record)
    return mt.open("local:./store").run(run.id)


def records() -> list[Record]:
    untracked = [ArtifactRef(name=f"code/untracked/m{number}.py", sha256="0" * 64) for number in range(10)]
    return [
        CodeVersion(
            time=1, vcs="git", commit="c0ffee", branch="main", dirty=True, diff=DIFF, untracked=untracked, command=["python", "a b.py"],
            submodules=[Submodule(path="lib", commit="f" * 40, dirty=True)], omitted=[Omission(name="big.bin", reason="too large")],
        ),
        DataVersion(
            time=1, name="digits", role="train", digest="d" * 64, algorithm="sha256", size=1_500_000, rows=1797,
            columns=[DataColumn(name="x", type="int64")], uri="file:///data/digits.csv",
        ),
        Hyperparameters(time=1, values={"lr": 0.1, "model": {"kind": "svc"}}, sources={"model": {"kind": "command line"}}),
        *(Metrics(time=step, step=step, values={"loss": 1 / (step + 1)}) for step in range(3)),
        *(Metrics(time=step, values={"system/cpu_percentage": 10.0 * step}, source="system") for step in range(3)),
        Environment(
            time=1, host="n1", python="3.12.1", packages={"numpy": "2.0", "svc": "1"}, cpu="x", cpu_count=8, cpu_limit=2.5, memory=2**34,
            memory_limit=2**30, gpus=[Gpu(name="A100", memory=2**36)], driver="550", cuda="12.4", container="docker",
            sources={"svc": PackageSource(kind="editable", url="/svc")}, scheduler={"slurm": {"job_id": "7"}}, variables={"LANG": "C"},
        ),
        LogLines(time=1, stream="stdout", times=list(range(12)), lines=[f"line {number}" for number in range(12)]),
        LogLines(time=1, stream="stderr", label="rank 1", times=[20], lines=["a warning"]),
        CaptureFailed(time=1, what="system", error="OSError: no /proc"),
    ]  # fmt: skip


def test_every_record_is_shown(view: mt.RunView) -> None:
    told = "\n".join(show_run(view))
    for text in (
        "commit       c0ffee",
        "changes      2 files, +2 -1 lines",
        "not tracked  m0.py",
        "and 2 more",
        "lib at ffffffffffff, changed",
        "left out     big.bin: too large",
        "command      python 'a b.py'",
        "digits (train)  1,797 rows, 1 column, 1.5 MB, sha256 dddddddddddd, file:///data/digits.csv",
        "model.kind  'svc'  (command line)",
        "loss  0.333333  (3 points)",
        "packages   2, 1 of them from elsewhere than an index",
        "x, 8 processors, 2.5 of them allowed",
        "17.2 GB, 1.1 GB of them allowed",
        "A100, 68.7 GB",
        "550 with CUDA 12.4",
        "slurm.job_id: 7",
        "LANG=C",
        "system  OSError: no /proc",
        "console, the last 10 of 13 lines (--console shows all)",
        "! rank 1: a warning",
    ):
        assert text in told, told
    assert "line 2\n" not in told
    assert "  line 2\n" in "\n".join(show_run(view, whole_console=True)) + "\n"


def test_resources_stand_apart_from_metrics(view: mt.RunView) -> None:
    lines = list(show_run(view))
    row = next(line for line in lines if "cpu_percentage" in line)
    assert row.split() == ["cpu_percentage", "10", "20", "20"]
    assert sum("cpu_percentage" in line for line in lines) == 1


def test_programs_get_all_of_it(view: mt.RunView) -> None:
    told = describe_records(view.state)
    assert told["code"]["diff"] == DIFF
    assert told["data"][0]["columns"][0].name == "x"
    assert told["environments"][0]["packages"] == {"numpy": "2.0", "svc": "1"}
    assert told["failures"] == {"system": "OSError: no /proc"}
    assert (len(told["console"]), told["console_lines"]) == (10, 13)


def test_sizes_and_lines_of_a_diff() -> None:
    assert [size_text(size) for size in (None, 0, 999, 1500, 2_500_000, 3 * 10**9, 5 * 10**15)] == [
        None, "0 B", "999 B", "1.5 kB", "2.5 MB", "3.0 GB", "5,000.0 TB",
    ]  # fmt: skip
    assert changed_lines(DIFF) == (2, 1)

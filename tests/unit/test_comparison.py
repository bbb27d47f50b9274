"""Runs beside each other: `multitrack compare`."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from multitrack.cli.app import run as run_command
from multitrack.comparison import CodeChange, RunCode, Subject, code_changes, compare_runs, show_comparison
from multitrack.comparison.code import diff_of_diffs, sections
from multitrack.comparison.rows import ABSENT, differing
from multitrack.records import (
    Artifact,
    ArtifactRef,
    CodeVersion,
    DataColumn,
    DataVersion,
    Environment,
    MetricDefinition,
    Omission,
    PackageSource,
)
from multitrack.state import RunState, Series

QUICK = mt.Capture(code=False, environment=False, system=False, console=False)


def git(folder: Path, *arguments: str, stdin: bytes | None = None) -> bytes:
    user = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(["git", "-C", str(folder), *user, *arguments], check=True, capture_output=True, input=stdin).stdout


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "x")
    return git(folder, "rev-parse", "HEAD").decode().strip()


# -- rows -------------------------------------------------------------------------------------------------------------


def test_only_what_differs_is_a_row() -> None:
    rows = differing([{"a": 1, "b": 1, "nan": math.nan, "c": None}, {"a": 1, "b": 1.0, "nan": math.nan}])
    assert [(row.name, row.values) for row in rows] == [("b", (1, 1.0)), ("c", (None, ABSENT))]


def state_of(**fields: Any) -> RunState:
    return RunState(id="1" * 32, project="p", **fields)


def compare(*states: RunState) -> Any:
    return compare_runs([Subject(f"r{place}", state) for place, state in enumerate(states)])


def test_params_packages_machine_and_data_that_differ() -> None:
    def made(lr: float, numpy: str, cpu: str, rows: int, commit: str) -> RunState:
        source = PackageSource(kind="vcs", url="https://example.org/x", vcs="git", commit=commit)
        environment = Environment(
            time=1, host="n", python="3.12", packages={"numpy": numpy, "six": "1", "x": "0"}, sources={"x": source}, cpu=cpu, memory=1
        )
        data = DataVersion(time=1, name="d", role="train", digest=str(rows) * 64, rows=rows)
        return state_of(params={"model": {"lr": lr, "depth": 3}}, environments={"n": environment}, data={("d", "train", data.digest): data})

    found = compare(made(0.1, "2.0", "a", 1, "aaa"), made(0.2, "2.1", "b", 2, "bbb"), made(0.1, "2.0", "a", 1, "aaa"))

    assert [(row.name, row.values) for row in found.params] == [("model.lr", (0.1, 0.2, 0.1))]
    assert [(row.name, row.values) for row in found.packages] == [
        ("numpy", ("2.0", "2.1", "2.0")),
        ("x", ("0 (vcs aaa)", "0 (vcs bbb)", "0 (vcs aaa)")),
    ]
    assert [row.name for row in found.hardware] == ["cpu"]
    assert [row.name for row in found.data] == ["d (train) digest", "d (train) rows"]
    assert found.same == {"params": 1, "packages": 1}


@pytest.mark.parametrize(
    ("goal", "values", "winners"),
    [("max", (0.1, 0.3, 0.2), (1,)), ("min", (0.1, 0.3, 0.1), (0, 2)), (None, (0.1, 0.3, 0.2), ()), ("max", (math.nan, 0.3, "x"), ())],
)
def test_the_best_run_is_marked_where_a_goal_says_what_is_best(goal: Any, values: Sequence[Any], winners: Sequence[int]) -> None:
    definitions = {"m": MetricDefinition(time=1, name="m", goal=goal)}
    states = [state_of(metrics={"m": Series([1], [1], [value])}, definitions=definitions) for value in values]
    (row,) = compare(*states).metrics
    assert row.winners == tuple(winners)


def test_the_best_point_stands_beside_the_last_one() -> None:
    definitions = {"acc": MetricDefinition(time=1, name="acc", goal="max")}
    one = state_of(metrics={"acc": Series([1, 2], [1, 2], [0.9, 0.5])}, definitions=definitions)
    other = state_of(metrics={"acc": Series([1, 2], [1, 2], [0.6, 0.7])}, definitions=definitions)
    lines = list(show_comparison(compare(one, other)))
    assert "  acc        0.5    0.7" in lines
    assert "  acc (max)  0.9 *  0.7" in lines


def test_resource_usage_is_no_difference_and_equal_runs_have_none() -> None:
    one, other = (state_of(metrics={"system/cpu": Series([None], [1], [value], "system")}) for value in (1.0, 2.0))
    found = compare(one, other)
    assert found.empty
    assert "nothing differs" in list(show_comparison(found))


# -- code -------------------------------------------------------------------------------------------------------------


def run_code(label: str, code: CodeVersion, files: dict[str, bytes] | None = None) -> RunCode:
    held = files or {}
    artifacts = {f"code/untracked/{path}": Artifact(time=1, name=f"code/untracked/{path}", metadata={"path": path}) for path in held}
    refs = [ArtifactRef(name=name, sha256=str(len(held[name.removeprefix("code/untracked/")]))) for name in artifacts]
    return RunCode(label, code.model_copy(update={"untracked": refs}), artifacts, lambda name: held[name.removeprefix("code/untracked/")])


def test_code_is_compared_as_it_was_across_commits_changes_and_files_that_are_not_tracked(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "a.py").write_text("one\ntwo\nthree\n")
    first = commit(folder)
    (folder / "a.py").write_text("one\n2\nthree\n")
    (folder / "b.py").write_text("b\n")
    second = commit(folder)
    git(folder, "checkout", "--quiet", first)
    (folder / "a.py").write_text("one\n2\nthree\n")
    diff = git(folder, "diff", "HEAD").decode()
    git(folder, "checkout", "--quiet", "--force", first)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    one = run_code("x", CodeVersion(time=1, vcs="git", commit=first, diff=diff), {"m.py": b"m = 1\n"})
    other = run_code("y", CodeVersion(time=1, vcs="git", commit=second), {"m.py": b"m = 22\n"})
    (change,) = code_changes([one, other], folder)

    assert change.note is None
    assert "+++ b/b.py" in change.text
    assert "-m = 1\n+m = 22\n" in change.text
    assert "a.py" not in change.text, "what one run committed, the other had not yet: the file is the same"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert code_changes([one, one], folder) == [CodeChange("x", "x", "")]


def test_without_the_commits_the_changes_are_compared(tmp_path: Path) -> None:
    text = "diff --git a/{0} b/{0}\nindex 1..2 100644\n--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n-x\n+{1}\n"
    one = CodeVersion(time=1, vcs="git", commit="1" * 40, diff=text.format("a.py", "y") + text.format("b.py", "same"))
    other = CodeVersion(time=1, vcs="git", commit="2" * 40, diff=text.format("a.py", "z") + text.format("b.py", "same"))

    (change,) = code_changes([run_code("one", one), run_code("other", other)], tmp_path)

    assert change.note is not None
    assert "commit 111111111111 is in no repository here" in change.note
    assert "-+y\n++z" in change.text
    assert "b.py" not in change.text
    assert set(sections(one.diff or "")) == {"a.py", "b.py"}
    untracked = other.model_copy(update={"diff": one.diff, "untracked": [ArtifactRef(name="code/untracked/n.py", sha256="1")]})
    assert diff_of_diffs(one, untracked) == "code/untracked/n.py: only in the second run\n"


def test_what_was_not_kept_is_named_since_it_may_differ(tmp_path: Path) -> None:
    left_out = [Omission(name="keys.py", reason="a credential")]
    one = run_code("one", CodeVersion(time=1, commit="a" * 40, omitted=left_out))
    both = run_code("two", CodeVersion(time=1, commit="a" * 40, omitted=[*left_out, Omission(name="big.bin", reason="too large")]))
    (change,) = code_changes([one, both], tmp_path)
    assert (change.text, change.note) == ("", "not kept, and so not compared: big.bin (by two), keys.py (by one and two)")
    shown = "\n".join(show_comparison(compare_runs([Subject("one", RunState()), Subject("two", RunState())], [change])))
    assert "keys.py (by one and two)" in shown


def test_a_path_out_of_the_code_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "a.py").write_text("a\n")
    at = commit(folder)
    for path in ("../x", "/etc/x", ".git/hooks/x", "a/.GIT/x"):
        one, other = (
            run_code(label, CodeVersion(time=1, vcs="git", commit=at), {path: text}) for label, text in (("x", b"1"), ("y", b"22"))
        )
        (change,) = code_changes([one, other], folder)
        assert "is no path of a file below the code's root" in (change.note or "")


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_shows_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MULTITRACK_DIR", str(tmp_path / "store"))
    ids = []
    for lr in (0.1, 0.2, 0.2):
        with mt.init(project="p", name=f"lr {lr}" if not ids else None, params={"lr": lr, "depth": 3}, capture=QUICK, quiet=True) as run:
            run.define_metric("acc", goal="max")
            run.log({"acc": lr * 2}, step=1)
            columns = [DataColumn(name="x", type="int64", digest=str(lr)), DataColumn(name="y", type="int64", digest="same")]
            run._write(DataVersion(time=1, name="d", digest=str(lr) * 30, algorithm="sha256-table", columns=columns))
        ids.append(run.id)

    assert run_command(["compare", ids[0], f"local:{tmp_path / 'store'}#{ids[1]}", ids[2]]) == 0
    told = capsys.readouterr().out
    assert [line.split() for line in told.splitlines() if line.startswith("  lr")] == [["lr", "0.1", "0.2", "0.2"]]
    assert "0.4 *" in told
    assert "d: column 'x' is changed" in told
    assert "depth" not in told

    assert run_command(["compare", ids[0], ids[1], "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["params"] == [{"name": "lr", "values": [0.1, 0.2]}]
    assert whole["metrics"][0]["winners"] == [1]
    assert whole["data_changes"][0]["differences"][0]["name"] == "x"
    assert run_command(["compare", ids[0]]) == 1
    assert "two runs or more" in capsys.readouterr().err


def test_absent_values_survive_json() -> None:
    found = compare(state_of(params={"a": 1}), state_of(params={}))
    assert found.to_json()["params"] == [{"name": "a", "values": [1, {"$": "absent"}]}]


def test_where_the_same_data_and_the_interpreter_lay_is_no_difference() -> None:
    def made(place: str, digest: str) -> RunState:
        data = DataVersion(time=1, name="d", digest=digest, uri=f"file://{place}/d", size=1500)
        code = CodeVersion(time=1, command=[f"{place}/python", "train.py"])
        return state_of(data={("d", None, digest): data}, code=code)

    assert compare(made("/a", "1"), made("/b", "1")).empty
    assert [row.name for row in compare(made("/a", "1"), made("/b", "2")).data] == ["d digest", "d uri"]


def test_sizes_are_shown_for_people() -> None:
    states = [state_of(environments={None: Environment(time=1, memory=size)}) for size in (10**9, 2 * 10**9)]
    assert "  memory  1.0 GB  2.0 GB" in list(show_comparison(compare(*states)))

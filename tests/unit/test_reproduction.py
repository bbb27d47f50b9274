"""The parts of `multitrack reproduce`: the command, restoring code and data, the environment, comparing what comes out."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from multitrack.records import (
    Artifact,
    ArtifactRef,
    CodeVersion,
    DataFile,
    DataVersion,
    Environment,
    Histogram,
    Omission,
    PackageSource,
    Submodule,
)
from multitrack.reproduction.command import command_of, launched
from multitrack.reproduction.data import Restoration
from multitrack.reproduction.environment import BuildError, build, installed
from multitrack.reproduction.execute import variables_for
from multitrack.reproduction.moving import moved, moved_value
from multitrack.reproduction.outcome import compare_outcome, distance
from multitrack.reproduction.source import exclude, restore_code
from multitrack.state import RunState, Series

# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/old/code", "/new"),
        ("/old/code/data/x.csv", "/new/data/x.csv"),
        ("--data=/old/code/x", "--data=/new/x"),
        ("file:///old/code/x", "file:///old/code/x"),
        ("/old/codes/x", "/old/codes/x"),
        ("/very/old/code/x", "/very/old/code/x"),
        ("/old/code/a:/old/code/b", "/new/a:/new/b"),
        ("/data/d.csv", "/elsewhere/d.csv"),
        ("nothing", "nothing"),
    ],
)
def test_paths_of_then_become_paths_of_now(text: str, expected: str) -> None:
    assert moved(text, [("/data/d.csv", "/elsewhere/d.csv"), ("/old/code", "/new")]) == expected


def test_params_move_with_their_paths() -> None:
    assert moved_value({"a": ["/old/x", 3], "b": {"c": "/old"}}, [("/old", "/new")]) == {"a": ["/new/x", 3], "b": {"c": "/new"}}


# -- the command ------------------------------------------------------------------------------------------------------


def code(**fields: Any) -> CodeVersion:
    return CodeVersion.model_validate({"time": 1, "vcs": "git", "root": "/old", **fields})


def test_the_command_is_run_by_the_new_interpreter_where_the_code_is_now() -> None:
    recorded = code(command=["/venv/bin/python", "-u", "/old/run/train.py", "--out", "/tmp/x"], working_dir="run", entry_kind="script")
    command, missing = command_of(recorded, Path("/new"), Path("/new/.venv/bin/python"), [("/old", "/new")])
    assert not missing
    assert command is not None
    assert command.arguments == ("/new/.venv/bin/python", "-u", "/new/run/train.py", "--out", "/tmp/x")
    assert command.folder == Path("/new/run")
    assert str(replace(command, variables=(("A", "b c"),))).startswith("cd /new/run && A='b c' /new/.venv")
    assert str(command) == "cd /new/run && /new/.venv/bin/python -u /new/run/train.py --out /tmp/x"


def test_masked_arguments_have_names_and_are_filled_in() -> None:
    recorded = code(command=["python", "t.py", "--token", "***", "--api-key=***", "key=***", "https://***@host/x"])
    command, _ = command_of(recorded, Path("/new"), Path("/p"), [])
    assert command is not None
    assert [one.name for one in command.masked] == ["token", "api-key", "key", "argument 6"]
    filled = command.filled_in({"token": "a", "api-key": "b", "argument 6": "c"})
    assert filled.arguments[2:] == ("--token", "a", "--api-key=b", "key=***", "https://c@host/x")


@pytest.mark.parametrize(
    ("fields", "argument", "now"),
    [
        ({"entry_kind": "program", "entry_point": "train-it"}, "/somewhere/bin/train-it", "/new/.venv/bin/train-it"),
        ({"entry_kind": "program", "entry_point": "train-it"}, "../env/bin/train-it", "/new/.venv/bin/train-it"),
        ({"entry_kind": "script", "entry_point": "/other/t.py", "working_dir": "sub"}, "../../other/t.py", "/new/t.py"),
        ({"entry_kind": "script", "entry_point": "t.py"}, "t.py", "t.py"),
    ],
)
def test_programs_and_scripts_from_elsewhere(fields: dict[str, Any], argument: str, now: str) -> None:
    modules = [ArtifactRef(name="code/modules/t.py", sha256="0" * 64)]
    recorded = code(command=["python", argument, "--x"], modules=modules, **fields)
    command, _ = command_of(recorded, Path("/new"), Path("/new/.venv/bin/python"), [])
    assert command is not None
    assert command.arguments[1:] == (now, "--x")


@pytest.mark.parametrize(
    ("recorded", "text"),
    [
        (None, "no command line was recorded"),
        (code(), "no command line was recorded"),
        (code(command=["python"], entry_kind="notebook"), "made in a notebook"),
        (code(command=["python"], entry_kind="interactive"), "interactive prompt"),
        (code(command=["python", "-"], entry_kind="stdin"), "standard input"),
    ],
)
def test_what_cannot_be_started_says_why(recorded: CodeVersion | None, text: str) -> None:
    command, missing = command_of(recorded, Path("/new"), Path("/p"), [])
    assert command is None
    assert text in missing[0].text


def test_a_launcher_is_told() -> None:
    assert launched(None) is None
    assert launched(Environment(time=1, scheduler={"WORLD_SIZE": "1"})) is None
    told = launched(Environment(time=1, scheduler={"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8"}))
    assert told is not None
    assert "Slurm started 8 processes" in told.text
    assert not told.blocks


def test_variables_that_say_how_are_set_again_and_those_that_say_where_are_not() -> None:
    recorded = Environment(
        time=1,
        variables={
            "OMP_NUM_THREADS": "2",
            "CUDA_VISIBLE_DEVICES": "7",
            "RANK": "3",
            "SLURM_JOB_ID": "1",
            "DATA": "/old/data",
            "PATH": "/p",
            "KEY": "***",
        },
    )
    user = {"PATH": "/bin", "MULTITRACK_RUN_ID": "x", "PYTHONPATH": "/mine", "CUDA_VISIBLE_DEVICES": "0"}
    found = variables_for(user, recorded, Path("/env"), store=Path("/store"), original="o", moves=[("/old", "/new")])
    assert found == {
        "PATH": "/env/bin:/bin",
        "VIRTUAL_ENV": "/env",
        "CUDA_VISIBLE_DEVICES": "0",
        "OMP_NUM_THREADS": "2",
        "DATA": "/new/data",
        "MULTITRACK_DIR": "/store",
        "MULTITRACK_REPRODUCES": "o",
    }


# -- the code ---------------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    user = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
    return subprocess.run(["git", "-C", str(folder), *user, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "a.py").write_text("one\n")
    (folder / "raw.bin").write_bytes(bytes(range(256)))
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "x")
    return folder, git(folder, "rev-parse", "HEAD").strip()


class Kept:
    """Files that were kept whole."""

    def __init__(self) -> None:
        self.artifacts: dict[str, Artifact] = {}
        self.contents: dict[str, bytes] = {}
        self.refs: list[ArtifactRef] = []

    def add(self, path: str, content: bytes, **metadata: Any) -> None:
        name = f"code/untracked/{len(self.refs)}"
        self.artifacts[name] = Artifact(time=1, name=name, metadata={"path": path, **metadata})
        self.contents[name] = content
        self.refs.append(ArtifactRef(name=name, sha256=hashlib.sha256(content).hexdigest()))


def test_changes_are_restored_to_the_byte(repository: tuple[Path, str], tmp_path: Path) -> None:
    folder, at = repository
    (folder / "a.py").write_bytes(b"one\r\n\tcaf\xe9\n")
    (folder / "raw.bin").write_bytes(b"\x00\x01" * 300)
    (folder / "gone").write_text("x")
    diff = subprocess.run(["git", "-C", str(folder), "diff", "--binary", "HEAD"], capture_output=True, check=True).stdout
    kept = Kept()
    kept.add("tool.sh", b"#!/bin/sh\n", executable=True)
    kept.add("deep/er/link", b"../../a.py", symlink=True)
    tree = tmp_path / "tree"
    tree.mkdir()

    recorded = code(commit=at, diff=diff.decode("utf-8", "surrogateescape"), dirty=True, untracked=kept.refs, root=str(folder))
    done = restore_code(recorded, kept.artifacts, kept.contents.__getitem__, tree, tmp_path)

    assert done.shortfalls == []
    assert (tree / "a.py").read_bytes() == b"one\r\n\tcaf\xe9\n"
    assert (tree / "raw.bin").read_bytes() == b"\x00\x01" * 300
    assert (tree / "tool.sh").stat().st_mode & 0o777 == 0o755
    assert (tree / "deep/er/link").resolve() == (tree / "a.py").resolve()
    assert git(tree, "rev-parse", "HEAD").strip() == at


@pytest.mark.parametrize("path", ["../out", "/TMP/out", ".git/hooks/post-checkout", "x/../../out", "link/out", ""])
def test_no_file_is_written_out_of_the_folder(repository: tuple[Path, str], tmp_path: Path, path: str) -> None:
    folder, at = repository
    tree = tmp_path / "tree"
    tree.mkdir()
    kept = Kept()
    kept.add("link", str(tmp_path).encode(), symlink=True)
    kept.add(path.replace("/TMP", str(tmp_path)), b"evil")

    done = restore_code(code(commit=at, untracked=kept.refs, root=str(folder)), kept.artifacts, kept.contents.__getitem__, tree, tmp_path)

    assert done.shortfalls
    assert all(one.blocks for one in done.shortfalls)
    assert not (tmp_path / "out").exists()
    assert not (tree / ".git" / "hooks" / "post-checkout").exists()


def test_what_is_missing_is_named(repository: tuple[Path, str], tmp_path: Path) -> None:
    folder, at = repository
    kept = Kept()
    kept.add("ok.py", b"1")
    kept.add("changed.py", b"1")
    kept.contents["code/untracked/1"] = b"2"
    cases: Sequence[tuple[CodeVersion | None, str]] = [
        (None, "the run recorded none"),
        (code(commit="f" * 40, root=str(folder)), f"commit {'f' * 40}: it is in no repository in {tmp_path} or {folder}"),
        (
            code(commit=at, root=str(folder), diff="diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-two\n+2\n"),
            "do not apply",
        ),
        (code(commit=at, root=str(folder), omitted=[Omission(name="big.bin", reason="too large")]), "big.bin was not kept: too large"),
        (code(commit=at, root=str(folder), dirty=True), "there were changes, of which no text was recorded"),
        (code(commit=at, root=str(folder), untracked=kept.refs), "changed.py is not what was recorded"),
        (code(commit=at, root=str(folder), submodules=[Submodule(path="lib", commit="e" * 40)]), "submodule lib: commit eee"),
        (code(vcs=None), "in no repository, and no files of it were kept"),
    ]
    for number, (recorded, text) in enumerate(cases):
        tree = tmp_path / f"tree{number}"
        tree.mkdir()
        done = restore_code(recorded, kept.artifacts, kept.contents.__getitem__, tree, tmp_path)
        assert [text in one.text for one in done.shortfalls] == [True], (text, done.shortfalls)


def test_the_cells_of_a_notebook_are_laid_beside_the_code(repository: tuple[Path, str], tmp_path: Path) -> None:
    folder, at = repository
    (tree := tmp_path / "tree").mkdir()
    recorded = code(commit=at, root=str(folder), notebook=ArtifactRef(name="code/notebook.ipynb", sha256="0" * 64), entry_kind="notebook")
    done = restore_code(recorded, {}, {"code/notebook.ipynb": b"{}"}.__getitem__, tree, tmp_path)
    assert done.shortfalls == []
    assert (tree / "executed-cells.ipynb").read_bytes() == b"{}"
    assert git(tree, "status", "--short") == ""


def test_submodules_are_restored_with_their_changes(repository: tuple[Path, str], tmp_path: Path) -> None:
    inner, inner_at = repository
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "--quiet")
    git(outer, "submodule", "add", "--quiet", str(inner), "lib")
    git(outer, "commit", "--quiet", "-m", "x")
    at = git(outer, "rev-parse", "HEAD").strip()
    (outer / "lib" / "a.py").write_text("changed\n")
    diff = git(outer / "lib", "diff", "HEAD")
    tree = tmp_path / "tree"
    tree.mkdir()

    sub = Submodule(path="lib", commit=inner_at, remote=str(inner), dirty=True, diff=diff)
    done = restore_code(code(commit=at, root=str(outer), submodules=[sub]), {}, {}.__getitem__, tree, tmp_path)

    assert done.shortfalls == []
    assert (tree / "lib" / "a.py").read_text() == "changed\n"


def test_what_lies_in_the_tree_for_us_is_not_seen_by_git(repository: tuple[Path, str]) -> None:
    folder, _ = repository
    for name in ("data set", "a*b", "#x", ".venv"):
        (folder / name).symlink_to("/tmp")
    exclude(folder, ["data set", "a*b", "#x", ".venv"])
    assert git(folder, "status", "--short") == ""


# -- the data ---------------------------------------------------------------------------------------------------------


def data(place: Path, path: str | None = None, **fields: Any) -> DataVersion:
    digest = hashlib.sha256(place.read_bytes()).hexdigest() if place.is_file() else "?"
    return DataVersion.model_validate(
        {"time": 1, "name": "d", "uri": place.as_uri(), "path": path, "digest": digest, "algorithm": "sha256", **fields}
    )


def test_data_is_found_where_it_was_or_in_a_folder_and_copied(tmp_path: Path) -> None:
    root, tree, other = tmp_path / "root", tmp_path / "tree", tmp_path / "other"
    for folder in (root / "data", tree, other / "data"):
        folder.mkdir(parents=True)
    (root / "data" / "x.csv").write_text("1")
    record = data(root / "data" / "x.csv", "data/x.csv")

    where = Restoration(tree, str(root), [])
    where.restore(record)
    assert where.result.placed == ["data/x.csv"]
    (tree / "data" / "x.csv").write_text("what a program writes there")
    assert (root / "data" / "x.csv").read_text() == "1"

    (root / "data" / "x.csv").rename(other / "data" / "x.csv")
    (tree / "data" / "x.csv").unlink()
    lost = Restoration(tree, str(root), [])
    lost.restore(record)
    assert [one.blocks for one in lost.result.shortfalls] == [True]
    assert "missing" in lost.result.shortfalls[0].text
    found = Restoration(tree, str(root), [other])
    found.restore(record)
    assert found.result.shortfalls == []
    assert (tree / "data" / "x.csv").read_text() == "1"


def test_data_that_is_too_large_is_linked(tmp_path: Path) -> None:
    (folder := tmp_path / "root" / "data").mkdir(parents=True)
    (tree := tmp_path / "tree").mkdir()
    for name in ("x", "y"):
        (folder / name).write_text("12345")
    restoration = Restoration(tree, str(tmp_path / "root"), [], room=7)
    for name in ("x", "y"):
        restoration.restore(data(folder / name, f"data/{name}"))
    assert not (tree / "data" / "x").is_symlink()
    assert (tree / "data" / "y").resolve() == folder / "y"
    assert [text.rpartition("; ")[2].split()[0] for text in restoration.result.done] == ["copied", "0.0"]


def test_data_outside_of_the_code_moves_the_paths_to_it(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1")
    record = data(tmp_path / "x.csv")
    (there := tmp_path / "mount").mkdir()
    (tmp_path / "x.csv").rename(there / "x.csv")
    (tree := tmp_path / "tree").mkdir()
    restoration = Restoration(tree, "/old", [there])
    restoration.restore(record)
    assert restoration.result.moves == [(str(tmp_path / "x.csv"), str(there / "x.csv"))]
    assert restoration.result.placed == []


def test_data_that_is_otherwise_is_taken_only_where_that_is_allowed(tmp_path: Path) -> None:
    (root := tmp_path / "root").mkdir()
    (tree := tmp_path / "tree").mkdir()
    (root / "x.csv").write_text("1")
    record = data(root / "x.csv", "x.csv")
    (root / "x.csv").write_text("2")
    for lenient in (False, True):
        restoration = Restoration(tree, str(root), [], lenient=lenient)
        restoration.restore(record)
        assert [one.blocks for one in restoration.result.shortfalls] == [True]
        assert f"at {root}/x.csv" in restoration.result.shortfalls[0].text
        assert (tree / "x.csv").exists() is lenient
        assert not restoration.result.verified


def test_data_in_memory_is_only_worth_knowing(tmp_path: Path) -> None:
    restoration = Restoration(tmp_path, None, [])
    restoration.restore(DataVersion(time=1, name="frame", digest="1" * 64, algorithm="sha256-table", files=[DataFile(path="x", size=1)]))
    assert [one.blocks for one in restoration.result.shortfalls] == [False]
    assert "cannot be verified before the run" in restoration.result.shortfalls[0].text


@pytest.mark.parametrize("path", ["../x.csv", ".git/x.csv"])
def test_no_data_leads_out_of_the_code(tmp_path: Path, path: str) -> None:
    (root := tmp_path / "root").mkdir()
    (tree := tmp_path / "tree").mkdir()
    (tmp_path / "y.csv").write_text("1")
    record = data(tmp_path / "y.csv", path)
    restoration = Restoration(tree, None, [root])
    restoration.restore(record.model_copy(update={"uri": None}))
    assert not restoration.result.placed
    assert sorted(tmp_path.rglob("*")) == sorted([root, tree, tmp_path / "y.csv"])


# -- the environment --------------------------------------------------------------------------------------------------


class FakeIndex:
    """An installer over a list of what can be had."""

    name = "fake"

    def __init__(self, *there: str) -> None:
        self.there = there
        self.calls: list[list[str]] = []
        self.made: list[str] = []

    def create(self, prefix: Path, version: str) -> None:
        self.made.append(version)
        (prefix / "lib" / "python3" / "site-packages").mkdir(parents=True)
        (prefix / "pyvenv.cfg").write_text(f"home = /x\nversion_info = {version}.final.0\n")

    def install(self, python: Path, lines: Sequence[str], *, builds: bool, dry: bool = False) -> None:
        self.calls.append(["dry", *lines] if dry else list(lines))
        if missing := [line for line in lines if line not in self.there]:
            raise BuildError(f"no {missing[0]}")
        for line in () if dry else lines:
            name, _, version = line.partition("==")
            folder = python.parents[1] / "lib" / "python3" / "site-packages" / f"{name}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def environment(packages: Mapping[str, str], **fields: Any) -> Environment:
    return Environment.model_validate({"time": 1, "python": "3.11.7", "packages": dict(packages), **fields})


def test_what_an_index_lacks_is_named_and_the_rest_installed(tmp_path: Path) -> None:
    recorded = environment({f"p{number}": "1" for number in range(9)} | {"gone": "2"})
    index = FakeIndex(*(f"p{number}==1" for number in range(9)))
    built = build(recorded, tmp_path / "env", tmp_path, None, builds=True, installer=index)
    assert [str(one) for one in built.shortfalls] == ["environment: gone 2 is not there: no gone==2"]
    assert installed(tmp_path / "env") == {f"p{number}": "1" for number in range(9)}
    assert built.done == ["Python 3.11.7, 9 of 10 packages as they were"]


def test_nothing_is_built_unless_that_is_allowed(tmp_path: Path) -> None:
    sources = {
        "a": PackageSource(kind="vcs", url="https://example.org/a", vcs="git", commit="c" * 40),
        "b": PackageSource(kind="editable", url=str(tmp_path)),
        "c": PackageSource(kind="archive", url="https://example.org/c-1.tar.gz"),
    }
    recorded = environment({"a": "1", "b": "1", "c": "1", "d": "1"}, sources={k: v.model_dump() for k, v in sources.items()})
    index = FakeIndex("d==1")
    built = build(recorded, tmp_path / "env", tmp_path, None, builds=False, installer=index)
    assert index.calls == [["dry", "d==1"], ["d==1"]]
    assert [(one.text.split()[0], one.blocks) for one in built.shortfalls] == [("a", False), ("b", False), ("c", False)]


def test_a_record_cannot_hand_options_to_an_installer(tmp_path: Path) -> None:
    index = FakeIndex("good==1")
    names = {"--index-url=http://x": "1", "a": "1\n-e git+https://x", "good": "1", "b": "1 --global-option=x"}
    recorded = environment(names, python="/tmp/evil/python", sources={"a c": {"kind": "archive", "url": "https://x/y.whl"}})
    built = build(recorded, tmp_path / "env", tmp_path, None, builds=True, installer=index)
    assert index.calls == [["good==1"]]
    assert index.made == [".".join(map(str, sys.version_info[:3]))]
    named = [one.text.split()[0] for one in built.shortfalls if one.blocks and not one.text.startswith("Python")]
    assert sorted(named) == ["--index-url=http://x", "a", "b"]


def test_without_builds_an_installer_is_started_once(tmp_path: Path) -> None:
    index = FakeIndex("a==1", "c==1")
    built = build(environment({"a": "1", "b": "1", "c": "1"}), tmp_path / "env", tmp_path, None, builds=False, installer=index)
    assert [call for call in index.calls if call[0] != "dry"] == [["a==1", "c==1"]]
    assert [one.text for one in built.shortfalls] == ["b 1 is not there: no b==1"]


def test_a_folder_that_is_gone_and_another_python_are_told(tmp_path: Path) -> None:
    recorded = environment({"b": "1"}, sources={"b": {"kind": "local", "url": "/nowhere/at/all"}})
    index = FakeIndex()
    index.create = lambda prefix, version: FakeIndex.create(index, prefix, "3.10.1")  # type: ignore[method-assign]
    built = build(recorded, tmp_path / "env", tmp_path, None, builds=True, installer=index)
    assert [(one.text, one.blocks) for one in built.shortfalls] == [
        ("b 1 is not there: it was installed from /nowhere/at/all: that is not there", True),
        ("Python is 3.10.1; it was 3.11.7", True),
    ]


# -- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "off"),
    [
        (1.0, 1.0, 0.0),
        (1, 1.0, 0.0),
        (math.nan, math.nan, 0.0),
        (math.nan, 1.0, math.inf),
        (math.inf, math.inf, 0.0),
        (math.inf, 1.0, math.inf),
        (0.0, 0.0, 0.0),
        (1.0, 1.1, 0.1 / 1.1),
        (-1.0, 1.0, 2.0),
        ("a", "a", 0.0),
        ("a", "b", math.inf),
        (10**400, 10**400 + 1, 0.0),
        (10**400, 1.0, math.inf),
        (Histogram(edges=[0, 1], counts=[1]), Histogram(edges=[0, 1], counts=[2]), 0.5),
        (Histogram(edges=[0, 1], counts=[1]), 1.0, math.inf),
        (ArtifactRef(name="a", sha256="1"), ArtifactRef(name="a", sha256="2"), 0.0),
    ],
    ids=lambda value: str(value)[:12],
)
def test_how_far_two_values_are_apart(one: Any, other: Any, off: float) -> None:
    assert distance(one, other) == pytest.approx(off)


def state(values: Sequence[Any], *, steps: Sequence[Any] | None = None, **fields: Any) -> RunState:
    steps = list(range(len(values))) if steps is None else list(steps)
    metrics = {"loss": Series(steps, [1] * len(values), list(values)), "system/cpu": Series([None], [1], [len(values)], "system")}
    return RunState(**{"id": "1" * 32, "status": "finished", "metrics": metrics, **fields})


def test_runs_within_the_tolerance_are_equal_and_others_tell_where_they_differ() -> None:
    one = state([0.5, math.nan, 0.25], params={"lr": 0.1, "path": "/old/x"})
    same = state([0.5, math.nan, 0.25 * (1 + 1e-9)], params={"lr": 0.1, "path": "/new/x"})
    assert compare_outcome(one, same, 0, tolerance=1e-6, moves=[("/old", "/new")]).equal
    assert not compare_outcome(one, same, 0, tolerance=0.0, moves=[("/old", "/new")]).equal
    assert [str(d) for d in compare_outcome(one, same, 0, tolerance=1e-6).differences] == ["param path: expected '/old/x', found '/new/x'"]
    cases: list[tuple[RunState, str]] = [
        (
            state([0.5, math.nan, 0.3], params=one.params),
            "metric loss: expected 0.25 at step 2, found 0.3, off by 0.17; 1 of 3 points differ",
        ),
        (state([0.5, math.nan], params=one.params), "metric loss: expected 3 points, found 2 points"),
        (state([0.5, math.nan, 0.25], steps=[0, 1, 3], params=one.params), "metric loss: expected step 2, found step 3"),
        (state([0.5, math.nan, 0.25], params={**one.params, "new": 1}), "param new: expected nothing, found 1"),
        (state([0.5, math.nan, 0.25], params={**one.params, "lr": 1}), "param lr: expected 0.1, found 1"),
        (state([0.5, math.nan, 0.25], params=one.params, summary={"best": 1.0}), "summary best: expected nothing, found 1.0"),
        (
            state([0.5, math.nan, 0.25], params=one.params, status="failed", error="x\nE: y"),
            "status: expected finished, found failed (E: y)",
        ),
    ]
    for other, text in cases:
        assert [str(d) for d in compare_outcome(one, other, 0, tolerance=1e-6).differences] == [text]


def test_metrics_that_may_differ_are_left_out_and_data_is_compared() -> None:
    one, other = state([1.0]), state([2.0])
    assert compare_outcome(one, other, 0, tolerance=0.0, ignoring=["lo*"]).equal
    for digest, run in (("1" * 64, one), ("2" * 64, other)):
        run.data = {("d", None, digest): DataVersion(time=1, name="d", digest=digest)}
    assert [d.field for d in compare_outcome(one, other, 0, tolerance=0.0, ignoring=["lo*"]).differences] == ["data d"]

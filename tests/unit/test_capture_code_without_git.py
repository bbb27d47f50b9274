"""Which code runs, where there is no git program: with dulwich, and with nothing at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from multitrack.capture.code import survey
from multitrack.capture.code.by_hand import read_by_hand
from support.repositories import git, make_repository, restore, take, tree, write

REMOTES = """
[remote "origin"]
    url = "https://user:secret@example.com/a b.git" ; where it comes from
    fetch = +refs/heads/*:refs/remotes/origin/*
[remote "with \\"quotes\\""]
    url = git@example.com:me/code.git # mine
[Branch "side/one"]
    remote = with \\"quotes\\"
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(
        tmp_path / "repository",
        {"train.py": "lr = 1\n" * 20, "old.py": "gone\n", "weights.bin": bytes(range(256)), "no-end": "no line end", "sub dir/x.py": "x\n"},
    )


@pytest.fixture
def no_git(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repository)
    monkeypatch.setattr(survey, "find_git", lambda: None)
    return repository


# -- by hand


def same_as_git(folder: Path) -> None:
    found = read_by_hand(folder)
    assert found.commit == git(folder, "rev-parse", "HEAD")
    assert found.branch == (git(folder, "branch", "--show-current") or None)
    assert found.dirty is None


def test_a_commit_is_read_from_wherever_git_has_put_it(repository: Path, tmp_path: Path) -> None:
    same_as_git(repository)
    git(repository, "checkout", "-qb", "side/one")
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    git(repository, "tag", "-a", "v1", "-m", "a tag makes peeled lines")
    same_as_git(repository)
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git" / "refs" / "heads" / "side").exists()
    same_as_git(repository)
    git(repository, "worktree", "add", "-q", "-b", "third", str(tmp_path / "worktree"))
    git(tmp_path / "worktree", "commit", "-q", "--allow-empty", "-m", "third")
    same_as_git(tmp_path / "worktree")
    git(repository, "checkout", "-q", "--detach")
    same_as_git(repository)
    git(repository, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(repository, "symbolic-ref", "HEAD", "refs/heads/alias")
    assert read_by_hand(repository).commit == git(repository, "rev-parse", "main")


def test_a_submodule_and_a_repository_without_a_commit(repository: Path, tmp_path: Path) -> None:
    outer = make_repository(tmp_path / "outer")
    assert (read_by_hand(outer).commit, read_by_hand(outer).branch) == (None, "main")
    git(outer, "submodule", "--quiet", "add", str(repository), "lib")
    same_as_git(outer / "lib")


def test_remotes(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-qb", "side/one")
    with (repository / ".git" / "config").open("a") as config:
        config.write(REMOTES)
    git(repository, "worktree", "add", "-q", "--detach", str(tmp_path / "worktree"))
    found = read_by_hand(repository)
    assert found.remotes == {"origin": "https://example.com/a b.git", 'with "quotes"': "git@example.com:me/code.git"}
    assert git(repository, "config", 'remote.with "quotes".url') == found.remotes['with "quotes"']
    assert found.remote == "git@example.com:me/code.git"
    assert read_by_hand(tmp_path / "worktree").remotes == found.remotes


def test_without_dulwich_too(no_git: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "has_dulwich", lambda: False)
    monkeypatch.syspath_prepend(str(no_git))
    write(no_git, {"module_of_the_project.py": "x = 1\n"})
    __import__("module_of_the_project")
    taken = take(tmp_path / "run")
    assert taken.error is None
    assert (taken.version.commit, taken.version.branch, taken.version.dirty) == (git(no_git, "rev-parse", "HEAD"), "main", None)
    assert "multitrack[git]" in taken.omitted["changes"]
    assert [ref.name for ref in taken.version.modules] == ["code/modules/module_of_the_project.py"], "its changes are not known"


def test_a_repository_that_is_broken_is_told(no_git: Path, tmp_path: Path) -> None:
    (no_git / ".git" / "HEAD").unlink()
    (no_git / ".git" / "HEAD").mkdir()
    taken = take(tmp_path / "run")
    assert taken.error is not None
    assert taken.version.command


# -- with dulwich


def test_dulwich_tells_the_changes(no_git: Path, tmp_path: Path) -> None:
    pytest.importorskip("dulwich")
    git(no_git, "update-index", "--refresh")
    (no_git / "old.py").unlink()
    write(
        no_git,
        {
            "train.py": "lr = 1\n" * 19 + "lr = 2\n",
            "weights.bin": bytes(300),
            "no-end": "still none",
            "staged.py": "s = 1\n",
            "new/untracked.py": "u = 1\n",
            "sub dir/x.py": "y\n",
            "new/noise.log": "ignored\n",
            ".gitignore": "*.log\n",
        },
    )
    (no_git / "new" / "untracked.py").chmod(0o755)
    git(no_git, "add", "staged.py")
    index = (no_git / ".git" / "index").read_bytes()
    taken = take(tmp_path / "run")
    assert taken.error is None
    assert taken.version.omitted == []
    assert taken.version.dirty is True
    assert taken.version.diff is not None
    assert "+lr = 2" in taken.version.diff
    assert "code/untracked/weights.bin" in taken.artifacts, "a patch of dulwich's has no bytes"
    wanted = {name: content for name, content in tree(no_git).items() if not name.endswith(".log")}
    assert tree(restore(taken, tmp_path / "again", no_git)) == wanted
    assert (no_git / ".git" / "index").read_bytes() == index


def test_dulwich_in_a_clean_repository_and_in_one_without_a_commit(no_git: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dulwich")
    clean = take(tmp_path / "run").version
    assert (clean.dirty, clean.diff, clean.untracked, clean.omitted) == (False, None, [], [])
    new = make_repository(tmp_path / "new")
    write(new, {"staged.py": "s = 1\n", "untracked.py": "u = 1\n"})
    git(new, "add", "staged.py")
    monkeypatch.chdir(new)
    taken = take(tmp_path / "run2")
    assert (taken.version.commit, taken.version.dirty) == (None, True)
    assert tree(restore(taken, tmp_path / "again", new)) == tree(new)


def test_dulwich_leaves_a_large_repository_alone(no_git: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dulwich")
    monkeypatch.setattr("multitrack.capture.code.with_dulwich.MOST_TRACKED", 2)
    taken = take(tmp_path / "run")
    assert taken.version.dirty is None
    assert "5 tracked files are too many" in taken.omitted["changes"]


def test_what_dulwich_deletes_that_is_no_text_is_named(no_git: Path, tmp_path: Path) -> None:
    pytest.importorskip("dulwich")
    os.unlink(no_git / "weights.bin")  # noqa: PTH108
    taken = take(tmp_path / "run")
    assert taken.version.dirty is True
    assert "it was deleted" in taken.omitted["weights.bin"]

"""Which code runs, from real git repositories: what is recorded of one makes its working tree again."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from multitrack.capture.code import git as asked
from multitrack.masking import Mask
from support.repositories import git, make_repository, restore, take, tree, write


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_repository(
        tmp_path / "repository",
        {
            "train.py": "lr = 1\nsteps = 2\n" * 20,
            "sub/model.py": "depth = 3\n",
            "sub/long name.py": "x = 1\n" * 30,
            "weights.bin": bytes(range(256)) * 40,
            "run.sh": "#!/bin/sh\n",
            "latin.txt": "na\u00efve\n".encode("latin-1") * 3,
            "dos.txt": b"one\r\ntwo\r\n",
            "no-end": b"no line end",
            "old.txt": "gone soon\n",
            ".gitignore": "*.log\ndata/\n",
        },
    )
    monkeypatch.chdir(folder)
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    return folder


def changed_in_every_way(folder: Path) -> None:
    write(
        folder,
        {
            "train.py": "lr = 1\nsteps = 2\n" * 19 + "lr = 0.1\n",
            "weights.bin": bytes(reversed(range(256))) * 41,
            "latin.txt": "na\u00efve\ncaf\u00e9\n".encode("latin-1"),
            "dos.txt": b"one\r\nthree\r\n",
            "no-end": b"still no line end",
            "staged.py": "staged = True\n",
            "staged.bin": b"\0\1\2" * 100,
            "intended.py": "only intended\n",
            "new/module.py": "new = 1\n",
            "new/empty.py": "",
            "new/\u00fcml\u00e4ut '\"\t\\ x.py": "odd = 1\n",
            "new/tool": "#!/bin/sh\n",
            "noise.log": "ignored\n",
            "data/big.csv": "ignored\n",
        },
    )
    (folder / "new" / "tool").chmod(0o755)
    (folder / "new" / "link").symlink_to("../train.py")
    (folder / os.fsdecode(b"new/latin-\xe9.py")).write_bytes(b"# \xe9\n")
    (folder / "run.sh").chmod(0o755)
    git(folder, "mv", "sub/long name.py", "sub/longer name.py")
    git(folder, "add", "staged.py", "staged.bin", "train.py")
    git(folder, "add", "-N", "intended.py")
    (folder / "staged.py").write_text("staged = 'and changed again'\n")
    (folder / "old.txt").unlink()
    (folder / "sub" / "model.py").unlink()
    (folder / "sub" / "model.py").symlink_to("../train.py")


def without(files: dict[str, object], *names: str) -> dict[str, object]:
    return {name: content for name, content in files.items() if name not in names}


def test_every_kind_of_change_is_made_again_byte_by_byte(repository: Path, tmp_path: Path) -> None:
    changed_in_every_way(repository)
    taken = take(tmp_path / "run")
    assert taken.error is None
    assert taken.version.omitted == []
    assert taken.version.dirty is True
    assert taken.version.diff is not None
    assert "rename to sub/longer name.py" in taken.version.diff
    made = restore(taken, tmp_path / "again", repository)
    assert tree(made) == without(tree(repository), "noise.log", "data/big.csv")
    assert "code/untracked/new/tool" in taken.artifacts


HOSTILE = """
[color]
    ui = always
[core]
    quotePath = true
    pager = false
    fsmonitor = {trap}
    hooksPath = {hooks}
[diff]
    noprefix = true
    mnemonicPrefix = true
    external = {trap}
    renames = copies
    context = 0
    relative = true
    suppressBlankEmpty = true
    ignoreSubmodules = all
    algorithm = patience
    wsErrorHighlight = all
    interHunkContext = 9
[diff "odd"]
    textconv = {trap}
    command = {trap}
[filter "odd"]
    clean = {trap}
    smudge = {trap}
    process = {trap}
    required = true
[status]
    showUntrackedFiles = no
    short = true
    relativePaths = false
"""


def test_what_a_user_has_set_changes_nothing_and_none_of_it_runs(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(repository, {".gitattributes": "*.py diff=odd\n*.txt filter=odd\n"})
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "-qm", "attributes")
    changed_in_every_way(repository)
    trap, hooks = tmp_path / "trap", tmp_path / "hooks"
    trap.write_text(f'#!/bin/sh\necho "$0 $@" >> {tmp_path}/sprung\nexit 1\n')
    trap.chmod(0o755)
    hooks.mkdir()
    (hooks / "post-index-change").symlink_to(trap)
    (tmp_path / "gitconfig").write_text(HOSTILE.format(trap=trap, hooks=hooks))
    for name, value in {"GIT_EXTERNAL_DIFF": str(trap), "GIT_PAGER": str(trap), "GIT_DIFF_OPTS": "-u0", "GIT_TRACE": "1"}.items():
        monkeypatch.setenv(name, value)
    taken = take(tmp_path / "run")
    assert not (tmp_path / "sprung").exists()
    assert taken.version.omitted == []
    assert tree(restore(taken, tmp_path / "again", repository)) == without(tree(repository), "noise.log", "data/big.csv")


@pytest.mark.parametrize("named", [0, 500])
def test_nothing_is_written_into_the_repository(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: int) -> None:
    monkeypatch.setattr("multitrack.capture.code.repository.MOST_NAMED", named)
    changed_in_every_way(repository)
    later = time.time() + 100
    for name in ("run.sh", "train.py", ".gitignore"):
        os.utime(repository / name, (later, later))  # git would like to note that these are the same still

    def state() -> dict[str, tuple[int, int, bytes]]:
        files = [path for path in (repository / ".git").rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) for path in files}

    before = state()
    take(tmp_path / "run")
    assert state() == before


def test_the_repository_that_a_hook_speaks_of_is_not_ours(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_repository(tmp_path / "other", {"x": "x"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    version = take(tmp_path / "run").version
    assert (version.commit, version.dirty) == (git(repository, "rev-parse", "HEAD"), False)


# -- facts


def test_commit_branch_remotes_and_where_we_are(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repository, "remote", "add", "origin", "https://user:secret@example.com/team/code.git?token=x")
    git(repository, "remote", "add", "fork.of", "git@example.com:me/code.git")
    git(repository, "config", "branch.main.remote", "fork.of")
    monkeypatch.chdir(repository / "sub")
    version = take(tmp_path / "run").version
    assert (version.vcs, version.branch, version.dirty, version.working_dir, version.root) == ("git", "main", False, "sub", str(repository))
    assert (version.diff, version.untracked, version.modules, version.notebook) == (None, [], [], None)
    assert version.commit == git(repository, "rev-parse", "HEAD")
    assert version.remotes == {"origin": "https://example.com/team/code.git", "fork.of": "git@example.com:me/code.git"}
    assert version.remote == "git@example.com:me/code.git"


def test_a_detached_head(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    version = take(tmp_path / "run").version
    assert (version.commit, version.branch) == (git(repository, "rev-parse", "HEAD"), None)


@pytest.mark.parametrize("hashes", ["sha1", "sha256"])
def test_a_repository_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashes: str) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    git(folder, "init", "-q", f"--object-format={hashes}")
    write(folder, {"staged.py": "x = 1\n", "untracked.py": "y = 1\n", "staged.bin": b"\0" * 100})
    git(folder, "add", "staged.py", "staged.bin")
    (folder / "staged.py").write_text("x = 2\n")
    monkeypatch.chdir(folder)
    taken = take(tmp_path / "run")
    assert (taken.version.commit, taken.version.branch, taken.version.dirty) == (None, "main", True)
    if hashes == "sha1":
        assert tree(restore(taken, tmp_path / "again", folder)) == tree(folder)


def test_a_worktree(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repository, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    changed_in_every_way(tmp_path / "side")
    monkeypatch.chdir(tmp_path / "side" / "sub")
    taken = take(tmp_path / "run")
    assert (taken.version.branch, taken.version.root, taken.version.working_dir) == ("side", str(tmp_path / "side"), "sub")
    made = restore(taken, tmp_path / "again", repository)
    assert tree(made) == without(tree(tmp_path / "side"), "noise.log", "data/big.csv")


def test_a_shallow_clone(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repository, "commit", "-q", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", str(tmp_path / "shallow"))
    write(tmp_path / "shallow", {"train.py": "lr = 2\n"})
    monkeypatch.chdir(tmp_path / "shallow")
    taken = take(tmp_path / "run")
    assert taken.version.commit == git(repository, "rev-parse", "HEAD")
    assert tree(restore(taken, tmp_path / "again", repository)) == tree(tmp_path / "shallow")


def test_a_merge_that_is_not_resolved(repository: Path, tmp_path: Path) -> None:
    git(repository, "checkout", "-qb", "side")
    write(repository, {"train.py": "theirs\n", "other.py": "theirs\n"})
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "theirs")
    git(repository, "checkout", "-q", "main")
    write(repository, {"train.py": "ours\n"})
    git(repository, "commit", "-qam", "ours")
    with pytest.raises(AssertionError):
        git(repository, "merge", "-q", "side")
    taken = take(tmp_path / "run")
    assert b"<<<<<<<" in (repository / "train.py").read_bytes()
    assert tree(restore(taken, tmp_path / "again", repository)) == tree(repository)


def test_changes_that_git_was_told_not_to_see(repository: Path, tmp_path: Path) -> None:
    git(repository, "update-index", "--assume-unchanged", "train.py", "weights.bin")
    git(repository, "update-index", "--skip-worktree", "latin.txt")
    write(repository, {"train.py": "unseen\n", "latin.txt": "unseen\n"})
    taken = take(tmp_path / "run")
    assert taken.version.dirty is True
    assert sorted(taken.artifacts) == ["code/untracked/latin.txt", "code/untracked/train.py"]
    assert tree(restore(taken, tmp_path / "again", repository)) == tree(repository)


def test_files_behind_git_lfs_are_kept_whole_once_they_change(repository: Path, tmp_path: Path) -> None:
    import hashlib

    contents = {"same.bin": b"touched, not changed", "other.bin": b"before"}
    for name, content in contents.items():
        oid = hashlib.sha256(content).hexdigest()
        write(repository, {name: f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"})
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "pointers")
    write(repository, {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "-qm", "attributes")
    (tmp_path / "gitconfig").write_text('[filter "lfs"]\nclean = false\nprocess = false\nrequired = true\n')
    write(repository, {**contents, "weights.bin": (repository / "weights.bin").read_bytes()})
    write(repository, {"train.py": "lr = 3\n"})
    before = take(tmp_path / "run")
    assert (before.version.untracked, before.version.dirty, before.omitted) == ([], True, {})
    write(repository, {"other.bin": b"after"})
    taken = take(tmp_path / "run2")
    assert [ref.name for ref in taken.version.untracked] == ["code/untracked/other.bin"]
    assert taken.content("code/untracked/other.bin") == b"after"
    assert taken.version.diff is not None
    assert "lr = 3" in taken.version.diff
    assert ".bin" not in taken.version.diff


def test_git_refuses_a_repository_of_somebody_else(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setattr(asked, "_KEPT", (*asked._KEPT, "GIT_TEST_ASSUME"))
    taken = take(tmp_path / "run")
    assert "safe.directory" in str(taken.error)
    assert "dubious ownership" in taken.omitted["changes"]
    assert (taken.version.commit, taken.version.branch, taken.version.dirty) == (git(repository, "rev-parse", "HEAD"), "main", None)


@pytest.mark.parametrize("damage", ["core.bare", "index"])
def test_a_repository_that_git_cannot_work_with(repository: Path, tmp_path: Path, damage: str) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    if damage == "core.bare":
        git(repository, "config", "core.bare", "true")
    else:
        (repository / ".git" / "index").write_bytes(b"no index")
    taken = take(tmp_path / "run")
    assert "fatal" in str(taken.error)
    assert (taken.version.commit, taken.version.branch, taken.version.dirty) == (commit, "main", None)
    assert "fatal" in taken.omitted["changes"]


def test_a_git_that_takes_too_long_is_ended_and_named(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    stall = f'case "$*" in *untracked-files=*) echo $$ >> {tmp_path}/pids; sleep 60 ;; esac'
    slow.write_text(f'#!/bin/sh\n{stall}\nPATH={os.environ["PATH"]} exec git "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(asked, "CALL_LIMIT", 0.5)
    start = time.monotonic()
    taken = take(tmp_path / "run")
    assert time.monotonic() - start < 10
    assert taken.version.commit == git(repository, "rev-parse", "HEAD")
    assert taken.version.branch == "main"
    assert taken.version.dirty is None
    assert {"changes", "untracked files"} <= taken.omitted.keys()
    assert "git status took longer than" in taken.omitted["changes"]
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


# -- what is kept


def test_smaller_things_are_kept_first_and_the_rest_is_named(repository: Path, tmp_path: Path) -> None:
    write(repository, {"train.py": "lr = 5\n", "large.txt": "x" * 5_000, "small.txt": "y" * 10, "middle.txt": "z" * 1_000})
    taken = take(tmp_path / "run", limit=4_000)
    assert [ref.name for ref in taken.version.untracked] == ["code/untracked/middle.txt", "code/untracked/small.txt"]
    assert taken.version.diff is not None
    assert taken.omitted.keys() == {"large.txt"}
    assert "code_limit" in taken.omitted["large.txt"]
    assert "5,000 bytes" in taken.omitted["large.txt"]


def test_a_diff_that_is_too_large_is_taken_by_file(repository: Path, tmp_path: Path) -> None:
    write(repository, {"train.py": "lr = 5\n", "weights.bin": os.urandom(50_000), "dos.txt": "unix\n"})
    taken = take(tmp_path / "run", limit=20_000)
    assert taken.omitted.keys() == {"weights.bin"}
    made = restore(taken, tmp_path / "again", repository)
    assert without(tree(made), "weights.bin") == without(tree(repository), "weights.bin")


def test_no_limit_at_all(repository: Path, tmp_path: Path) -> None:
    write(repository, {"train.py": "lr = 5\n", "new.py": "x\n"})
    taken = take(tmp_path / "run", limit=0)
    assert (taken.version.diff, taken.version.untracked, taken.version.dirty) == (None, [], True)
    assert taken.omitted.keys() == {"train.py", "new.py"}


def test_only_what_holds_a_credential_is_left_out(repository: Path, tmp_path: Path) -> None:
    write(repository, {"train.py": "lr = 5\nURL = 'https://me:hunter22@example.com/x'\n", "sub/model.py": "depth = 4\n"})
    write(
        repository,
        {"secret.env": "DB=postgresql://me:hunter22@db/x\n", "fine.py": "x = 1\n", "weights.bin": b"\0https://me:hunter22@example.com/"},
    )
    taken = take(tmp_path / "run")
    assert taken.omitted.keys() == {"train.py", "secret.env", "weights.bin"}
    assert "credential" in taken.omitted["train.py"]
    assert b"hunter22" not in b"".join(path.read_bytes() for path in taken.folder.artifacts.iterdir())
    assert "hunter22" not in repr(taken.records)
    made = restore(taken, tmp_path / "again", repository)
    assert (made / "sub" / "model.py").read_text() == "depth = 4\n"
    assert (made / "fine.py").exists()


def test_what_there_is_no_time_to_search_is_named(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multitrack.capture.code.keep.SEARCH_LIMIT", -1.0)
    write(repository, {"new.py": "x = 1\n", "train.py": "lr = 3\n"})
    taken = take(tmp_path / "run")
    assert (taken.version.diff, taken.version.untracked) == (None, [])
    assert taken.omitted.keys() == {"new.py", "train.py"}


def test_very_many_omissions_are_counted(repository: Path, tmp_path: Path) -> None:
    write(repository, {f"many/{number}.txt": "x" * 100 for number in range(300)})
    taken = take(tmp_path / "run", limit=10)
    assert len(taken.version.omitted) == 101
    assert taken.version.omitted[-1].name == "200 more"


def test_very_many_files_are_not_kept(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multitrack.capture.code.keep.MOST_FILES", 20)
    write(repository, {f"many/{number:03}.txt": "x" * (number + 1) for number in range(150)})
    taken = take(tmp_path / "run")
    assert [ref.name for ref in taken.version.untracked] == [f"code/untracked/many/{number:03}.txt" for number in range(20)]
    assert len(taken.version.omitted) == 51
    assert taken.version.omitted[-1].name == "80 more files"


def test_what_cannot_be_read_is_named(repository: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    write(repository, {"closed.txt": "x"})
    (repository / "closed.txt").chmod(0)
    assert "Permission denied" in take(tmp_path / "run").omitted["closed.txt"]


def test_a_pipe_and_an_empty_folder_do_not_matter(repository: Path, tmp_path: Path) -> None:
    os.mkfifo(repository / "pipe")
    (repository / "empty").mkdir()
    taken = take(tmp_path / "run")
    assert (taken.version.untracked, taken.version.omitted, taken.error) == ([], [], None)
    assert stat.S_ISFIFO((repository / "pipe").stat().st_mode)


# -- repositories inside


@pytest.fixture
def nested(repository: Path, tmp_path: Path) -> Path:
    """A repository with a submodule that has one of its own, another that was not checked out, and a clone that it does not track."""
    inner = make_repository(tmp_path / "inner", {"inner.py": "inner = 1\n"})
    outer = make_repository(tmp_path / "outer", {"outer.py": "outer = 1\n"})
    git(outer, "submodule", "--quiet", "add", str(inner), "deep")
    git(outer, "commit", "-qm", "with a submodule")
    git(repository, "submodule", "--quiet", "add", str(outer), "lib/outer")
    git(repository, "submodule", "--quiet", "add", str(inner), "absent")
    git(repository, "commit", "-qm", "with submodules")
    git(repository, "submodule", "--quiet", "update", "--init", "--recursive")
    git(repository, "submodule", "--quiet", "deinit", "absent")
    git(tmp_path, "clone", "-q", str(inner), str(repository / "clone"))
    return repository


def test_repositories_inside_are_made_again(nested: Path, tmp_path: Path) -> None:
    clean = take(tmp_path / "clean").version
    assert clean.dirty is False
    assert [(one.path, one.dirty, one.diff) for one in clean.submodules] == [
        ("lib/outer", False, None),
        ("lib/outer/deep", False, None),
        ("clone", False, None),
    ]
    assert clean.submodules[0].remote == str(tmp_path / "outer")
    write(
        nested,
        {"lib/outer/outer.py": "outer = 2\n", "lib/outer/new.py": "n\n", "lib/outer/deep/inner.py": "inner = 2\n", "clone/x.py": "x\n"},
    )
    git(nested / "clone", "checkout", "-q", "-b", "mine")
    git(nested / "lib" / "outer", "commit", "-q", "--allow-empty", "-m", "not known to the repository")
    taken = take(tmp_path / "run")
    assert taken.version.dirty is True
    assert taken.version.diff is None
    assert taken.version.submodules[0].commit == git(nested / "lib" / "outer", "rev-parse", "HEAD")
    assert taken.version.submodules[2].branch == "mine"
    made = restore(taken, tmp_path / "again", nested)
    assert tree(made) == tree(nested)


def test_a_change_deep_inside_makes_the_whole_dirty(nested: Path, tmp_path: Path) -> None:
    write(nested, {"lib/outer/deep/inner.py": "inner = 2\n"})
    version = take(tmp_path / "run").version
    assert [one.dirty for one in version.submodules] == [True, True, False]
    assert version.dirty is True


def test_a_change_in_a_clone_that_is_not_tracked_leaves_the_repository_clean(nested: Path, tmp_path: Path) -> None:
    write(nested, {"clone/inner.py": "inner = 2\n"})
    version = take(tmp_path / "run").version
    assert [one.dirty for one in version.submodules] == [False, False, True]
    assert version.dirty is False


def test_patterns_are_those_of_the_mask(repository: Path, tmp_path: Path) -> None:
    write(repository, {"new.py": "key = 'corp-12345'\n"})
    assert take(tmp_path / "run", mask=Mask(["corp-[0-9]+"])).omitted.keys() == {"new.py"}

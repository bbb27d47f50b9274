"""Git repositories at hand: where a commit can be had from, and a run's code as a tree of files. Nothing here changes a user's repository.

git           one call of the program; an error is a GitError with what git said
find_objects  the folders of objects, of the repositories at hand, that hold a commit
Trees         makes a tree of a recorded code version, in a repository of its own that borrows those objects
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from .errors import MultitrackError
from .records import Artifact, ArtifactRef, CodeVersion

TIMEOUT = 600.0
"""Seconds for one call: checking out a very large repository, or fetching a commit, takes minutes."""

_OF_ANOTHER_REPOSITORY = frozenset(
    {
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"),
        *("GIT_NAMESPACE", "GIT_PREFIX", "GIT_TEMPLATE_DIR"),
    }
)
"""Variables that a hook, or a shell, may have set for a repository of its own."""

Contents = Callable[[str], bytes]
"""Gives the content of a run's artifact."""


class GitError(MultitrackError):
    """Git could not do what it was asked for."""


def git(folder: Path, *arguments: str, stdin: bytes | None = None, variables: Mapping[str, str] | None = None) -> bytes:
    """Return what git prints. No hooks are run, no editor or password is asked for, and no address may name a program.

    Raises:
        GitError: there is no git, it fails, or it takes too long.
    """
    if shutil.which("git") is None:
        raise GitError("there is no git on the PATH")
    kept = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}
    safe = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-c", f"core.hooksPath={os.devnull}", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            input=b"" if stdin is None else stdin,
            capture_output=True,
            timeout=TIMEOUT,
            env={**kept, **safe, **(variables or {})},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GitError(f"git {arguments[0]} took longer than {TIMEOUT:.0f} s") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GitError(f"git {arguments[0]}: {said[-1] if said else f'it ended with {done.returncode}'}")
    return done.stdout


def find_objects(places: Iterable[Path], commit: str) -> Path | None:
    """Return the folder of objects of the first repository, around one of the places, that holds a commit; None if none does."""
    for place in places:
        try:
            if place.is_dir():
                git(place, "cat-file", "-e", f"{commit}^{{commit}}")
                return (place / os.fsdecode(git(place, "rev-parse", "--git-path", "objects")).strip()).resolve()
        except (GitError, OSError):
            continue
    return None


def diff_bytes(diff: str) -> bytes:
    """Return a recorded diff as the bytes that git wrote."""
    return diff.encode("utf-8", "surrogateescape")


class CodeFile:
    """A file that was recorded whole: its place below the code's root, and what it is there."""

    def __init__(self, ref: ArtifactRef, artifacts: Mapping[str, Artifact]) -> None:
        """`artifacts` are the run's, by name.

        Raises:
            GitError: its path leads out of the root, or into a repository's own folder.
        """
        metadata = artifacts[ref.name].metadata if ref.name in artifacts else {}
        told = metadata.get("path")
        self.name = ref.name
        self.path = told if isinstance(told, str) else _path_of(ref.name)
        self.executable = metadata.get("executable") is True
        self.symlink = metadata.get("symlink") is True
        parts = PurePosixPath(self.path).parts
        if not parts or self.path.startswith("/") or any(part == ".." or part.lower() == ".git" for part in parts) or "\0" in self.path:
            raise GitError(f"{self.path!r} is no path of a file below the code's root")

    @property
    def mode(self) -> str:
        """The file's mode, in git's words."""
        return "120000" if self.symlink else "100755" if self.executable else "100644"


def _path_of(name: str) -> str:
    for start in ("code/untracked/", "code/modules/"):
        if name.startswith(start):
            return name.removeprefix(start)
    return name


def files_of(code: CodeVersion, artifacts: Mapping[str, Artifact]) -> list[CodeFile]:
    """Return the files that are recorded whole.

    Raises:
        GitError: one has a path that no file of the code can have.
    """
    return [CodeFile(ref, artifacts) for ref in (*code.untracked, *code.modules)]


class Trees:
    """Recorded code versions as git trees, in a bare repository of their own."""

    def __init__(self, folder: Path, objects: Sequence[Path]) -> None:
        """`folder` is new and empty; `objects` are folders of objects that are borrowed.

        Raises:
            GitError: there is no git.
        """
        git(folder.parent, "init", "--quiet", "--bare", "--", str(folder))
        self._folder = folder
        (folder / "objects" / "info" / "alternates").write_text("".join(f"{path}\n" for path in objects), encoding="utf-8")
        self._count = 0

    def tree(self, code: CodeVersion, artifacts: Mapping[str, Artifact], contents: Contents) -> str:
        """Return the id of the tree that a run's code is, without its submodules' files.

        Raises:
            GitError: the commit is not there, or the diff does not apply.
        """
        self._count += 1
        index = {"GIT_INDEX_FILE": str(self._folder / f"index-{self._count}")}
        if code.commit is not None:
            git(self._folder, "read-tree", code.commit, variables=index)
        if code.diff:
            git(self._folder, "apply", "--cached", "--whitespace=nowarn", "-", stdin=diff_bytes(code.diff), variables=index)
        for file in files_of(code, artifacts):
            blob = git(self._folder, "hash-object", "-w", "--stdin", "--no-filters", stdin=contents(file.name)).decode().strip()
            git(self._folder, "update-index", "--add", "--replace", "--cacheinfo", f"{file.mode},{blob},{file.path}", variables=index)
        return git(self._folder, "write-tree", variables=index).decode().strip()

    def diff(self, one: str, other: str) -> str:
        """Return what leads from one tree to another, for people: bytes that are no UTF-8 are replaced, binary files only named."""
        said = git(self._folder, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--find-renames", one, other)
        return said.decode("utf-8", "replace")

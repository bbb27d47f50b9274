"""A run's code, restored in a new folder: the commit, the changes against it, and the files that were kept whole.

The commit comes from a repository at hand that has it, whose objects are borrowed and which is not touched, else from the recorded
remotes. No hook is run. What a record says is not trusted: no path leads out of the folder, or into `.git`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..records import Artifact, ArtifactRef, CodeVersion, Submodule
from ..repositories import CodeFile, Contents, GitError, diff_bytes, files_of, find_objects, git
from .shortfall import Shortfall

CELLS = "executed-cells.ipynb"
"""The notebook of what was executed, beside the code."""


@dataclass
class RestoredCode:
    """What became of the code."""

    done: list[str] = field(default_factory=list)
    """For people: what was restored."""
    shortfalls: list[Shortfall] = field(default_factory=list)

    def miss(self, text: str) -> None:
        self.shortfalls.append(Shortfall("code", text))


def restore_code(code: CodeVersion | None, artifacts: Mapping[str, Artifact], contents: Contents, tree: Path, here: Path) -> RestoredCode:
    """Restore a run's code in `tree`, a new folder, and say what was restored and what not.

    Args:
        code: what was recorded.
        artifacts: the run's, by name.
        contents: gives an artifact's content.
        tree: where to.
        here: a folder of the user's, whose repository may have the commit.
    """
    result = RestoredCode()
    if code is None:
        result.miss("the run recorded none")
        return result
    if code.vcs == "git":
        root = Path(code.root) if code.root else None
        remotes = [url for url in dict.fromkeys([code.remote, *code.remotes.values()]) if url]
        places = [here, *([root] if root else [])]
        if _restore_commit(result, tree, code.commit, remotes, places):
            _apply(result, tree, code.diff, code.dirty)
            for submodule in code.submodules:
                _restore_submodule(result, tree, submodule, places)
    elif code.vcs is not None:
        result.miss(f"it was under {code.vcs}, which cannot be restored")
    _write_files(result, code, artifacts, contents, tree)
    if code.vcs is None and not code.modules and not code.untracked:
        result.miss("it was in no repository, and no files of it were kept")
    if code.notebook is not None:
        _write_cells(result, code.notebook, contents, tree)
    for omission in code.omitted:
        result.miss(f"{omission.name} was not kept: {omission.reason}")
    return result


# -- the commit -------------------------------------------------------------------------------------------------------


def _restore_commit(result: RestoredCode, tree: Path, commit: str | None, remotes: Sequence[str], places: Sequence[Path]) -> bool:
    """Check out a commit in a repository of its own; False if it cannot be had, which is said."""
    try:
        git(tree.parent, "init", "--quiet", "--", str(tree))
        if remotes:
            git(tree, "config", "remote.origin.url", remotes[0])
        if commit is None:
            result.done.append("a repository without a commit")
            return True
        where = _bring_commit(tree, commit, remotes, places)
        git(tree, "checkout", "--quiet", "--detach", "--force", commit, "--")
    except (GitError, OSError) as error:
        result.miss(f"commit {commit or 'none'}: {error}")
        return False
    result.done.append(f"commit {commit[:12]}, from {where}")
    return True


def _bring_commit(tree: Path, commit: str, remotes: Sequence[str], places: Sequence[Path]) -> str:
    """Make a commit known to the new repository, and return where it comes from.

    Raises:
        GitError: it is nowhere; the message names the places.
    """
    objects = find_objects(places, commit)
    if objects is not None:
        (tree / ".git" / "objects" / "info" / "alternates").write_text(f"{objects}\n", encoding="utf-8")
        if (shallow := objects.parent / "shallow").is_file():
            (tree / ".git" / "shallow").write_bytes(shallow.read_bytes())
        return str(objects.parent.parent if objects.parent.name == ".git" else objects.parent)
    asked = []
    for url in remotes:
        try:
            _fetch(tree, url, commit)
        except GitError as error:
            asked.append(f"{url} ({error})")
        else:
            return url
    nowhere = f"it is in no repository in {' or '.join(dict.fromkeys(map(str, places)))}"
    raise GitError(nowhere + (f", and could not be had from {', '.join(asked)}" if asked else ", and no remote was recorded"))


def _fetch(tree: Path, url: str, commit: str) -> None:
    if url.startswith("-"):
        raise GitError("that is no address")
    try:
        git(tree, "fetch", "--quiet", "--depth=1", "--no-tags", "--", url, commit)
    except GitError:  # many a server gives no single commits
        git(tree, "fetch", "--quiet", "--", url, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        git(tree, "cat-file", "-e", f"{commit}^{{commit}}")


def _apply(result: RestoredCode, tree: Path, diff: str | None, dirty: bool | None, where: str = "") -> None:
    if diff:
        try:
            git(tree, "apply", "--whitespace=nowarn", "-", stdin=diff_bytes(diff))
        except GitError as error:
            result.miss(f"the changes{where} do not apply: {error}")
        else:
            count = diff.count("\ndiff --git ") + diff.startswith("diff --git ")
            result.done.append(f"changes to {count:,} file{'' if count == 1 else 's'}{where}")
    elif dirty and not where:
        result.shortfalls.append(Shortfall("code", "there were changes, of which no text was recorded", blocks=diff is None))


def _restore_submodule(result: RestoredCode, tree: Path, submodule: Submodule, places: Sequence[Path]) -> None:
    target = _place(tree, submodule.path)
    if target is None:
        result.miss(f"submodule {submodule.path!r}: that is no path below the code's root")
        return
    target.mkdir(parents=True, exist_ok=True)
    remotes = [submodule.remote] if submodule.remote else []
    inner = RestoredCode()
    if _restore_commit(inner, target, submodule.commit, remotes, [place / submodule.path for place in places]):
        _apply(inner, target, submodule.diff, submodule.dirty, f" in {submodule.path}")
    result.done += [f"{submodule.path}: {text}" for text in inner.done]
    result.shortfalls += [Shortfall("code", f"submodule {submodule.path}: {one.text}", one.blocks) for one in inner.shortfalls]


# -- files that were kept whole ---------------------------------------------------------------------------------------


def _write_files(result: RestoredCode, code: CodeVersion, artifacts: Mapping[str, Artifact], contents: Contents, tree: Path) -> None:
    try:
        files = files_of(code, artifacts)
    except GitError as error:
        result.miss(str(error))
        return
    hashes = {ref.name: ref.sha256 for ref in (*code.untracked, *code.modules)}
    written = 0
    for file in files:
        try:
            content = contents(file.name)
            if hashlib.sha256(content).hexdigest() != hashes[file.name]:
                result.miss(f"{file.path} is not what was recorded: somebody has changed the artifact {file.name}")
                continue
            _write(tree, file, content)
        except Exception as error:  # noqa: BLE001 - whatever a service says to it: the other files are restored all the same
            result.miss(f"{file.path}: {type(error).__name__}: {error}")
        else:
            written += 1
    if written:
        what = "git did not track" if code.vcs == "git" else "were kept"
        result.done.append(f"{written:,} file{'' if written == 1 else 's'} that {what}")


def _write_cells(result: RestoredCode, notebook: ArtifactRef, contents: Contents, tree: Path) -> None:
    place = tree / CELLS
    try:
        content = contents(notebook.name)
        if not place.exists():
            place.write_bytes(content)
            exclude(tree, [CELLS])
            result.done.append(f"the cells that were executed, in {CELLS}")
    except Exception as error:  # noqa: BLE001 - as above
        result.miss(f"{notebook.name}: {type(error).__name__}: {error}")


def _write(tree: Path, file: CodeFile, content: bytes) -> None:
    place = _place(tree, file.path)
    if place is None:
        raise OSError("it leads out of the code's root")
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or place.exists():
        place.unlink()
    if file.symlink:
        place.symlink_to(os.fsdecode(content))
        return
    place.write_bytes(content)
    place.chmod(0o755 if file.executable else 0o644)


def _place(tree: Path, path: str) -> Path | None:
    """Return the place of a path below the tree; None where it leads out of it, a symlink on the way included, or into `.git`."""
    parts = Path(path).parts
    if not parts or path.startswith("/") or any(part == ".." or part.lower() == ".git" for part in parts):
        return None
    place = tree.joinpath(*parts)
    return place if place.parent.resolve().is_relative_to(tree.resolve()) else None


def exclude(tree: Path, paths: Sequence[str]) -> None:
    """Have git pass over files that are in the tree for us: the environment, data that was linked."""
    info = tree / ".git" / "info"
    if paths and info.parent.is_dir():
        info.mkdir(exist_ok=True)
        with (info / "exclude").open("a", encoding="utf-8") as file:
            file.writelines(f"/{_escaped(path)}\n" for path in paths)


def _escaped(path: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\*?[]!# " else sign for sign in path)

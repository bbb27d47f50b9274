"""The code of one run, as far as this process can tell: at the start, and again at the end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from ...config.files import find_project_root
from ...masking import Mask
from ...records import ArtifactRef, CodeVersion, Omission, Submodule, now
from ..recorder import Recorder
from .by_hand import read_by_hand
from .entry import Entry, find_shell
from .found import Found, find_repository
from .git import TOTAL_LIMIT, Git, find_git
from .keep import Keeper, list_omissions
from .modules import imported_below, is_installed
from .notebook import MEDIA_TYPE, NAME, executed_cells, make_notebook
from .repository import ignored_among, read_repository
from .with_dulwich import has_dulwich, read_with_dulwich

MODULES = "code/modules"
"""The artifacts that are modules."""
UNTRACKED = "code/untracked"
"""The artifacts that are files of the repository."""


class Survey:
    """Finds out which code runs, and keeps the files that belong to it.

    Attributes:
        error: what kept git from telling the changes, if anything did.
    """

    def __init__(self, recorder: Recorder, entry: Entry) -> None:
        self.error: Exception | None = None
        self._recorder = recorder
        self._entry = entry
        self._keeper = Keeper(recorder)

    def look(self) -> CodeVersion:
        """Return all that is known at the start.

        Raises:
            OSError: the disk refuses a file.
        """
        entry = self._entry
        if entry.kind == "stdin":
            self._keeper.omit("standard input", "the program was read from there, and cannot be read again")
        root = choose_repository(entry)
        found = self._read(root) if root is not None else None
        if found is None:
            return self.complete(describe_process(entry, project_folder(entry), self._recorder.mask))
        founds = list(found.all())
        for one in founds:
            self._keeper.omitted += one.omitted
        diffs = self._keeper.keep_patches(founds)
        paths = [one.below(path) for one in founds for path in one.files]
        untracked = self._keeper.keep_files(found.root, paths, UNTRACKED)
        changes = {
            "vcs": "git",
            "commit": found.commit,
            "branch": found.branch,
            "remote": found.remote,
            "remotes": found.remotes,
            "dirty": found.dirty,
            "diff": diffs.get(""),
            "untracked": untracked,
            "submodules": [_submodule(one, diffs.get(one.path)) for one in founds[1:]],
        }
        return self.complete(describe_process(entry, found.root, self._recorder.mask).model_copy(update=changes))

    def complete(self, version: CodeVersion) -> CodeVersion:
        """Return a version with what this process has executed by now, and imported where no repository tells it.

        Raises:
            OSError: the disk refuses a file.
        """
        changes: dict[str, object] = {}
        shell = find_shell()
        if shell is not None:
            changes["notebook"] = self._keep_cells(shell, version.notebook)
        changes["modules"] = self._keep_modules(version)
        changes["omitted"] = list_omissions(self._keeper.omitted)
        return version.model_copy(update=changes)

    def _read(self, root: Path) -> Found | None:
        """Return the repository's state, by the best means there is; None where not even its files can be read."""
        program = find_git()
        reason = "there is no git program here, nor dulwich: install git, or multitrack[git]"
        try:
            if program is not None:
                return read_repository(Git(program, root, time.monotonic() + TOTAL_LIMIT), root, self._recorder.code_limit)
            if has_dulwich():
                return read_with_dulwich(root)
        except Exception as error:  # noqa: BLE001 - dulwich raises what it likes; told when the run ends
            self.error = error
            reason = str(error)
        try:
            found = read_by_hand(root)
        except OSError as error:
            self.error = self.error or error
            return None
        found.omit("changes", reason)
        return found

    def _keep_cells(self, shell: object, former: ArtifactRef | None) -> ArtifactRef | None:
        content, omitted = make_notebook(executed_cells(shell), self._recorder.mask)
        known = set(map(_key, self._keeper.omitted))
        self._keeper.omitted += [one for one in omitted if _key(one) not in known]
        return self._keeper.keep_bytes(content, NAME, MEDIA_TYPE) or former

    def _keep_modules(self, version: CodeVersion) -> list[ArtifactRef]:
        """Keep what no repository tells: all that was imported where there is none, else what it ignores, and a script beside it."""
        root = Path(version.root or "")
        script = self._entry.file if self._entry.kind in ("script", "module") else None
        known = {ref.name.removeprefix(f"{MODULES}/") for ref in version.modules} | {one.name for one in self._keeper.omitted}
        paths = [path for path in imported_below(root, script) if path not in known]
        if version.dirty is not None:
            inside = tuple(f"{one.path}/" for one in version.submodules)
            paths = self._ignored(root, [path for path in paths if path.endswith(".py") and not path.startswith(inside)])
        kept = [*version.modules, *self._keeper.keep_files(root, paths, MODULES)]
        if script is not None and script.name not in known and not is_installed(script) and os.path.isabs(version.entry_point or ""):  # noqa: PTH117
            kept += self._keeper.keep_files(script.parent, [script.name], MODULES)
        return sorted(kept, key=lambda ref: ref.name)

    def _ignored(self, root: Path, paths: list[str]) -> list[str]:
        program = find_git()
        if program is None or not paths:
            return []
        return ignored_among(Git(program, root, time.monotonic() + TOTAL_LIMIT), paths)


def choose_repository(entry: Entry) -> Path | None:
    """Return the root of the repository that the code is in: that around the entry point's file, else that around the working folder.

    A file that was installed says nothing: it came with a package.
    """
    folders = [entry.cwd]
    if entry.file is not None and not is_installed(entry.file):
        folders = [entry.file.parent, entry.file.resolve().parent, entry.cwd]
    return next((root for folder in folders if (root := find_repository(folder)) is not None), None)


def project_folder(entry: Entry) -> Path:
    """Return the folder of a project that is in no repository: that of the entry point's file, else of the working folder, upwards."""
    if entry.file is not None and not is_installed(entry.file):
        return find_project_root(entry.file.parent)
    return find_project_root(entry.cwd)


def _key(one: Omission) -> tuple[str, str]:
    return one.name, one.reason


def _submodule(found: Found, diff: str | None) -> Submodule:
    return Submodule(path=found.path, commit=found.commit, branch=found.branch, remote=found.remote, dirty=found.dirty, diff=diff)


def describe_process(entry: Entry, root: Path, mask: Mask) -> CodeVersion:
    """Return how this process was started, with paths relative to `root`, and nothing else."""
    point = entry.point
    if point is not None and os.path.isabs(point):  # noqa: PTH117
        point = _below(Path(point), root)
    return CodeVersion(
        time=now(),
        root=str(root),
        entry_point=point,
        entry_kind=entry.kind,
        command=mask.command([sys.executable, *sys.orig_argv[1:]]),
        working_dir=_below(entry.cwd, root),
    )


def _below(path: Path, root: Path) -> str:
    for name, folder in ((path, root), (path.resolve(), root.resolve())):  # a link in between gives two names to one place
        if name.is_relative_to(folder):
            return name.relative_to(folder).as_posix()
    return str(path)

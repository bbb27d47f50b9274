"""The code of one run: taken in a thread when the run starts, completed when it ends."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from ...config.files import find_project_root
from ...masking import Mask
from ...records import ArtifactRef, CodeVersion, Omission, Submodule, now
from ..recorder import Recorder
from ..watch import Watch
from .by_hand import read_by_hand
from .entry import Entry, find_entry, find_shell
from .found import Found, find_repository
from .git import TOTAL_LIMIT, Git, find_git
from .keep import Keeper, list_omissions
from .modules import imported_below, is_installed
from .notebook import MEDIA_TYPE, NAME, executed_cells, make_notebook
from .repository import read_repository
from .with_dulwich import has_dulwich, read_with_dulwich


class CodeWatch(Watch):
    """Records which code runs.

    The repository is looked at once, at the start. What comes later (cells of a notebook, modules outside a repository) is added at the
    end, so that there may be two records, of which the second says all.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._keeper = Keeper(recorder)
        self._version: CodeVersion | None = None
        self._entry: Entry | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._take, name="multitrack-code", daemon=True)

    def start(self) -> None:
        """Note where we are, as the training may go elsewhere, and begin to look."""
        self._entry = find_entry()
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Add what came since the start.

        Raises:
            TimeoutError: the repository is still being looked at.
            Exception: it could not be looked at.
        """
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"looking at the repository took longer than {timeout:.0f} s")
        if self._version is not None:
            late = self._complete(self._version)
            if late != self._version:
                self.recorder.write(late.model_copy(update={"time": now()}))
        if self._error is not None:
            raise self._error

    def _take(self) -> None:
        try:
            assert self._entry is not None  # noqa: S101 - start has set it
            version = self._look(self._entry)
            self._version = self._complete(version)
            self.recorder.write(self._version)
        except Exception as error:  # noqa: BLE001 - told when the run ends
            self._error = self._error or error

    def _look(self, entry: Entry) -> CodeVersion:
        """Return all that is known at the start, with the repository's files kept."""
        root = choose_repository(entry)
        found = self._read(root) if root is not None else None
        if found is None:
            return describe_process(entry, project_folder(entry), self.recorder.mask)
        founds = list(found.all())
        for one in founds:
            self._keeper.omitted += one.omitted
        diffs = self._keeper.keep_patches(founds)
        paths = [one.below(path) for one in founds for path in one.files]
        untracked = self._keeper.keep_files(found.root, paths, "code/untracked")
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
        return describe_process(entry, found.root, self.recorder.mask).model_copy(update=changes)

    def _read(self, root: Path) -> Found | None:
        """Return the repository's state, by the best means there is; None where not even its files can be read."""
        program = find_git()
        reason = "there is no git program here, nor dulwich: install git, or multitrack[git]"
        try:
            if program is not None:
                return read_repository(Git(program, root, time.monotonic() + TOTAL_LIMIT), root, self.recorder.code_limit)
            if has_dulwich():
                return read_with_dulwich(root)
        except Exception as error:  # noqa: BLE001 - dulwich raises what it likes; told when the run ends
            self._error = error
            reason = str(error)
        try:
            found = read_by_hand(root)
        except OSError as error:
            self._error = self._error or error
            return None
        found.omit("changes", reason)
        return found

    def _complete(self, version: CodeVersion) -> CodeVersion:
        """Return a version with what this process has loaded and executed by now."""
        changes: dict[str, object] = {}
        shell = find_shell()
        if shell is not None:
            changes["notebook"] = self._keep_cells(shell, version.notebook)
        if version.dirty is None and version.root is not None:
            changes["modules"] = self._keep_modules(Path(version.root), version.modules)
        changes["omitted"] = list_omissions(self._keeper.omitted)
        return version.model_copy(update=changes)

    def _keep_cells(self, shell: object, former: ArtifactRef | None) -> ArtifactRef | None:
        content, omitted = make_notebook(executed_cells(shell), self.recorder.mask)
        known = set(map(_key, self._keeper.omitted))
        self._keeper.omitted += [one for one in omitted if _key(one) not in known]
        return self._keeper.keep_bytes(content, NAME, MEDIA_TYPE) or former

    def _keep_modules(self, root: Path, kept: list[ArtifactRef]) -> list[ArtifactRef]:
        known = {ref.name.removeprefix("code/modules/") for ref in kept} | {one.name for one in self._keeper.omitted}
        entry = self._entry.file if self._entry is not None else None
        paths = [path for path in imported_below(root, entry) if path not in known]
        return sorted([*kept, *self._keeper.keep_files(root, paths, "code/modules")], key=lambda ref: ref.name)


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

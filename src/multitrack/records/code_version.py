"""Which code ran."""

from __future__ import annotations

from typing import Literal

from .base import ArtifactRef, Omission, Record, Struct


class Submodule(Struct):
    """A repository inside the repository: a submodule, or a clone that it does not track. Its own submodules are entries like it."""

    path: str
    """Relative to the outermost repository's root, with forward slashes. An outer one stands before those inside it."""
    commit: str | None = None
    """What was checked out there, whatever the repository around it says."""
    branch: str | None = None
    remote: str | None = None
    """Where it came from, with any credentials stripped."""
    dirty: bool | None = None
    """Whether its tracked files differed from `commit`."""
    diff: str | None = None
    """The changes against `commit`; paths are relative to its own root."""


class CodeVersion(Record):
    """The state of the source code. Of several in one run the last one counts.

    To have it again: check out `commit`, apply `diff` at the root with `git apply` as the bytes
    `diff.encode("utf-8", "surrogateescape")`, do the same for each submodule at its `path`, then write each file of `untracked` and
    `modules` over what is there. Without a repository, the files of `modules` are all there is.
    """

    kind: Literal["code_version"] = "code_version"
    vcs: str | None = None
    """`git`, or None where no repository was found."""
    root: str | None = None
    """The folder that paths are relative to, on the machine of the run: the repository's root; else the project's folder."""
    commit: str | None = None
    """None as well in a repository that has no commit yet."""
    branch: str | None = None
    """None on a detached HEAD."""
    remote: str | None = None
    """Where the repository came from, with any credentials stripped: the branch's remote, else `origin`, else the only one."""
    remotes: dict[str, str] = {}
    """All of them: name to URL, with any credentials stripped."""
    dirty: bool | None = None
    """Whether tracked files, submodules included, differed from `commit`; None when that is not known."""
    diff: str | None = None
    """The changes of tracked files against `commit`, staged or not, as `git apply` takes them. Bytes that are no UTF-8 are lone
    surrogates (Python's `surrogateescape`). Without a commit: against nothing. Submodules are not in it."""
    untracked: list[ArtifactRef] = []
    """Files kept whole, each an artifact `code/untracked/<path>`: those that the repository neither tracks nor ignores, those of its
    submodules, and changed ones that a patch cannot carry. The artifact's metadata has `path`, relative to `root`, and `executable` or
    `symlink` (the content is where it leads) where that is so."""
    submodules: list[Submodule] = []
    modules: list[ArtifactRef] = []
    """What was imported from the project's folder and no repository tells, each an artifact `code/modules/<path>` with the same metadata:
    everything, the script included, where there is no repository or its changes are not known; else the modules that it ignores. A
    script outside `root` is here by its name alone."""
    notebook: ArtifactRef | None = None
    """The cells that were executed, as a notebook."""
    omitted: list[Omission] = []
    """What could not or should not be kept, and why."""
    entry_point: str | None = None
    """The script, module, program or notebook that was started. A path below `root` is relative to it."""
    entry_kind: str | None = None
    """What `entry_point` is: `script`, `module` (`-m NAME`), `program` (an installed command), `notebook`, `inline` (`-c`), `stdin`,
    `interactive`."""
    command: list[str] | None = None
    """The command line, one argument an item."""
    working_dir: str | None = None
    """Relative to `root`, with forward slashes; absolute where it is not below it."""

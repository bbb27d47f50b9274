"""Which code ran."""

from __future__ import annotations

from typing import Literal

from .base import ArtifactRef, Record


class CodeVersion(Record):
    """The state of the source code. Of several in one run the last one counts."""

    kind: Literal["code_version"] = "code_version"
    vcs: str | None = None
    commit: str | None = None
    branch: str | None = None
    remote: str | None = None
    """Where the repository came from, with any credentials stripped."""
    dirty: bool | None = None
    """Whether the working tree differed from `commit`; None when that is not known."""
    diff: str | None = None
    """The changes against `commit`, as a unified diff."""
    untracked: list[ArtifactRef] = []
    """Files that the repository neither tracks nor ignores."""
    entry_point: str | None = None
    """The script, module or notebook that was started."""
    command: list[str] | None = None
    """The command line, one argument an item."""
    working_dir: str | None = None
    """Relative to the repository's root where there is one."""

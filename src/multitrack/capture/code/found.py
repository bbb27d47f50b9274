"""What is found in a repository, before it is decided what of it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...masking import strip_credentials
from ...records import Omission
from .patch import FilePatch


@dataclass(slots=True)
class Found:
    """A repository's state. Paths are relative to its own root, with forward slashes."""

    root: Path
    path: str = ""
    """Relative to the outermost repository's root; empty for that one."""
    commit: str | None = None
    branch: str | None = None
    remotes: dict[str, str] = field(default_factory=dict)
    """Name to URL, without credentials."""
    remote: str | None = None
    dirty: bool | None = None
    patches: list[FilePatch] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """Those to be kept whole."""
    inner: list[Found] = field(default_factory=list)
    omitted: list[Omission] = field(default_factory=list)

    def omit(self, name: str, reason: str) -> None:
        """Say what is left out."""
        self.omitted.append(Omission(name=self.below(name), reason=reason))

    def below(self, name: str) -> str:
        """Return a path of this repository relative to the outermost one."""
        return f"{self.path}/{name}" if self.path else name

    def all(self) -> Iterator[Found]:
        """Yield this one and those inside it, outer ones first."""
        yield self
        for inner in self.inner:
            yield from inner.all()


def set_remotes(found: Found, config: Mapping[str, str]) -> None:
    """Take the remotes from git's settings: full name (`remote.origin.url`) to value."""
    for name, url in config.items():
        if name.startswith("remote.") and name.endswith(".url"):
            stripped = strip_credentials(url)
            if stripped:
                found.remotes[name.removeprefix("remote.").removesuffix(".url")] = stripped
    for remote in (config.get(f"branch.{found.branch}.remote"), "origin"):
        if remote in found.remotes:
            found.remote = found.remotes[remote]
            return
    if len(found.remotes) == 1:
        (found.remote,) = found.remotes.values()


def find_repository(folder: Path) -> Path | None:
    """Return the root of the repository around a folder: the nearest folder upwards with a `.git` that is one; None without one."""
    for root in (folder, *folder.parents):
        try:
            if (root / ".git").is_file() or (root / ".git" / "HEAD").exists():
                return root
        except OSError:  # what may not be read is no repository of ours
            continue
    return None

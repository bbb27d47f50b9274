"""What of the code is kept: what fits into the limit, smaller things first, and holds no credential. What does not is named."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ...records import ArtifactRef, Omission
from ..recorder import Recorder
from .found import Found
from .patch import FilePatch
from .search import NoTimeLeftError, find_credential

MOST_FILES = 2_000
"""Files that are kept whole: a folder of results that somebody forgot to ignore is no code."""
SEARCH_LIMIT = 10.0
"""Seconds for looking for credentials in all that is kept."""
MOST_NAMED = 100
"""Omissions that are listed one by one."""


@dataclass(slots=True)
class Keeper:
    """Keeps files and patches of one run, up to its limit."""

    recorder: Recorder
    used: int = 0
    """Bytes kept so far."""
    omitted: list[Omission] = field(default_factory=list)
    _files: int = 0
    _searched: float = 0.0

    def omit(self, name: str, reason: str) -> None:
        """Say what is left out."""
        self.omitted.append(Omission(name=name, reason=reason))

    def keep_files(self, root: Path, paths: Iterable[str], folder: str) -> list[ArtifactRef]:
        """Keep files as artifacts `<folder>/<path>`, smaller ones first; return the references, by path.

        Args:
            root: what the paths are relative to.
            paths: with forward slashes.
            folder: of the artifacts.
        """
        kept: dict[str, ArtifactRef] = {}
        offered = sorted((_size(f"{root}/{path}"), path) for path in set(paths))
        for place, (size, path) in enumerate(offered):
            if self._files >= MOST_FILES:
                self._omit_rest([path for _, path in offered[place:]])
                break
            if not self._fits(path, size):
                continue
            try:
                content, metadata = _read(root / path, self._left + 1)
            except OSError as error:
                self.omit(path, f"it cannot be read: {error.strerror or error}")
                continue
            if self._fits(path, len(content)) and self._is_clean(path, content):
                kept[path] = self.recorder.keep(content, f"{folder}/{path}", type="code", metadata={"path": path, **metadata})
                self.used += len(content)
                self._files += 1
        return [kept[path] for path in sorted(kept)]

    def _omit_rest(self, paths: list[str]) -> None:
        reason, named = f"more than {MOST_FILES:,} files", MOST_NAMED // 2
        for path in paths[:named]:
            self.omit(path, reason)
        if len(paths) > named:
            self.omit(f"{len(paths) - named:,} more files", reason)

    def keep_patches(self, founds: Iterable[Found]) -> dict[str, str]:
        """Return the diff of each repository that has one: its path to what is left of it, in git's order."""
        offered = [(found, part) for found in founds for part in found.patches]
        kept: set[int] = set()
        for found, part in sorted(offered, key=lambda item: len(item[1].content)):
            name = found.below(os.fsdecode(part.path))
            if self._fits(name, len(part.content)) and self._is_clean(name, part.content, *_current(found.root, part)):
                self.used += len(part.content)
                kept.add(id(part))
        diffs: dict[str, list[bytes]] = {}
        for found, part in offered:
            if id(part) in kept:
                diffs.setdefault(found.path, []).append(part.content)
        return {path: b"".join(parts).decode("utf-8", "surrogateescape") for path, parts in diffs.items()}

    def keep_bytes(self, content: bytes, name: str, media_type: str) -> ArtifactRef | None:
        """Keep a file that was made for the run."""
        if not self._fits(name, len(content)):
            return None
        self.used += len(content)
        return self.recorder.keep(content, name, type="code", media_type=media_type)

    @property
    def _left(self) -> int:
        return max(0, self.recorder.code_limit - self.used)

    def _fits(self, name: str, size: int) -> bool:
        if size <= self._left:
            return True
        self.omit(name, f"{size:,} bytes; {self._left:,} are left of the {self.recorder.code_limit:,} of code_limit")
        return False

    def _is_clean(self, name: str, *contents: bytes) -> bool:
        start = time.monotonic()
        try:
            for content in contents:
                secret = find_credential(self.recorder.mask, content, start + SEARCH_LIMIT - self._searched)
                if secret is not None:
                    self.omit(name, f"it seems to hold a credential: {secret}")
                    return False
        except NoTimeLeftError:
            self.omit(name, f"looking for credentials took longer than {SEARCH_LIMIT:.0f} s, and it was not done with")
            return False
        finally:
            self._searched += time.monotonic() - start
        return True


def list_omissions(omitted: Iterable[Omission]) -> list[Omission]:
    """Return omissions as a record lists them: of very many, the first ones and how many more there are."""
    every = list(dict.fromkeys((one.name, one.reason) for one in omitted))
    listed = [Omission(name=name, reason=reason) for name, reason in every[:MOST_NAMED]]
    if len(every) > MOST_NAMED:
        listed.append(Omission(name=f"{len(every) - MOST_NAMED:,} more", reason=f"for reasons like these; the last one: {every[-1][1]}"))
    return listed


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0  # reading it will tell


def _read(path: Path, most: int) -> tuple[bytes, dict[str, bool]]:
    """Return a file's content, at most so many bytes, and what else has to be known to write it; for a link, where it leads.

    Raises:
        OSError: it cannot be read, or is neither file nor link.
    """
    facts = path.lstat()
    if stat.S_ISLNK(facts.st_mode):
        return os.fsencode(path.readlink()), {"symlink": True}
    if not stat.S_ISREG(facts.st_mode):
        raise OSError("it is no regular file")
    with path.open("rb") as file:
        return file.read(most), {"executable": True} if facts.st_mode & stat.S_IXUSR else {}


def _current(root: Path, part: FilePatch) -> list[bytes]:
    """Return what a patch has compressed, as it is."""
    if not part.binary:
        return []
    try:
        return [_read(root / os.fsdecode(part.path), -1)[0]]
    except OSError:
        return []  # it was deleted; what it was is in the repository

"""What changed in the code between two runs: exactly, where git has the commits; else as far as the records tell."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..records import Artifact, CodeVersion
from ..repositories import Contents, GitError, Trees, find_objects

_SECTION = re.compile(r"^(?=diff --git )", re.MULTILINE)
_OF_FILE = re.compile(r'diff --git (?:"?a/.*?"? )?"?b/(.*?)"?$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunCode:
    """A run's code, and how to read what belongs to it."""

    label: str
    code: CodeVersion
    artifacts: Mapping[str, Artifact]
    contents: Contents


@dataclass(frozen=True, slots=True)
class CodeChange:
    """What leads from one run's code to another's."""

    before: str
    after: str
    text: str
    """A unified diff of the files; where the commits cannot be had, of the changes that each run made to its commit. Empty: none."""
    note: str | None = None
    """Why the diff does not tell all of it; None: it does."""

    def to_json(self) -> dict[str, Any]:
        """Return the change in terms of JSON."""
        return {"from": self.before, "to": self.after, "diff": self.text, "note": self.note}


def code_changes(runs: Sequence[RunCode], here: Path) -> list[CodeChange]:
    """Return what leads from the first run's code to that of each other one. Commits are looked for around `here` and where they were."""
    if len(runs) < 2:
        return []
    with tempfile.TemporaryDirectory(prefix="multitrack-") as folder:
        return [_change(runs[0], other, here, Path(folder) / str(place)) for place, other in enumerate(runs[1:])]


def _change(one: RunCode, other: RunCode, here: Path, folder: Path) -> CodeChange:
    left_out = _omissions_note(one, other)
    if _is_same(one.code, other.code):
        return CodeChange(one.label, other.label, "", left_out)
    try:
        objects = [_objects(run.code, here) for run in (one, other)]
        trees = Trees(folder, [path for path in dict.fromkeys(objects) if path is not None])
        before, after = (trees.tree(run.code, run.artifacts, run.contents) for run in (one, other))
        text, note = trees.diff(before, after), _submodules_note(one.code, other.code)
    except GitError as error:
        text, note = diff_of_diffs(one.code, other.code), f"only what each run changed against its commit is compared: {error}"
    return CodeChange(one.label, other.label, text, "; ".join(filter(None, (note, left_out))) or None)


def _objects(code: CodeVersion, here: Path) -> Path | None:
    if code.commit is None:
        return None
    found = find_objects([here, *([Path(code.root)] if code.root else [])], code.commit)
    if found is None:
        raise GitError(f"commit {code.commit[:12]} is in no repository here")
    return found


def _is_same(one: CodeVersion, other: CodeVersion) -> bool:
    def files(code: CodeVersion) -> set[tuple[str, str]]:
        return {(ref.name, ref.sha256) for ref in (*code.untracked, *code.modules)}

    return (one.commit, one.diff, one.submodules) == (other.commit, other.diff, other.submodules) and files(one) == files(other)


def _submodules_note(one: CodeVersion, other: CodeVersion) -> str | None:
    before, after = ({sub.path: sub for sub in code.submodules} for code in (one, other))
    changed = sorted(path for path in {**before, **after} if before.get(path) != after.get(path))
    return f"submodules differ as well: {', '.join(changed)}" if changed else None


def _omissions_note(one: RunCode, other: RunCode) -> str | None:
    """Name what a run kept no copy of: it may differ, or not."""
    by_name: dict[str, list[str]] = {}
    for run in (one, other):
        for name in dict.fromkeys(omission.name for omission in run.code.omitted):
            by_name.setdefault(name, []).append(run.label)
    named = [f"{name} (by {' and '.join(labels)})" for name, labels in sorted(by_name.items())]
    return f"not kept, and so not compared: {', '.join(named)}" if named else None


# -- without the commits: pure ----------------------------------------------------------------------------------------


def diff_of_diffs(one: CodeVersion, other: CodeVersion) -> str:
    """Return a unified diff, file by file, of what two runs changed against their commits; of whole files, whether they are the same."""
    before, after = sections(one.diff or ""), sections(other.diff or "")
    parts = []
    for path in sorted({**before, **after}):
        old, new = before.get(path, "").splitlines(), after.get(path, "").splitlines()
        if old != new:
            lines = difflib.unified_diff(old, new, f"changes of {path}, first run", f"changes of {path}, second run", lineterm="")
            parts.append("\n".join(lines) + "\n")
    kept, kept_after = ({ref.name: ref.sha256 for ref in (*code.untracked, *code.modules)} for code in (one, other))
    for name in sorted({**kept, **kept_after}):
        if kept.get(name) != kept_after.get(name):
            how = "only in the first run" if name not in kept_after else "only in the second run" if name not in kept else "differs"
            parts.append(f"{name}: {how}\n")
    return "".join(parts)


def sections(diff: str) -> dict[str, str]:
    """Return a diff's part for each file, without the lines that name blobs: they differ wherever the commits do."""
    found = {}
    for section in _SECTION.split(diff):
        if (match := _OF_FILE.match(section)) is not None:
            lines = (line for line in section.splitlines(keepends=True) if not line.startswith(("index ", "@@")))
            found[match[1]] = "".join(lines)
    return found

"""A repository's commit, branch and remotes, read from its files: for where there is no git, or git refuses."""

from __future__ import annotations

import re
from pathlib import Path

from .found import Found, set_remotes

_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SECTION = re.compile(r'\[\s*([\w.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\](.*)')
_MOST_LINKS = 5
"""References that lead to references."""


def read_by_hand(root: Path) -> Found:
    """Return what the files of the repository at `root` tell. Whether anything has changed they do not.

    Raises:
        OSError: they cannot be read.
    """
    found = Found(root)
    folder = git_folder(root)
    common = _common(folder)
    head = (folder / "HEAD").read_text(encoding="utf-8", errors="surrogateescape").strip()
    if head.startswith("ref: refs/heads/") and not head.endswith("/.invalid"):  # so says the format that keeps references elsewhere
        found.branch = head.removeprefix("ref: refs/heads/")
    found.commit = _resolve(head, folder, common)
    set_remotes(found, _read_config(common / "config"))
    return found


def git_folder(root: Path) -> Path:
    """Return the folder with the repository's own files: `.git`, or where that leads from a worktree or a submodule.

    Raises:
        OSError: it cannot be read.
    """
    place = root / ".git"
    if place.is_dir():
        return place
    return root / place.read_text(encoding="utf-8", errors="surrogateescape").strip().removeprefix("gitdir:").strip()


def _common(folder: Path) -> Path:
    try:
        return folder / (folder / "commondir").read_text(encoding="utf-8", errors="surrogateescape").strip()
    except FileNotFoundError:
        return folder


def _resolve(value: str, folder: Path, common: Path) -> str | None:
    for _ in range(_MOST_LINKS):
        if not value.startswith("ref: "):
            break
        name = value.removeprefix("ref: ")
        value = _loose(folder / name) or _loose(common / name) or _packed(common / "packed-refs", name) or ""
    return value if _OID.fullmatch(value) else None


def _loose(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _packed(path: Path, name: str) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as lines:
            return next((oid for oid, _, ref in (line.rstrip("\n").partition(" ") for line in lines) if ref == name), None)
    except FileNotFoundError:
        return None


def _read_config(path: Path) -> dict[str, str]:
    """Return the settings of a file: full name to value, of several the first. Only as much of the syntax as remotes need."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return {}
    found: dict[str, str] = {}
    section = ""
    for line in map(str.strip, text.replace("\\\n", "").splitlines()):
        rest = line
        if match := _SECTION.match(line):
            inner = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else None
            section = match[1].lower() if inner is None else f"{match[1].lower()}.{inner}"
            rest = match[3].strip()
        if rest and rest[0] not in "#;":
            name, _, value = rest.partition("=")
            found.setdefault(f"{section}.{name.strip().lower()}", _value(value))
    return found


_VALUE = re.compile(r'"((?:[^"\\]|\\.)*)"|\\(.)|([#;].*)|([^"\\#;]+)')


def _value(text: str) -> str:
    """Return a setting's value without quotes, escapes and comment."""
    parts = [re.sub(r"\\(.)", r"\1", match[1] or "") + (match[2] or "") + (match[4] or "") for match in _VALUE.finditer(text.strip())]
    return "".join(parts).strip()

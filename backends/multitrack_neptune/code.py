"""The code version, from the attributes and files under `source_code/`. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from multitrack.records import ArtifactRef, CodeVersion, Omission

from . import names
from .attributes import Attributes
from .requirements import without_login

_REMOTE = "source_code/remote/"
_LOST = "neptune-exporter does not export which commit was checked out"


def text_files(attributes: Attributes) -> list[str]:
    """Return the paths of the file attributes whose contents `code_version` wants."""
    wanted = re.compile(rf"source_code/diff(/.*)?|{names.UPSTREAM_DIFF}.*", re.DOTALL)
    return [path for path, kind, _ in attributes if kind == "file" and wanted.fullmatch(path)]


def code_version(attributes: Attributes, texts: Mapping[str, str], modules: Sequence[ArtifactRef]) -> CodeVersion | None:
    """Return which code ran; None where nothing tells.

    Neptune 2.x keeps no commit in an export. What is left is the difference from the newest commit that was pushed, in a file whose name
    holds that commit: together they are the code as it ran.

    Args:
        attributes: the run's.
        texts: contents of the files that `text_files` names, by path; lone surrogates stand for bytes that are no UTF-8.
        modules: the files of `source_code/files`.
    """
    commit = attributes.text("source_code/commit/commit_id")
    diff = texts.get("source_code/diff/head", texts.get("source_code/diff"))
    upstream = [path for path in texts if path.startswith(names.UPSTREAM_DIFF)]
    if commit is None and len(upstream) == 1:
        commit, diff = upstream[0].removeprefix(names.UPSTREAM_DIFF), texts[upstream[0]]
    dirty = attributes.get("source_code/dirty", "bool")
    remotes = {
        path.removeprefix(_REMOTE): without_login(value)
        for path, kind, value in attributes
        if kind == "string" and path.startswith(_REMOTE)
    }
    entry_point, command = attributes.text("source_code/entrypoint"), attributes.text("source_code/run_command")
    in_git = bool(commit or diff is not None or remotes)
    if not (in_git or entry_point or command or modules):
        return None
    return CodeVersion(
        time=attributes.started,
        vcs="git" if in_git else None,
        commit=commit,
        branch=attributes.text("source_code/branch"),
        remote=remotes.get("origin") or (next(iter(remotes.values())) if len(remotes) == 1 else None),
        remotes=remotes,
        dirty=dirty if dirty is not None else bool(diff) or None,
        diff=diff,
        modules=list(modules),
        omitted=[Omission(name="commit", reason=_LOST)] if in_git and commit is None else [],
        entry_point=entry_point,
        entry_kind="script" if entry_point and entry_point.endswith(".py") else None,
        command=_split(command) if command else None,
    )


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # an open quotation mark
        return command.split()

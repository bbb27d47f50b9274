"""A patch of git's, taken apart by file. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_START = re.compile(rb"^diff --git ", re.MULTILINE)  # what a file holds is indented by a character, or has no blank in it (base 85)
_BODY = re.compile(rb"^(?:@@ |GIT binary patch$)", re.MULTILINE)
_UNMERGED = re.compile(rb"^\* Unmerged path .*\n?", re.MULTILINE)
_ESCAPED = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}


@dataclass(frozen=True, slots=True)
class FilePatch:
    """The part of a patch that is about one file, or moves one."""

    path: bytes
    """Of the file after it, or of the one that it deletes."""
    content: bytes
    binary: bool


def split_patch(patch: bytes) -> list[FilePatch]:
    """Return a patch by file, in its order. What is about one path stays together (a file that becomes a link: two sections)."""
    starts = [match.start() for match in _START.finditer(patch)]
    parts: list[FilePatch] = []
    for start, end in pairwise([*starts, len(patch)]):
        section = patch[start:end]
        body = _BODY.search(section)
        header = section[: body.start()] if body else _UNMERGED.sub(b"", section)
        section = header + (_without_tail(section[body.start() :]) if body else b"")
        path, binary = _path(header), body is not None and body[0].startswith(b"GIT")
        if parts and parts[-1].path == path:
            parts[-1] = FilePatch(path, parts[-1].content + section, parts[-1].binary or binary)
        else:
            parts.append(FilePatch(path, section, binary))
    return parts


def _without_tail(body: bytes) -> bytes:
    """Return a section's body without what git says of unmerged files after it."""
    at = body.find(b"\n* Unmerged path ")
    return body if at < 0 else body[: at + 1]


def _path(header: bytes) -> bytes:
    named: dict[bytes, bytes] = {}
    for line in header.split(b"\n")[1:]:
        for word in (b"rename to ", b"+++ ", b"--- "):
            if line.startswith(word):
                named[word] = line.removeprefix(word)
    if b"rename to " in named:
        return unquote(named[b"rename to "])
    for word in (b"+++ ", b"--- "):
        name = unquote(named.get(word, b"").removesuffix(b"\t"))  # the tab ends a name that has blanks
        if name.startswith((b"a/", b"b/")):
            return name[2:]
    # Neither content nor name changes: both names are the same.
    names = header.split(b"\n", 1)[0].removeprefix(b"diff --git ")
    first = names[: len(names) // 2]
    return unquote(first)[2:]


def unquote(name: bytes) -> bytes:
    """Return a path as it is: git puts those with special characters into quotes, as C does."""
    if not (len(name) > 1 and name.startswith(b'"') and name.endswith(b'"')):
        return name
    return _ESCAPED.sub(lambda match: _character(match[1]), name[1:-1])


def _character(escape: bytes) -> bytes:
    return bytes([int(escape, 8)]) if len(escape) == 3 else _ESCAPES.get(escape, escape)

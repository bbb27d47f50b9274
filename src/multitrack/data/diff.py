"""What differs between two versions of data: which files, which columns. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from ..records import DataColumn, DataFile, DataVersion

Change = Literal["added", "removed", "changed", "missing", "unknown"]

Item = DataColumn | DataFile


@dataclass(frozen=True, slots=True)
class DataDifference:
    """One thing that is not the same."""

    data: str
    """The data set, with its role: `digits (train)`."""
    what: Literal["data", "file", "column"]
    name: str
    """Of the file or column; empty for the data set as a whole."""
    change: Change
    """`missing`: it is not to be found; `unknown`: it cannot be told whether it is the same, `after` says why."""
    before: str | None = None
    after: str | None = None

    def __str__(self) -> str:
        """Return one line."""
        subject = self.data if self.what == "data" else f"{self.data}: {self.what} {self.name!r}"
        if self.change == "unknown":
            return f"{subject} cannot be compared: {self.after}"
        detail = f": {self.before} before, {self.after} now" if self.change == "changed" and self.before else ""
        if self.change == "missing":
            detail = f": {self.after}" if self.after else ""
        return f"{subject} is {self.change}{detail}"


Files = Callable[[DataVersion], Sequence[DataFile]]
"""Gives all files of a version, those that a file of the run lists as well."""


def diff_data(before: Iterable[DataVersion], after: Iterable[DataVersion], *, files: Files | None = None) -> list[DataDifference]:
    """Return what differs between the data of two runs: nothing if all of it is the same. Name and role tell what is to be compared."""
    one, other = _by_name(before), _by_name(after)
    found: list[DataDifference] = []
    for key in {**one, **other}:
        found += _diff_all(one.get(key, []), other.get(key, []), files)
    return found


def _by_name(versions: Iterable[DataVersion]) -> dict[tuple[str, str | None], list[DataVersion]]:
    found: dict[tuple[str, str | None], list[DataVersion]] = {}
    for version in versions:
        found.setdefault((version.name, version.role), []).append(version)
    return found


def _diff_all(before: Sequence[DataVersion], after: Sequence[DataVersion], files: Files | None) -> Iterator[DataDifference]:
    """Compare versions of one name and role, several of which a run may use: those that agree are put aside first."""
    left, right = list(before), list(after)
    for version in before:
        if (partner := next((other for other in right if _is_same(version, other)), None)) is not None:
            left.remove(version)
            right.remove(partner)
    while left and right:
        yield from diff_version(left.pop(0), right.pop(0), files=files)
    yield from (DataDifference(label(version), "data", "", "removed", short(version.digest)) for version in left)
    yield from (DataDifference(label(version), "data", "", "added", None, short(version.digest)) for version in right)


def _is_same(before: DataVersion, after: DataVersion) -> bool:
    if before.digest is None or after.digest is None:
        return False
    return (before.digest, before.algorithm) == (after.digest, after.algorithm)


def diff_version(before: DataVersion, after: DataVersion, *, files: Files | None = None) -> list[DataDifference]:
    """Return what differs between two versions of one data set; digests of two kinds are `unknown`, unless their `version` agrees."""
    if _is_same(before, after):
        return []
    name = label(before)
    files_of = files or (lambda version: version.files)
    found = [
        *_diff_items(name, "file", files_of(before), files_of(after)),
        *_diff_items(name, "column", before.columns, after.columns),
    ]
    if before.rows is not None and after.rows is not None and before.rows != after.rows:
        found.insert(0, DataDifference(name, "data", "", "changed", f"{before.rows:,} rows", f"{after.rows:,} rows"))
    if before.digest is None or after.digest is None or before.algorithm != after.algorithm:
        if before.version is not None and before.version == after.version:
            return []
        return found or [DataDifference(name, "data", "", "unknown", before.digest, _why_unknown(before, after))]
    return found or [DataDifference(name, "data", "", "changed", short(before.digest), short(after.digest))]


def _why_unknown(before: DataVersion, after: DataVersion) -> str:
    if before.digest is None or after.digest is None:
        return "there is no digest of it"
    return f"one digest is {before.algorithm or 'of an unknown kind'}, the other {after.algorithm or 'of an unknown kind'}"


def _diff_items(data: str, what: Literal["file", "column"], before: Sequence[Item], after: Sequence[Item]) -> Iterator[DataDifference]:
    if not before or not after:
        return
    one, other = _keyed(before), _keyed(after)
    for key in {**one, **other}:
        was, now = one.get(key), other.get(key)
        if was is None or now is None:
            yield DataDifference(data, what, key[0], "removed" if now is None else "added", short(was), short(now))
        elif was != now:
            yield DataDifference(data, what, key[0], "changed", short(was), short(now))


def _keyed(items: Iterable[Item]) -> dict[tuple[str, int], str]:
    """Return what stands for each item's content, by name; of several with one name, by their place among them."""
    seen: dict[str, count[int]] = {}
    found = {}
    for item in items:
        name = item.path if isinstance(item, DataFile) else item.name
        found[name, next(seen.setdefault(name, count()))] = _content(item)
    return found


def _content(item: Item) -> str:
    if isinstance(item, DataFile):
        return item.digest or f"{item.size:,} bytes"
    return f"{item.digest[:12]} ({item.type})" if item.digest is not None else item.type


def short(digest: str | None) -> str | None:
    """Return a digest as people are shown it."""
    return digest[:12] if digest is not None and len(digest) > 40 and " " not in digest else digest


def label(version: DataVersion) -> str:
    """Return what a data set is called: its name, and its role where it has one."""
    return f"{version.name} ({version.role})" if version.role else version.name

"""What a run is called, when it was, and all else that is no series: read without touching those."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multitrack.errors import PermanentError
from multitrack.records import Microseconds

from .. import names
from ..attributes import Attributes
from .columns import flat, microseconds
from .layout import RunFiles
from .table import UNREADABLE, VALUES, Part, damaged

_REMEDY = "export the run again, or set the target's `partial` to move what there is"


@dataclass(frozen=True)
class Head:
    """A run of an export."""

    files: RunFiles
    attributes: Attributes
    """As far as they were asked for."""
    readable: tuple[Path, ...]
    """The parts that can be read."""
    problems: tuple[str, ...]
    """Why the run is not all there, where it is not."""
    fingerprint: str
    strange: tuple[tuple[str, str], ...] = ()
    """Paths and types of attributes that no known exporter writes."""

    @property
    def damage(self) -> str:
        """Why the run cannot be read whole, in one line."""
        return f"{'; '.join(self.problems)}: {_REMEDY}"

    def of_project(self, project: str) -> Head:
        """Return the run as one of this project."""
        return replace(self, attributes=replace(self.attributes, project=project))


def read_head(run: RunFiles, *, prefix: str | None = None) -> Head:
    """Return a run with its single attributes. Damage is noted, not raised.

    Args:
        run: its files.
        prefix: only attributes whose paths start with it, and the mark of a run that multitrack wrote.
    """
    problems = [f"part {number} is missing" for number in run.missing]
    problems += [f"{path.name} was never finished" for number, path in run.unfinished.items() if number not in run.parts]
    readable: list[Path] = []
    prints: list[str] = []
    values: dict[tuple[str, str], Any] = {}
    identity: tuple[str, str] | None = None
    times: list[Microseconds] = []
    strange: dict[tuple[str, str], None] = {}
    for number, path in sorted({**run.unfinished, **run.parts}.items()):
        try:
            with Part(path) as part:
                identity = part.identity(identity)
                values.update(_single_values(part, names.SCALARS | names.FILES, prefix))
                if prefix is not None:
                    values.update(_single_values(part, {"string"}, names.RUN_ID))
                times += part.times() or ()
                strange.update(dict.fromkeys(part.strange() if prefix is None else ()))
                prints.append(part.fingerprint())
        except (PermanentError, *UNREADABLE) as error:
            told = str(error if isinstance(error, PermanentError) else damaged(path, error))
            if number in run.parts:
                problems.append(told)
            prints.append(told)
        else:
            readable.append(path)
    project, native = identity or (run.project_label, run.label)
    attributes = Attributes(project, native, run.job_type, min(times, default=None), max(times, default=None), values)
    fingerprint = hashlib.sha256("\n".join([*prints, *problems]).encode("utf-8", "surrogatepass")).hexdigest()
    if identity is None and not problems:
        problems.append(f"{run.stem}: no rows")
    return Head(run, attributes, tuple(readable), tuple(problems), fingerprint, tuple(sorted(strange)))


@contextmanager
def opened(paths: Collection[Path]) -> Iterator[list[Part]]:
    """Open parts for a while."""
    with ExitStack() as stack:
        yield [stack.enter_context(Part(path)) for path in paths]


def _single_values(part: Part, kinds: Collection[str], prefix: str | None) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for kind in sorted(kinds):
        for table in part.rows({kind}, prefix=prefix, columns=[VALUES[kind]]):
            paths = table["attribute_path"].to_pylist()
            for path, value in zip(paths, _READERS.get(kind, _plain)(flat(table[VALUES[kind]])), strict=True):
                if value is not None and path is not None:
                    found[path, kind] = value
    return found


def _plain(column: Any) -> list[Any]:
    return column.to_pylist()  # type: ignore[no-any-return]


def _times(column: Any) -> list[Any]:
    there = column.is_valid().to_pylist()
    return [time if known else None for time, known in zip(microseconds(column, 0), there, strict=True)]


def _paths(column: Any) -> list[Any]:
    return [None if value is None else value["path"] for value in column.to_pylist()]


_READERS: dict[str, Callable[[Any], list[Any]]] = {"datetime": _times, **dict.fromkeys(names.FILES, _paths)}

"""Runs in files that other programs read: a row for each run, or a row for each point.

    .csv     numbers to the last digit, NaN and the infinities as `nan`, `inf`, `-inf`; lists and the like as JSON; no value: empty;
             a tag without a value: `true`
    .json    one array      .jsonl   an object a line
             what JSON cannot say as everywhere with us: {"$": "nan"}, {"$": "int", "v": "..."}

CSV cannot tell the text "1" from the number 1; the other two can.
"""

from __future__ import annotations

import contextlib
import csv
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

import orjson

from .backend import entry_points
from .errors import ConfigError, MultitrackError, RecordError, did_you_mean
from .fields import params_of, row_of, tags_of
from .journal import Journal, RunFolder
from .records import to_wire
from .summary import iso_time

if TYPE_CHECKING:
    from .view import RunView

Format = Literal["csv", "json", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)
POINT_COLUMNS = ("run", "metric", "step", "time", "value", "source")


@dataclass
class Exported:
    """What was written."""

    runs: int = 0
    points: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    """Run to the reason why it could not be read whole."""


def format_of(path: Path) -> Format:
    """Return the format that a file's name asks for.

    Raises:
        ConfigError: it asks for none that there is.
    """
    ending = path.suffix.removeprefix(".").lower()
    for known in FORMATS:
        if ending == known:
            return known
    raise ConfigError(f"{path}: its name has to end in .csv, .json or .jsonl.{did_you_mean(ending, FORMATS)}")


def export_runs(views: Iterable[RunView], path: Path) -> Exported:
    """Write a row for each run: what it is, its params, the value that stands for each metric, and its tags.

    Raises:
        ConfigError: the file's name asks for no known format.
        OSError: it cannot be written; what stood there before still does.
    """
    done = Exported()
    kind = format_of(path)
    describe: Callable[[RunView], dict[str, Any]] = row_of if kind == "csv" else describe_run
    rows = []
    for view in views:
        try:
            rows.append(describe(view))
        except MultitrackError as error:
            done.failures[view.id] = str(error)
    done.runs = len(rows)
    columns = dict.fromkeys(("id", "name", "project", "status", "started", "ended"))
    for group in ("params.", "metrics.", "tags."):
        columns |= dict.fromkeys(name for row in rows for name in row if name.startswith(group))
    _write(path, kind, list(columns), iter(rows))
    return done


def export_points(views: Iterable[RunView], path: Path) -> Exported:
    """Write a row for each point: run, metric, step, time (ISO 8601, UTC), value, and source (`user` or `system`).

    The points of a metric are in the order in which they arrived. Memory holds one line of a local run, and one whole run of a service.

    Raises:
        ConfigError, OSError: as `export_runs`.
    """
    done = Exported()
    _write(path, format_of(path), POINT_COLUMNS, _points(views, done))
    return done


def describe_run(view: RunView) -> dict[str, Any]:
    """Return what the listing tells of a run: values as they are, times as ISO 8601."""
    ref = view.ref
    return {
        "id": ref.id,
        "native_id": ref.native_id,
        "project": ref.project,
        "name": ref.name,
        "status": ref.status,
        "started": iso_time(ref.started),
        "ended": iso_time(ref.ended),
        "parent": ref.parent,
        "tags": tags_of(view),
        "params": params_of(view),
        "metrics": view.latest,
        "url": ref.url,
        "deleted": ref.deleted,
    }


def _points(views: Iterable[RunView], done: Exported) -> Iterator[dict[str, Any]]:
    for view in views:
        try:
            for name, step, time, value, source in _points_of(view):
                done.points += 1
                yield {"run": view.id, "metric": name, "step": step, "time": iso_time(time), "value": value, "source": source}
        except MultitrackError as error:
            done.failures[view.id] = str(error)
        else:
            done.runs += 1


def _points_of(view: RunView) -> Iterator[tuple[str, int | float | None, int, Any, str]]:
    if (folder := view.journal) is not None:
        damaged: list[str] = []
        yield from entry_points(Journal(RunFolder(folder)).entries(damaged))
        if damaged:
            raise RecordError(f"damaged lines were left out ({len(damaged):,}), the first: {damaged[0]}")
        return
    for name, series in view.state.metrics.items():
        for step, time, value in zip(series.steps, series.times, series.values, strict=True):
            yield name, step, time, value, series.source


# -- files


def _write(path: Path, kind: Format, columns: Iterable[str], rows: Iterator[Mapping[str, Any]]) -> None:
    """Write beside the file, and put it in its place when it is whole."""
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            _WRITERS[kind](file, list(columns), rows)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _write_csv(file: IO[str], columns: list[str], rows: Iterator[Mapping[str, Any]]) -> None:
    writer = csv.writer(file)
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)


def _write_json(file: IO[str], _columns: list[str], rows: Iterator[Mapping[str, Any]]) -> None:
    separator = "[\n"
    for row in rows:
        file.write(separator + _dump(row))
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def _write_lines(file: IO[str], _columns: list[str], rows: Iterator[Mapping[str, Any]]) -> None:
    for row in rows:
        file.write(_dump(row) + "\n")


_WRITERS: dict[Format, Callable[[IO[str], list[str], Iterator[Mapping[str, Any]]], None]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_lines,
}


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value)
    wire = to_wire(value)
    if isinstance(value, int):  # Python writes none of more than 4,300 digits: those are in hexadecimal
        return str(wire["v"] if isinstance(wire, dict) else wire)
    return _dump(value)


def _dump(value: Any) -> str:
    return orjson.dumps(to_wire(value)).decode()

"""A comparison as lines for people: a column a run, a row for each field that differs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..sheet import size_text
from .rows import ABSENT, Row
from .runs import Comparison, MetricRow, Subject

_CELL = 44
"""Characters of a value that a column shows; a value that is cut shows its beginning and its end."""
_DIGEST, _DIGEST_SHOWN = re.compile(r"[0-9a-f]{32,}"), 12
_DIFF_LINES = 400
"""Lines of a diff that are shown; `--json` has all of it."""


def show_comparison(comparison: Comparison) -> Iterator[str]:
    """Yield the lines."""
    subjects = comparison.subjects
    yield from _legend(subjects)
    if comparison.empty:
        yield ""
        yield "nothing differs"
    labels = [one.label for one in subjects]
    yield from _section("run", labels, comparison.life)
    yield from _section("code", labels, comparison.code)
    for change in comparison.code_changes:
        if change.text or change.note:
            yield from _diff(change.before, change.after, change.text, change.note)
    yield from _section("data", labels, comparison.data)
    for data in comparison.data_changes:
        yield ""
        yield f"  data, from {data.before} to {data.after}:"
        yield from (f"    {one}" for one in data.differences)
    yield from _section("params", labels, comparison.params)
    yield from _section("python", labels, comparison.software)
    yield from _section("packages", labels, comparison.packages)
    yield from _section("machine", labels, comparison.hardware)
    yield from _metrics(labels, comparison.metrics)
    if comparison.same:
        yield ""
        yield f"the same: {', '.join(f'{count:,} {what}' for what, count in comparison.same.items())}"


def _legend(subjects: Sequence[Subject]) -> Iterator[str]:
    width = max(len(one.label) for one in subjects)
    for one in subjects:
        name = one.state.name or "run"
        yield f"{one.label.ljust(width)}  {name} ({one.state.id}) of {one.state.project}{f', {one.address}' if one.address else ''}"


def _section(title: str, labels: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    if rows:
        yield from _table(title, labels, [(row.name, [_cell_of(row, value) for value in row.values]) for row in rows])


def _cell_of(row: Row, value: Any) -> str:
    is_size = isinstance(value, int) and (row.name.startswith("memory") or row.name.endswith(" size"))
    return (size_text(value) or "") if is_size else show_cell(value)


def _metrics(labels: Sequence[str], rows: Sequence[MetricRow]) -> Iterator[str]:
    cells: list[tuple[str, list[str]]] = []
    for row in rows:
        winners = row.winners
        shown, bests = ([show_cell(value) for value in values] for values in (row.values, row.bests))
        if row.goal is None or shown == bests:
            cells.append((row.name + (f" ({row.goal})" if row.goal else ""), _mark(shown, winners)))
        else:
            cells += [(row.name, shown), (f"{row.name} ({row.goal})", _mark(bests, winners))]
    if cells:
        yield from _table("metrics", labels, cells)
    if any(row.winners for row in rows):
        yield "  * the best"


def _mark(cells: Sequence[str], winners: Sequence[int]) -> list[str]:
    return [f"{cell} *" if place in winners else cell for place, cell in enumerate(cells)]


def _table(title: str, labels: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Iterator[str]:
    names = [title, *(f"  {name}" for name, _ in rows)]
    columns = [[label, *(cells[place] for _, cells in rows)] for place, label in enumerate(labels)]
    widths = [max(map(len, column)) for column in (names, *columns)]
    yield ""
    for line in zip(names, *columns, strict=True):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _diff(before: str, after: str, text: str, note: str | None) -> Iterator[str]:
    yield ""
    yield f"  code, from {before} to {after}:{f' ({note})' if note else ''}"
    lines = text.splitlines()
    yield from (f"    {line}".rstrip() for line in lines[:_DIFF_LINES])
    if len(lines) > _DIFF_LINES:
        yield f"    ... {len(lines) - _DIFF_LINES:,} more lines; --json has them all"


def show_cell(value: Any) -> str:
    """Return a value for a column: floats to six significant digits, one line, of long texts both ends."""
    if value is ABSENT:
        return "-"
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        value = " ".join(value)
    text = f"{value:.6g}" if isinstance(value, float) else "yes" if value is True else "no" if value is False else str(value)
    text = " ".join(text.split())
    if _DIGEST.fullmatch(text):
        return text[:_DIGEST_SHOWN]
    if len(text) <= _CELL:
        return text
    half = (_CELL - 3) // 2
    return f"{text[:half]}...{text[-half:]}"

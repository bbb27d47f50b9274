"""What commands print with: tables for people, JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any, Self

import orjson
import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
"""The option of every command that a program may read."""


def print_json(value: Any) -> None:
    """Print a value as JSON. Keys become texts; paths and other objects their `str`."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
    sys.stdout.write(orjson.dumps(value, default=str, option=options).decode())


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header: with rich on a terminal, in plain aligned columns elsewhere."""
    if sys.stdout.isatty():
        _print_rich(header, rows)
        return
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_rich(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: a name in square brackets is no markup
    Console().print(table)


class RunProgress:
    """A progress bar over runs, on standard error where that is a terminal; elsewhere a line now and then, so that logs show life."""

    _EVERY = 30.0
    """Seconds between two lines where there is no terminal."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._total = self._done = self._points = self._failed = 0
        self._bar: Any = None
        self._task: Any = None
        self._next_line = time.monotonic() + self._EVERY

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar = _make_bar()
            self._task = self._bar.add_task(self._doing, total=None, detail="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def expect(self, total: int) -> None:
        """Say how many runs there are."""
        self._total = total
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def advance(self, name: str, points: int, *, failed: bool) -> None:
        """Count a run."""
        self._done += 1
        self._points += points
        self._failed += failed
        detail = f"{self._points:,} points" + (f", {self._failed:,} failed" if self._failed else "")
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, detail=f"{detail}  {name}")
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._EVERY
            print(f"{self._doing}: {self._done:,} of {self._total:,} runs, {detail}", file=sys.stderr)


def _make_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[detail]}", markup=False), console=Console(stderr=True), transient=True)

"""What commands print with: tables for people, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

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

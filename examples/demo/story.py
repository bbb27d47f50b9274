"""What the demo prints: chapters, checks, tables. In colour on a terminal, plain text elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 160
"""Columns, where no terminal says how many there are."""


class Story:
    """Prints, and keeps the checks that did not hold."""

    def __init__(self) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # a terminal that has no check mark gets a question mark
        self._console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._chapter = 0
        self.held = 0
        self.failed: list[str] = []

    @property
    def _is_terminal(self) -> bool:
        return self._console.is_terminal

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapter += 1
        heading = f"{self._chapter}. {title}"
        self._console.print()
        if self._is_terminal:
            self._console.print(Rule(Text(heading, style="bold"), align="left", style="dim"))
        else:
            self._console.print(f"{heading}\n{'-' * len(heading)}")

    def say(self, text: str, style: str = "") -> None:
        """Print a line."""
        self._console.print(Text(text, style=style))

    def quote(self, text: str, until: str | None = None) -> None:
        """Print lines of somebody else's, up to the first that begins with `until`."""
        for line in text.splitlines():
            if until is not None and line.startswith(until):
                return
            self.say(f"  | {line}", style="dim")

    def gap(self) -> None:
        """Print an empty line."""
        self._console.print()

    def command(self, command: str, comment: str) -> None:
        """Print a command to type, with what it is for above it."""
        self._console.print(Text(f"  # {comment}", style="dim"))
        self._console.print(Text(f"  {command}", style="cyan"))

    def check(self, claim: str, held: bool, detail: str = "") -> None:
        """Print whether a claim holds; the demo fails if one does not."""
        mark, style = ("✓", "green") if held else ("✗", "bold red")
        shown = Text(f"  {mark} ", style=style).append(claim, style="" if held else "bold red")
        self._console.print(shown.append(f" ({detail})" if detail else "", style="dim"))
        if held:
            self.held += 1
        else:
            self.failed.append(claim)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
        """Print a table; the columns named in `right` are aligned to the right."""
        table = Table(box=box.SIMPLE_HEAD if self._is_terminal else None, pad_edge=False, header_style="bold")
        for place, name in enumerate(header):
            # What a row is about stays in one piece, to be copied; what is said of it may fold.
            table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=place == 0)
        for row in rows:
            table.add_row(*map(Text, row))
        self._console.print(table, soft_wrap=False)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show that something takes a while, and then how long it took."""
        began = time.monotonic()
        if self._is_terminal:
            with self._console.status(f"{text} ..."):
                yield
        else:
            yield
        self.say(f"  {text}: {time.monotonic() - began:.0f} s", style="dim")

    def close(self) -> bool:
        """Print the verdict; return whether every check held."""
        seconds = time.monotonic() - self._began
        self.gap()
        if self.failed:
            self.say(f"{len(self.failed)} of {self.held + len(self.failed)} checks did not hold, after {seconds:.0f} s:", style="bold red")
            for claim in self.failed:
                self.say(f"  ✗ {claim}", style="red")
        else:
            self.say(f"All {self.held} checks held, after {seconds:.0f} s.", style="bold green")
        return not self.failed

"""Finished lines from what a program prints: progress bars folded, colours and cursor movements taken out. Pure.

A terminal's memory of its last rows, as small as it can be: what is overwritten in place (carriage returns, and the cursor-up sequences of
several bars) is one row, and leaves one line when it is finished. A bar that goes on for long leaves its state every 30 s besides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

LONGEST = 65_536
"""Characters of a line; what goes on beyond them is the next line."""
CONTINUED = " [the line goes on]"
"""Ends a line that was cut there."""
QUIET = 1_000_000
"""Microseconds after which a row that was left by a line end is taken to be finished: bars return to theirs more often."""
BAR_INTERVAL = 30_000_000
"""Microseconds between two states of a bar that goes on."""
_ROWS = 8
"""Rows that are remembered before a program has moved its cursor up further than that."""
_MOST_ROWS = 100
_OTHER_SCREEN = ("?1049", "?1047", "?47")
"""Where full-screen programs draw; nothing of it is left when they end."""

_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x08\x0a-\x1f\x7f]+)"
    r"|(?P<end>\n)"
    r"|\x1b\[(?P<arguments>[0-?]*)[ -/]*(?P<command>[@-~])"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # a title, a link
    r"|\x1b[PX^_][^\x1b]*\x1b\\"
    r"|\x1b[ -/]*[0-~]"
    r"|(?P<control>[\x00-\x1f\x7f])"
)
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)\Z")
_SPECIAL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LONGEST_SEQUENCE = 4096


class Line(NamedTuple):
    """A line without its end, and when it was last changed, in microseconds since 1970."""

    time: int
    text: str


@dataclass(slots=True)
class _Row:
    text: str = ""
    changed: int = 0
    told: str | None = None
    """What was last passed on of it."""
    told_at: int = 0
    overwritten: bool = False
    left: bool = False
    """Whether the cursor went on from it by a line end."""

    def tell(self, now: int) -> Line | None:
        """Return the row as a line, None where nothing is new about it."""
        text = self.text.rstrip() if self.overwritten else self.text
        if text == self.told or (self.overwritten and not text):
            return None
        self.told, self.told_at = text, now
        return Line(self.changed, text)


class Lines:
    """Folds one stream's text into lines."""

    def __init__(self, *, rows: int = _ROWS) -> None:
        """`rows`: how many are remembered; 0 passes each line on at its end."""
        self._rows = [_Row()]
        self._row = 0
        self._column = 0
        self._remembered = rows
        self._rest = ""
        self._hidden = False  # on the screen of a full-screen program

    def feed(self, text: str, now: int) -> list[Line]:
        """Take what was printed, in pieces of any size; return the lines that are finished."""
        if self._rest:
            text, self._rest = self._rest + text, ""
        if not _SPECIAL.search(text):
            self._write_lines(text, now)
        else:
            self._write_tokens(text, now)
        return self._scroll(now)

    def tick(self, now: int) -> list[Line]:
        """Return the lines that are finished because nothing has happened to them for a while, and the states of bars that go on."""
        return [line for row in self._rows if self._is_due(row, now) and (line := row.tell(now)) is not None]

    def close(self, now: int) -> list[Line]:
        """Return all that is left."""
        rows, self._rows, self._row, self._column = self._rows, [_Row()], 0, 0
        if not rows[-1].text:
            rows.pop()
        return [line for row in rows if (line := row.tell(now)) is not None]

    def pending(self) -> str:
        """Return what was not passed on yet, as text that makes the same lines."""
        rows = [row.text for row in self._rows if row.text != row.told and not (row.overwritten and not row.text)]
        at_end = self._row == len(self._rows) - 1
        return "\n".join(rows) + ("" if at_end or not rows else "\n") + self._rest

    def _is_due(self, row: _Row, now: int) -> bool:
        if row is not self._rows[self._row] and row.left and now - row.changed >= QUIET:
            return True
        if not row.told_at:
            row.told_at = row.changed or now
        return row.overwritten and now - row.told_at >= BAR_INTERVAL

    def _scroll(self, now: int) -> list[Line]:
        gone = len(self._rows) - 1 - self._remembered
        if gone <= 0:
            return []
        gone = min(gone, self._row)
        told = [line for row in self._rows[:gone] if (line := row.tell(now)) is not None]
        del self._rows[:gone]
        self._row -= gone
        return told

    # -- writing

    def _write_lines(self, text: str, now: int) -> None:
        first, *others = text.split("\n")
        self._write(first, now)
        if others and not self._hidden:
            self._end_line(now)
            if self._row == len(self._rows) - 1:  # nearly always: nothing below that could be overwritten
                for line in others[:-1]:
                    if len(line) > LONGEST:
                        self._write(line, now)
                        self._end_line(now)
                    else:
                        row = self._rows[self._row]
                        row.text, row.changed, row.left = line, now, True
                        self._rows.append(_Row())
                        self._row += 1
                self._write(others[-1], now)
            else:
                for number, line in enumerate(others):
                    if number:
                        self._end_line(now)
                    self._write(line, now)

    def _write_tokens(self, text: str, now: int) -> None:
        if (tail := _UNFINISHED.search(text, max(0, len(text) - _LONGEST_SEQUENCE))) is not None:
            text, self._rest = text[: tail.start()], tail[0]
        for token in _TOKEN.finditer(text):
            kind = token.lastgroup
            if kind == "text":
                self._write(token["text"], now)
            elif kind == "end":
                if not self._hidden:
                    self._end_line(now)
            elif kind == "control":
                if token[0] == "\r":
                    self._column = 0
                elif token[0] == "\b":
                    self._column = max(0, self._column - 1)
            elif kind == "command":
                self._obey(token["command"], token["arguments"], now)

    def _write(self, text: str, now: int) -> None:
        if self._hidden or not text:
            return
        row, column = self._rows[self._row], self._column
        if column < len(row.text):
            row.overwritten = True
            row.text = row.text[:column] + text + row.text[column + len(text) :]
        else:
            row.text = row.text.ljust(column) + text
        row.changed = now
        self._column = column + len(text)
        while len(row.text) > LONGEST:
            rest = row.text[LONGEST:]
            row.text = row.text[:LONGEST] + CONTINUED
            row.left = True
            self._row += 1
            row = _Row(rest, now)
            self._rows.insert(self._row, row)
            self._column = max(0, self._column - LONGEST)

    def _end_line(self, now: int) -> None:
        row = self._rows[self._row]
        row.left = True
        row.changed = row.changed or now
        self._row += 1
        self._column = 0
        if self._row == len(self._rows):
            self._rows.append(_Row())

    def _obey(self, command: str, arguments: str, now: int) -> None:
        given = int(arguments) if arguments.isdecimal() and len(arguments) < 6 else 0
        if command in "hl" and arguments in _OTHER_SCREEN:
            self._hidden = command == "h"
        elif self._hidden:
            pass
        elif command in "ABEF":
            self._move_by_rows(command, max(given, 1), now)
        elif command == "C":
            self._column = min(self._column + max(given, 1), LONGEST)
        elif command == "D":
            self._column = max(0, self._column - max(given, 1))
        elif command == "G":
            self._column = min(max(given, 1) - 1, LONGEST)
        elif command == "K":
            self._erase_in_row(given)
        elif command == "J" and given == 0:
            self._erase_below()
        elif command in "HJ":  # the whole screen is drawn anew: what was on it is finished
            self._row, self._column = len(self._rows) - 1, 0
            if self._rows[-1].text:
                self._end_line(now)

    def _erase_in_row(self, part: int) -> None:
        row = self._rows[self._row]
        row.overwritten = row.overwritten or bool(row.text)
        before, behind = row.text[: self._column], row.text[self._column :]
        row.text = before if part == 0 else "" if part == 2 else " " * len(before) + behind

    def _erase_below(self) -> None:
        self._erase_in_row(0)
        for row in self._rows[self._row + 1 :]:
            row.text, row.overwritten = "", True

    def _move_by_rows(self, command: str, count: int, now: int) -> None:
        column = self._column
        if command in "AF":
            self._move_up(count)
        else:
            for _ in range(min(count, _MOST_ROWS)):
                self._end_line(now)
        self._column = 0 if command in "EF" else column

    def _move_up(self, count: int) -> None:
        count = min(count, _MOST_ROWS)
        missing = count - self._row
        if missing > 0:  # rows that were passed on already
            self._rows[:0] = [_Row(told="", overwritten=True) for _ in range(missing)]
            self._row += missing
        self._row -= count
        self._remembered = max(self._remembered, min(len(self._rows) - 1, _MOST_ROWS))
        self._rows[self._row].left = False

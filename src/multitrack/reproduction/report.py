"""What reproducing a run came to. Printed, it tells people."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .command import Command
from .outcome import Outcome
from .shortfall import Part, Shortfall

_SHOWN = 30
"""Lines of a list that are shown; `--json` has them all."""


@dataclass
class ReproductionReport:
    """What was restored, what could not be, and what came out of running it again."""

    run: str
    """The run: an id, or `ADDRESS#ID`."""
    name: str | None
    folder: Path
    done: list[tuple[Part, str]] = field(default_factory=list)
    shortfalls: list[Shortfall] = field(default_factory=list)
    command: Command | None = None
    allowed: Collection[str] = ()
    """Parts that may fall short."""
    wanted_run: bool = False
    outcome: Outcome | None = None
    failure: str | None = None
    """Why there is no outcome, though the command was run."""

    @property
    def blockers(self) -> list[Shortfall]:
        """What stands against it: all that is not as it was, and was not allowed; the command only where it is to be run."""
        parts = [one for one in self.shortfalls if one.blocks and one.part not in self.allowed]
        return parts if self.wanted_run else [one for one in parts if one.part != "command"]

    @property
    def ok(self) -> bool:
        """Whether everything was restored; and, where the run was to be repeated, whether it came out the same."""
        if self.blockers or self.failure:
            return False
        return not self.wanted_run or (self.outcome is not None and self.outcome.equal)

    def to_json(self) -> dict[str, Any]:
        """Return the report in terms of JSON."""
        return {
            "run": self.run,
            "name": self.name,
            "folder": str(self.folder),
            "ok": self.ok,
            "restored": [{"part": part, "text": text} for part, text in self.done],
            "shortfalls": [one.to_json() for one in self.shortfalls],
            "allowed": sorted(self.allowed),
            "command": None if self.command is None else list(self.command.arguments),
            "variables": None if self.command is None else dict(self.command.variables),
            "working_dir": None if self.command is None else str(self.command.folder),
            "outcome": None if self.outcome is None else self.outcome.to_json(),
            "failure": self.failure,
        }

    def __str__(self) -> str:
        """Return the report as lines for people."""
        return "\n".join([*self.restoration(), *self.result()])

    def restoration(self) -> Iterator[str]:
        """Yield what was restored, and what was not."""
        yield f"{self.name or 'run'} ({self.run}), restored in {self.folder}"
        yield from (f"  {part.ljust(11)}  {text}" for part, text in self.done)
        blocking = [one for one in self.shortfalls if one.blocks]
        if blocking:
            yield "not as it was:"
            yield from _some([f"  {one.part.ljust(11)}  {one.text}{' (allowed)' if one.part in self.allowed else ''}" for one in blocking])
        if notes := [one for one in self.shortfalls if not one.blocks]:
            yield "worth knowing:"
            yield from _some([f"  {one.part.ljust(11)}  {one.text}" for one in notes])
        if self.command is not None:
            yield "the command:"
            yield f"  {self.command}"

    def result(self) -> Iterator[str]:
        """Yield what came out of running it."""
        if self.outcome is not None:
            yield from _of_outcome(self.outcome)
        elif self.failure is not None:
            yield self.failure
        elif self.wanted_run and self.blockers:
            parts = ",".join(dict.fromkeys(one.part for one in self.blockers if one.part != "command"))
            yield "nothing was run, since not everything is as it was" + (f"; --allow {parts} runs it all the same" if parts else "")


def _of_outcome(outcome: Outcome) -> Iterator[str]:
    within = f" within {outcome.tolerance:g}" if outcome.tolerance else ""
    compared = f"{outcome.params:,} params, {outcome.metrics:,} metrics with {outcome.points:,} points"
    if outcome.equal:
        yield f"run {outcome.id} came out the same{within}: {compared}"
        return
    yield f"run {outcome.id} came out otherwise{f' (exit code {outcome.code})' if outcome.code else ''}; of {compared}:"
    yield from _some([f"  {one.field}: {one.expected} then, {one.actual} now" for one in outcome.differences])


def _some(lines: list[str]) -> Iterator[str]:
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"  ... and {len(lines) - _SHOWN:,} more; --json tells them all"

"""The command that started a run, as it is started again. Pure."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..masking import MASKED
from ..records import CodeVersion, Environment
from .moving import Moves, moved
from .shortfall import Shortfall


@dataclass(frozen=True, slots=True)
class MaskedArgument:
    """An argument that held a credential, which was not recorded."""

    name: str
    """What to call it: `token` of `--token ***` and of `--token=***`, else `argument 3`."""
    place: int
    """Among the arguments, from 0."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, and where it is run."""

    arguments: tuple[str, ...]
    """The first one is the interpreter."""
    folder: Path
    variables: tuple[tuple[str, str], ...] = ()
    """Those that were recorded and are not set so already."""

    @property
    def masked(self) -> tuple[MaskedArgument, ...]:
        """The arguments that are not known."""
        found = []
        for place, argument in enumerate(self.arguments):
            if MASKED in argument:
                found.append(MaskedArgument(_name_of(self.arguments, place), place))
        return tuple(found)

    def filled_in(self, secrets: Mapping[str, str]) -> Command:
        """Return the command with the credentials that are given, by the arguments' names."""
        arguments = list(self.arguments)
        for one in self.masked:
            if one.name in secrets:
                arguments[one.place] = arguments[one.place].replace(MASKED, secrets[one.name])
        return replace(self, arguments=tuple(arguments))

    def __str__(self) -> str:
        """Return it as a shell understands it; what was masked stays so."""
        variables = "".join(f"{name}={shlex.quote(value)} " for name, value in self.variables)
        return f"cd {shlex.quote(str(self.folder))} && {variables}{shlex.join(self.arguments)}"


def _name_of(arguments: Sequence[str], place: int) -> str:
    name, sign, _ = arguments[place].partition("=")
    if sign and MASKED not in name:
        return name.lstrip("-")
    before = arguments[place - 1] if place else ""
    return before.lstrip("-") if before.startswith("-") and arguments[place] == MASKED else f"argument {place}"


def command_of(code: CodeVersion | None, tree: Path, python: Path, moves: Moves) -> tuple[Command | None, list[Shortfall]]:
    """Return how to start the run again, and why that may not be possible.

    Args:
        code: what was recorded.
        tree: the folder that the code is restored in.
        python: the interpreter to take.
        moves: where folders of then are now.
    """
    if code is None or not code.command:
        return None, [Shortfall("command", "no command line was recorded")]
    kind = code.entry_kind
    if kind in ("notebook", "interactive", "stdin"):
        return None, [Shortfall("command", f"the run was {_HOW[kind]}: there is no command to run")]
    arguments = [str(python), *(_argument(code, argument, tree, python, moves) for argument in code.command[1:])]
    return Command(tuple(arguments), _folder_of(code, tree)), []


def _argument(code: CodeVersion, argument: str, tree: Path, python: Path, moves: Moves) -> str:
    """Return an argument as it is now: an installed program is the new environment's, a script from elsewhere was kept in the tree."""
    entry = code.entry_point or ""
    if code.entry_kind == "program" and not argument.startswith("-") and Path(argument).name == entry:
        return str(python.parent / entry)
    if code.entry_kind == "script" and Path(entry).is_absolute():
        then = Path(code.root or "/", code.working_dir or ".", argument)
        if os.path.normpath(then) == os.path.normpath(entry) and any(Path(ref.name).name == Path(entry).name for ref in code.modules):
            return str(tree / Path(entry).name)
    return moved(argument, moves)


_HOW = {
    "notebook": "made in a notebook",
    "interactive": "made at an interactive prompt",
    "stdin": "a program that came from standard input",
}


def launched(environment: Environment | None) -> Shortfall | None:
    """Return that a launcher started several processes, of one of which the command was recorded; None where none did."""
    scheduler = environment.scheduler if environment is not None else {}
    for name, launcher in _SIZES.items():
        size = str(scheduler.get(name, ""))
        if size.isdecimal() and int(size) > 1:
            text = f"{launcher} started {size} processes; this is the command of one of them, to be started by {launcher} again"
            return Shortfall("command", text, blocks=False)
    return None


_SIZES = {"WORLD_SIZE": "torchrun", "SLURM_NTASKS": "Slurm", "OMPI_COMM_WORLD_SIZE": "MPI", "PMI_SIZE": "MPI"}


def _folder_of(code: CodeVersion, tree: Path) -> Path:
    """Return the folder to start in; one outside of the code is where it was."""
    folder = code.working_dir or "."
    if Path(folder).is_absolute():
        return Path(moved(folder, [(code.root, str(tree))] if code.root else []))
    return Path(os.path.normpath(tree / folder))

"""The frame of the command line: finds the commands, loads the one that is asked for, and turns errors into one line.

A command is a module of this package with a function of the same name; typer makes the options of its signature, the help of its
docstring. Where that is a `typer.Typer` instead, what it holds are sub-commands (`multitrack data diff`). A module whose command is a
word of Python (`import`) ends in an underscore, and so does its function. To end with
another code than 0, a command raises `typer.Exit(code)`; for an error of the user's or a service's, a `MultitrackError`.

Exit codes: 0 all went well, 1 something did not, 2 the command line was not understood, 130 Ctrl-C.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..delivery.dedicated import dedicate
from ..errors import MultitrackError

_FRAME = frozenset({"__main__", "app", "output", "selection"})
"""Modules of this package that are no commands."""


class Commands(TyperGroup):
    """The commands that there are; a module is imported when its command is run, or when all are listed."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Return the names of the commands."""
        modules = pkgutil.iter_modules([str(Path(__file__).parent)])
        return sorted(module.name.rstrip("_") for module in modules if module.name not in _FRAME)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name; None when there is none."""
        # What typer proposes for a misspelt name, it takes from `commands`.
        names = self.list_commands(ctx)
        known: Any = dict.fromkeys(names)
        self.commands = known
        return _load(cmd_name) if cmd_name in names else None


def _load(name: str) -> Any:
    package = __name__.rpartition(".")[0]
    stem = f"{name}_" if (Path(__file__).parent / f"{name}_.py").exists() else name
    found = getattr(importlib.import_module(f"{package}.{stem}"), stem)
    if isinstance(found, typer.Typer):
        return _load_group(name, found)
    command = typer.Typer(add_completion=False, rich_markup_mode=None)
    command.command(name)(found)
    return typer.main.get_command(command)


def _load_group(name: str, commands: typer.Typer) -> Any:
    commands.callback()(_no_options)  # with one command alone, typer would make a command of the group
    group = typer.main.get_group(commands)
    group.name = name
    return group


def _no_options() -> None:
    """Nothing is said between the name of a group and that of its command."""


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"multitrack {version('multitrack')}")
        raise typer.Exit


def _frame(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Record machine-learning experiments once; deliver, mirror and move them."""


def make_app() -> Any:
    """Return the whole command line as a command that takes a list of arguments."""
    # Plain help: rich would take longer to import than most commands take to run.
    app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_frame)
    return typer.main.get_command(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Raises:
        SystemExit: always.
    """
    dedicate()
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: list[str]) -> int:
    """Run one command and return the exit code. An error is one line on stderr; its traceback is shown with MULTITRACK_DEBUG=1."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except Exception as error:
        if os.environ.get("MULTITRACK_DEBUG", "") not in ("", "0"):
            raise
        print(f"multitrack: {_one_line(error)}", file=sys.stderr)
        return 1
    return code


def _run(arguments: list[str]) -> int:
    try:
        make_app()(arguments, prog_name="multitrack")
    except SystemExit as end:  # typer's own way to end, usage errors included
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MultitrackError):
        return text
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else text
    return f"this should not have happened: {type(error).__name__}: {text} (MULTITRACK_DEBUG=1 shows where)"


def _silence_stdout() -> None:
    # The reader is gone: what Python still holds for it must not raise again at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

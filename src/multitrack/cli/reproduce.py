"""`multitrack reproduce`"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError, did_you_mean
from .output import AsJson, print_json


def reproduce(
    run: Annotated[str, typer.Argument(help="A run id in the local store, or ADDRESS#ID.")],
    into: Annotated[
        Path | None, typer.Option("--into", help="The folder to restore it in, new or empty. One in the local store if left out.")
    ] = None,
    execute: Annotated[bool, typer.Option("--run", help="Run the command again, and compare what comes out.")] = False,
    allow: Annotated[
        str | None,
        typer.Option("--allow", help="What need not be as it was, with commas: code, data, environment."),
    ] = None,
    data: Annotated[list[Path] | None, typer.Option("--data", help="A folder to look for data in; may be repeated.")] = None,
    environment: Annotated[
        str, typer.Option("--environment", help="`rebuild`, or `current`: the one that multitrack runs in.")
    ] = "rebuild",
    build: Annotated[
        bool, typer.Option("--build", help="Build packages that have no wheel, which runs their code. --run implies it.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="How far numbers may be apart, relative to the greater; 0: not at all.")
    ] = 1e-6,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", help="A metric that may differ, such as 'time/*'; may be repeated.")
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", help="ARGUMENT=VARIABLE: takes what the recorded command hides from a variable; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Restore a run's code, environment and data in a folder of its own; print its command, or run it and compare.

    Nothing of the run's is executed without --run, and no file of your working tree is changed. Ends with 0 only if everything was
    restored as it was; with --run, only if the new run came out the same.
    """
    from ..address import Address
    from ..reproduction import Options
    from ..reproduction import reproduce as restore

    if environment not in ("rebuild", "current"):
        raise ConfigError(f"--environment is rebuild or current, not {environment!r}")
    options = Options(
        into=into,
        run=execute,
        environment="current" if environment == "current" else "rebuild",
        builds=build,
        allow=frozenset(_parts(allow)),
        data=tuple(path.expanduser().absolute() for path in data or ()),
        tolerance=tolerance,
        ignoring=tuple(ignore or ()),
        to_stderr=as_json,
        secrets=_secrets(secret or ()),
    )
    report = restore(Address.parse(run), options)
    if as_json:
        print_json(report.to_json())
    else:
        print("\n".join(report.result()) if execute else report)
    if not report.ok:
        raise typer.Exit(1)


def _parts(text: str | None) -> list[Any]:
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    for part in parts:
        if part not in ("code", "data", "environment"):
            near = did_you_mean(part, ("code", "data", "environment"))
            raise ConfigError(f"--allow takes code, data and environment, not {part!r}.{near}")
    return parts


def _secrets(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, sign, variable = text.rpartition("=")
        if not sign or not name:
            raise ConfigError("--secret takes ARGUMENT=VARIABLE, the variable being one that holds the credential")
        if variable not in os.environ:
            raise ConfigError(f"--secret {name}: there is no variable of the name that is given; export it first")
        found[name] = os.environ[variable]
    return found

"""A run had again: its code, environment and data restored in a folder of its own, its command run, and what comes out compared.

    source       code: commit, changes, files that were kept       data         verified, and linked
    environment  Python and packages, by uv or pip                 command      as it was, with the paths of now
    execute      runs it, as a run that says what it repeats       outcome      the two runs compared

Everything that is not as it was is a `Shortfall`, said in the report. Nothing of the run's is executed unless asked for: no hook, no
build of a package, no command. The user's working tree is read and never written to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..address import LOCAL, Address, hide_credentials
from ..comparison.data import list_files
from ..config import load_settings
from ..data.record import project_root
from ..errors import ConfigError
from ..messages import say
from ..records import now
from .command import command_of, launched
from .data import Restoration, RestoredData
from .environment import BuildError, Built, build, find_installer, use_current
from .execute import choose, execute, recorded_variables, variables_for
from .moving import Moves
from .outcome import compare_outcome
from .report import ReproductionReport
from .shortfall import Part, Shortfall
from .source import exclude, restore_code

if TYPE_CHECKING:
    from ..records import Environment
    from ..view import RunView

__all__ = ["Options", "ReproductionReport", "reproduce"]

_FOLDER = ".reproduced"
"""Where runs are restored unless told otherwise, in the local store."""


@dataclass(frozen=True)
class Options:
    """How a run is had again."""

    into: Path | None = None
    """The folder to restore it in: new, or empty."""
    run: bool = False
    environment: Literal["rebuild", "current"] = "rebuild"
    builds: bool = False
    """Whether packages may be built, which runs their code; `run` implies it."""
    allow: frozenset[Part] = frozenset()
    """Parts that need not be as they were."""
    data: tuple[Path, ...] = ()
    """Folders to look for data in, before the working tree."""
    tolerance: float = 1e-6
    ignoring: tuple[str, ...] = ()
    """Patterns of metrics that may differ."""
    to_stderr: bool = False
    """Whether what the command prints goes to standard error, since standard output is for a program."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Credentials in place of those that the command line was recorded without, by the arguments' names."""


def reproduce(address: Address, options: Options) -> ReproductionReport:
    """Restore a run, and run it again if that is wanted.

    Raises:
        ConfigError: the folder is not empty, or the address cannot be read.
        RunNotFoundError: there is no such run.
        BackendError: the service cannot be reached.
    """
    from .. import read

    if address.run_id is None:
        raise ConfigError(f"{hide_credentials(str(address))!r} names no run: write its id, or ADDRESS#ID")
    store = load_settings(Path.cwd(), os.environ).dir.absolute()
    with read.open(address, as_recorded=True) as runs:
        view = runs.run(address.run_id)
        original = view.id if address.target == LOCAL and address.location is None else hide_credentials(str(address))
        tree = _make_folder(options.into, store, view.id)
        report = ReproductionReport(original, view.name, tree, allowed=options.allow, wanted_run=options.run)
        built, moves = _restore(report, view, tree, options)
        if options.run:
            for line in report.restoration():
                say(line)
        if options.run and not report.blockers:
            _run(report, view, (built, moves), store, options)
    return report


def _make_folder(into: Path | None, store: Path, run_id: str) -> Path:
    if into is not None:
        folder = into.expanduser().absolute()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} is not empty: name a new folder with --into")
    else:
        if not store.exists():
            from ..journal import Store

            Store(store).create()
        names = (f"{run_id[:8]}{f'-{number}' if number else ''}" for number in range(10_000))
        folder = next(place for name in names if not (place := store / _FOLDER / name).exists())
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


# -- restoring --------------------------------------------------------------------------------------------------------


def _restore(report: ReproductionReport, view: RunView, tree: Path, options: Options) -> tuple[Built, Moves]:
    here = Path.cwd()
    root = view.code.root if view.code is not None else None
    say(f"restoring the code of {view.name or view.id} in {tree}")
    restored = restore_code(view.code, view.artifacts, view.content, tree, here)
    data = _restore_data(view, Restoration(tree, root, [*options.data, project_root(here)], lenient="data" in options.allow))
    _take(report, "code", restored.done, [one for one in restored.shortfalls if not _is_data(one, data)])
    _take(report, "data", data.done, data.shortfalls)
    built = _environment(view.environment, tree, root, options, refused=options.run and bool(report.blockers))
    _take(report, "environment", built.done, built.shortfalls)
    exclude(tree, [*([built.prefix.name] if built.prefix.parent == tree else []), *data.placed])
    moves = [*data.moves, *_moves(view.environment, built), *([(root, str(tree))] if root else [])]
    _find_command(report, view, built, moves, options)
    return built, moves


def _moves(environment: Environment | None, built: Built) -> Moves:
    """Return where the folder of the Python environment is now; one that was the system's own is not ours to move."""
    if environment is None or environment.prefix is None or environment.prefix_kind not in ("venv", "conda"):
        return []
    return [(environment.prefix, str(built.prefix))]


def _find_command(report: ReproductionReport, view: RunView, built: Built, moves: Moves, options: Options) -> None:
    command, missing = command_of(view.code, report.folder, built.python, moves)
    report.shortfalls += [*missing, *([told] if (told := launched(view.environment)) else [])]
    if command is None:
        return
    variables = recorded_variables(view.environment, moves)
    report.command = replace(command, variables=tuple((name, value) for name, value in variables.items() if os.environ.get(name) != value))
    report.shortfalls += [
        Shortfall(
            "command", f"{one.name} was not recorded, since it is a credential: --secret {one.name}=VARIABLE takes it from a variable"
        )
        for one in command.masked
        if one.name not in options.secrets
    ]


def _take(report: ReproductionReport, part: Part, done: Sequence[str], shortfalls: Sequence[Shortfall]) -> None:
    report.done += [(part, text) for text in done]
    report.shortfalls += shortfalls


def _restore_data(view: RunView, restoration: Restoration) -> RestoredData:
    for record in view.data:
        restoration.restore(record, (list_files(record, view.content) or None) if record.file_list is not None else None)
    return restoration.result


def _is_data(one: Shortfall, data: RestoredData) -> bool:
    """Return whether what the code lacks is a file of the data that was found elsewhere."""
    name = one.text.partition(" was not kept: ")[0]
    return any(name == path or name.startswith(f"{path}/") for path in data.verified if path)


def _environment(environment: Environment | None, tree: Path, root: str | None, options: Options, *, refused: bool) -> Built:
    if refused:
        built = Built(Path(sys.executable), Path(sys.prefix))
        built.miss("it was not built, since nothing will be run", blocks=False)
        return built
    if options.environment == "current" or environment is None:
        built = use_current(environment)
        if environment is None:
            built.miss("none was recorded", blocks=options.environment == "rebuild")
        return built
    prefix = next(place for name in (".venv", ".venv-reproduced", ".multitrack-venv") if not (place := tree / name).exists())
    try:
        return build(environment, prefix, tree, root, builds=options.builds or options.run, installer=find_installer())
    except (BuildError, OSError) as error:
        built = use_current(None)
        built.done.clear()
        built.miss(f"it cannot be built: {error}; --environment current takes the present one")
        return built


# -- running ----------------------------------------------------------------------------------------------------------


def _run(report: ReproductionReport, view: RunView, place: tuple[Built, Moves], store: Path, options: Options) -> None:
    from .. import read

    built, moves = place
    if (command := report.command) is None:
        return
    if command.folder.is_relative_to(report.folder):  # git keeps no empty folders
        command.folder.mkdir(parents=True, exist_ok=True)
    if not command.folder.is_dir():
        report.failure = f"nothing was run: there is no folder {command.folder}"
        return
    variables = variables_for(os.environ, view.environment, built.prefix, store=store, original=report.run, moves=moves)
    began = now()
    say("running it")
    code = execute(command.filled_in(options.secrets), variables, to_stderr=options.to_stderr)
    with read.open(Address(LOCAL, str(store))) as runs:
        found = [one for one in runs.runs(since=began / 1_000_000) if one.state.reproduces == report.run]
        again = choose(view.state, found)
        if again is None:
            how = f"ended with exit code {code}" if code else "ended well"
            report.failure = f"the command {how}, and recorded no run in {store}: there is nothing to compare"
            return
        report.outcome = compare_outcome(view.state, again.state, code, tolerance=options.tolerance, ignoring=options.ignoring, moves=moves)

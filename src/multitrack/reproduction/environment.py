"""A run's Python environment, built again: uv where it is there, else venv and pip.

Distributions are installed at the recorded versions without regard to what they say they need: the recorded set is complete. What
is installed in the end is read back and compared, and every difference is told.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path
from typing import Protocol

from ..errors import MultitrackError
from ..messages import say
from ..records import Environment, PackageSource
from ..records.requirements import requirements
from .shortfall import Shortfall

_TIMEOUT = 3600.0
"""Seconds for one call: accelerators' libraries have gigabytes."""
_FAILURES_SHOWN = 300
"""Characters of what an installer says."""
_LEFT_OUT = frozenset({".git", ".hg", ".venv", "venv", "__pycache__", "node_modules", ".tox", ".mypy_cache", ".ruff_cache", ".multitrack"})


_HAS_TO_BE_BUILT = "it has to be built, which runs its code: --run or --build allow it"


class BuildError(MultitrackError):
    """An environment, or a distribution in it, could not be had."""


@dataclass
class Built:
    """An environment."""

    python: Path
    prefix: Path
    done: list[str] = field(default_factory=list)
    shortfalls: list[Shortfall] = field(default_factory=list)

    def miss(self, text: str, *, blocks: bool = True) -> None:
        self.shortfalls.append(Shortfall("environment", text, blocks))


class Installer(Protocol):
    """A program that makes environments and fills them."""

    name: str

    def create(self, prefix: Path, version: str) -> None:
        """Make an environment of a Python version, such as `3.11.7`, or of the nearest one there is. Raises BuildError."""
        ...

    def install(self, python: Path, lines: Sequence[str], *, builds: bool, dry: bool = False) -> None:
        """Install requirements, all or none, without what they need. Raises BuildError.

        Args:
            python: the environment's.
            lines: as pip reads them.
            builds: whether code may be run to build them.
            dry: only find out whether they could be.
        """
        ...


def find_installer() -> Installer:
    """Return uv if it is on the PATH, else pip."""
    return Uv() if shutil.which("uv") else Pip()


def use_current(environment: Environment | None) -> Built:
    """Return the environment that this very process runs in, and what differs from the recorded one, which does not block."""
    built = Built(Path(sys.executable), Path(sys.prefix))
    built.done.append(f"the present one, {sys.prefix}")
    if environment is not None:
        there = {normal(one.metadata["Name"]): one.version for one in distributions() if one.metadata["Name"]}
        _compare(built, environment, there, sys.version.split()[0], blocks=False)
    return built


def build(environment: Environment, prefix: Path, tree: Path, root: str | None, *, builds: bool, installer: Installer) -> Built:
    """Build an environment again.

    Args:
        environment: what was recorded.
        prefix: the folder to build it in; it must not be there.
        tree: the restored code.
        root: where the code was; a distribution that was installed from there is installed from `tree`.
        builds: whether distributions may be built, which runs their code; only ready-made wheels are installed otherwise.
        installer: what does it.

    Raises:
        BuildError: there is no environment at all.
    """
    version = environment.python or ""
    if not re.fullmatch(r"3\.\d+(\.\d+)?", version):  # it is handed to a program; a path would be run
        version = ".".join(map(str, sys.version_info[:3]))
    say(f"building Python {version} with {len(environment.packages):,} packages by {installer.name}; it may take minutes")
    installer.create(prefix, version)
    (prefix / ".gitignore").write_text("*\n", encoding="utf-8")
    built = Built(prefix / "bin" / "python", prefix)
    if environment.prefix_kind == "conda":
        built.miss("it was a conda environment; of what is in it, the Python packages alone are installed", blocks=False)
    failures: dict[str, str] = {}
    ready = _split(environment, failures, builds=builds)
    _install(installer, built.python, ready, failures, builds=builds)
    with tempfile.TemporaryDirectory(prefix="multitrack-build-") as scratch:
        folders = _Folders(installer, built, tree, root, Path(scratch))
        for name, source in sorted(environment.sources.items()):
            if source.kind in ("editable", "local"):
                try:
                    folders.install(name, source, builds=builds)
                except (BuildError, OSError) as error:
                    failures[name] = f"it was installed from {source.url}: {error}"
    _compare(built, environment, installed(prefix), _version_of(prefix), blocks=True, failures=failures)
    return built


# -- what is installed from an index or a repository ------------------------------------------------------------------


def _split(environment: Environment, failures: dict[str, str], *, builds: bool) -> list[str]:
    """Return the lines to install; of the others, say in `failures` why not."""
    ready = []
    for line in requirements(environment):
        name, place = _name_of(line), line.partition(" @ ")[2]
        if not _LINE.fullmatch(line):
            failures[name] = "its name, version or source is none that an installer can be given"
        elif place and not builds and not place.partition("#")[0].endswith(".whl"):
            failures[name] = _HAS_TO_BE_BUILT
        else:
            ready.append(line)
    return ready


_LINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(==[A-Za-z0-9][A-Za-z0-9.!+_-]*| @ [a-z][a-z0-9+.-]*://[^\s]+)")
"""What is handed on: records are other people's, and a line of a requirements file may hold options."""


def _name_of(line: str) -> str:
    return re.split(r"[=\s@]", line, maxsplit=1)[0]


def _install(installer: Installer, python: Path, lines: Sequence[str], failures: dict[str, str], *, builds: bool) -> None:
    """Install what can be; of what cannot, say why.

    Where nothing may be built, all of it is installed in one go, once it is known what can be: an installer that is started again runs
    in an environment that holds other people's start-up files by then.
    """
    if builds:
        _try(installer, python, lines, failures, builds=True, dry=False)
    elif possible := _try(installer, python, lines, failures, builds=False, dry=True):
        try:
            installer.install(python, possible, builds=False)
        except BuildError as error:
            failures.update(dict.fromkeys(map(_name_of, possible), str(error)))


def _try(installer: Installer, python: Path, lines: Sequence[str], failures: dict[str, str], *, builds: bool, dry: bool) -> list[str]:
    """Return the lines that can be installed. Halves are tried until those are found that cannot."""
    if not lines:
        return []
    try:
        installer.install(python, lines, builds=builds, dry=dry)
    except BuildError as error:
        if len(lines) == 1:
            failures[_name_of(lines[0])] = str(error)
            return []
        middle = len(lines) // 2
        parts = (lines[:middle], lines[middle:])
        return [line for part in parts for line in _try(installer, python, part, failures, builds=builds, dry=dry)]
    return list(lines)


# -- what was installed from a folder ---------------------------------------------------------------------------------


class _Folders:
    """Installs distributions from folders and files of this machine, in which nothing is written."""

    def __init__(self, installer: Installer, built: Built, tree: Path, root: str | None, scratch: Path) -> None:
        self._installer = installer
        self._built = built
        self._tree = tree
        self._root = root
        self._scratch = scratch

    def install(self, name: str, source: PackageSource, *, builds: bool) -> None:
        """Install a distribution from where it was: from the restored code, where that was in the code. Raises BuildError, OSError."""
        folder = Path(source.url)
        inside = self._root is not None and folder.is_relative_to(self._root)
        place = self._tree / folder.relative_to(self._root) if inside and self._root is not None else folder
        if not place.exists():
            raise BuildError("that is not there")
        if not builds and place.suffix != ".whl":
            raise BuildError(_HAS_TO_BE_BUILT)
        copied = not inside and place.is_dir()
        if copied:
            place = _copy(place, self._scratch / re.sub(r"\W", "_", name))
            then = f"; it was at commit {source.commit[:12]}" if source.commit else ""
            self._built.miss(f"{name} is built from {folder} as that is now{then}", blocks=False)
        line = f"-e {place}" if inside and source.kind == "editable" else str(place)
        self._installer.install(self._built.python, [line], builds=True)
        if copied:
            _note_origin(self._built.prefix, name, folder)


def _note_origin(prefix: Path, name: str, folder: Path) -> None:
    """Have the environment say (PEP 610) that a distribution comes from its own folder, not from the copy that it was built from."""
    for note in (place for site in _site_folders(prefix) for place in Path(site).glob("*.dist-info/direct_url.json")):
        if normal(note.parent.name.partition("-")[0]) == normal(name):
            note.write_text(json.dumps({"url": folder.as_uri(), "dir_info": {}}), encoding="utf-8")


def _copy(folder: Path, to: Path) -> Path:
    """Copy a project's folder, so that building it leaves nothing there."""
    shutil.copytree(folder, to, symlinks=True, ignore=lambda _, names: [name for name in names if name in _LEFT_OUT])
    return to


# -- what there is in the end -----------------------------------------------------------------------------------------


def installed(prefix: Path) -> dict[str, str]:
    """Return the distributions in an environment, by normalised name, without running anything of it."""
    return {normal(one.metadata["Name"]): one.version for one in distributions(path=_site_folders(prefix)) if one.metadata["Name"]}


def _site_folders(prefix: Path) -> list[str]:
    return [str(folder) for folder in sorted(prefix.glob("lib*/python*/site-packages"))]


def normal(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _version_of(prefix: Path) -> str | None:
    """Return the Python version that an environment says it has."""
    for line in (prefix / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() in ("version", "version_info"):
            return ".".join(value.strip().split(".")[:3])
    return None


def _compare(
    built: Built,
    environment: Environment,
    there: Mapping[str, str],
    python: str | None,
    *,
    blocks: bool,
    failures: Mapping[str, str] | None = None,
) -> None:
    reasons = {normal(name): reason for name, reason in (failures or {}).items()}
    right = 0
    for name, version in sorted(environment.packages.items(), key=lambda item: item[0].lower()):
        found = there.get(normal(name))
        if found == version and normal(name) not in reasons:
            right += 1
        elif found == version:
            built.miss(f"{name} {version}: {reasons[normal(name)]}", blocks=blocks)
        else:
            reason = f": {reasons[normal(name)]}" if normal(name) in reasons else ""
            # Without --run nothing is built, and with it everything: that something waits for it is no fault of the environment.
            waits = reasons.get(normal(name), "").endswith(_HAS_TO_BE_BUILT)
            built.miss(f"{name} {version} is {f'{found} here' if found else 'not there'}{reason}", blocks=blocks and not waits)
    if environment.python and python and environment.python != python:
        built.miss(f"Python is {python}; it was {environment.python}", blocks=blocks and not _same_minor(python, environment.python))
    if not environment.packages:
        built.miss("no packages were recorded", blocks=blocks)
    built.done.append(f"Python {python}, {right:,} of {len(environment.packages):,} packages as they were")


def _same_minor(one: str, other: str) -> bool:
    return one.split(".")[:2] == other.split(".")[:2]


# -- the installers ---------------------------------------------------------------------------------------------------


class Uv:
    """uv, which also brings Python versions that are not there."""

    name = "uv"

    def create(self, prefix: Path, version: str) -> None:
        """As `Installer.create`."""
        if version == ".".join(map(str, sys.version_info[:3])):
            choices = [sys.executable]
        else:
            choices = [version, ".".join(version.split(".")[:2])]
        for place, choice in enumerate(choices):
            try:
                _run(["uv", "venv", "--quiet", "--python", choice, str(prefix)])
            except BuildError:
                if place == len(choices) - 1:
                    raise
            else:
                return

    def install(self, python: Path, lines: Sequence[str], *, builds: bool, dry: bool = False) -> None:
        """As `Installer.install`."""
        options = [] if builds else ["--no-build"]
        options += ["--dry-run"] if dry else []
        with _requirements_file(lines) as file:
            _run(["uv", "pip", "install", "--quiet", "--python", str(python), "--no-deps", *options, "-r", file.name])


class Pip:
    """The standard library's venv, and pip."""

    name = "pip"

    def create(self, prefix: Path, version: str) -> None:
        """As `Installer.create`."""
        minor = ".".join(version.split(".")[:2])
        python = sys.executable if minor == ".".join(map(str, sys.version_info[:2])) else shutil.which(f"python{minor}")
        if python is None:
            raise BuildError(f"there is no Python {minor} on the PATH; uv, which fetches it, would do: https://docs.astral.sh/uv")
        _run([python, "-m", "venv", str(prefix)])

    def install(self, python: Path, lines: Sequence[str], *, builds: bool, dry: bool = False) -> None:
        """As `Installer.install`."""
        options = [] if builds else ["--only-binary=:all:"]
        options += ["--dry-run"] if dry else []
        with _requirements_file(lines) as file:
            _run([str(python), "-m", "pip", "install", "--quiet", "--no-input", "--no-deps", *options, "-r", file.name])


def _requirements_file(lines: Sequence[str]) -> tempfile._TemporaryFileWrapper[str]:
    file = tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8")  # noqa: SIM115 - the caller closes it
    file.writelines(f"{line}\n" for line in lines)
    file.flush()
    return file


def _run(arguments: Sequence[str]) -> None:
    kept = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    }
    try:
        done = subprocess.run(list(arguments), capture_output=True, stdin=subprocess.DEVNULL, timeout=_TIMEOUT, check=False, env=kept)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{arguments[0]}: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "replace")
        raise BuildError(_shorten(said) or f"{arguments[0]} ended with {done.returncode}")


def _shorten(said: str) -> str:
    """Return what an installer said, without its advice, in one line; logins in addresses are left out."""
    from ..address import hide_credentials

    lines = [line.strip(" \u2502\u256d\u2570\u2500\u25b6\u00d7\u2715x") for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "error", "Because")) or "No solution" in line] or lines
    return hide_credentials(" ".join(errors))[:_FAILURES_SHOWN]

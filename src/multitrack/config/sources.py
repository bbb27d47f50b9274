"""Where settings come from: the files and variables of one process, read once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from ..address import is_target_name
from ..errors import ConfigError, did_you_mean
from .files import ConfigFile, read_project_file, read_user_file
from .variables import PREFIX, SETTINGS, TARGET_SEPARATOR, Setting


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was found. `str` tells it to people: `argument`, the variable's name, `FILE:LINE`, or `default`."""

    source: Literal["argument", "variable", "file", "default"]
    name: str = ""
    file: ConfigFile | None = field(default=None, repr=False)
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.file is not None:
            return self.file.place(*self.keys)
        return self.name or self.source

    def base(self, cwd: Path) -> Path:
        """Return the folder from which a relative path found here starts."""
        return self.file.folder if self.file is not None else cwd


ARGUMENT = Origin("argument")
DEFAULT = Origin("default")


class Found(NamedTuple):
    """A value, and where it was found."""

    value: Any
    origin: Origin


@dataclass(frozen=True)
class Sources:
    """The working folder, the variables, and the configuration files, the project's before the user's."""

    cwd: Path
    env: Mapping[str, str] = field(repr=False)
    files: tuple[ConfigFile, ...]

    @classmethod
    def read(cls, cwd: Path, env: Mapping[str, str]) -> Self:
        """Read the configuration files.

        Raises:
            ConfigError: one cannot be read, is no TOML, or holds an unknown key; the message names file and line.
        """
        cwd = cwd.absolute()
        files = tuple(file for file in (read_project_file(cwd), read_user_file(env)) if file is not None)
        for file in files:
            _check_keys(file)
        return cls(cwd, env, files)

    def find(self, setting: Setting, argument: Any) -> Found | None:
        """Return a setting's value as parsed, and its origin: the argument, else the variable, else the nearest file. None: nobody set it.

        Raises:
            ConfigError: the value is none that the setting can have; the message says where it stands.
        """
        for value, origin in self._places(setting, argument):
            try:
                return Found(setting.parse(value), origin)
            except ValueError as error:
                label = f"{setting.name}: " if origin.source != "variable" else ""
                raise ConfigError(f"{origin}: {label}{error}") from None
        return None

    def _places(self, setting: Setting, argument: Any) -> Iterator[Found]:
        if argument is not None:
            yield Found(argument, ARGUMENT)
        if text := self.env.get(setting.variable):  # an empty variable is an unset one
            yield Found(text, Origin("variable", setting.variable))
        for file in self.files if setting.in_files else ():
            if setting.name in file.table:
                yield Found(file.table[setting.name], Origin("file", file=file, keys=(setting.name,)))

    def target_names(self) -> tuple[str, ...]:
        """Return the names of the targets that the files define, the project's first."""
        return tuple(dict.fromkeys(name for file in self.files for name in file.table.get("targets", {})))

    def defines(self, name: str) -> bool:
        """Return whether a file or variable defines a target of this name."""
        return name in self.target_names() or bool(self.env.get(f"{variable_prefix(name)}BACKEND"))

    def target_values(self, name: str) -> dict[str, Found]:
        """Return what is said about a target, key by key: by variables, else by the project's file, else by the user's."""
        found: dict[str, Found] = {}
        prefix = variable_prefix(name)
        for variable, text in self.env.items():
            if variable.startswith(prefix) and text:
                found[variable.removeprefix(prefix).lower()] = Found(text, Origin("variable", variable))
        for file in self.files:
            for key, value in file.table.get("targets", {}).get(name, {}).items():
                found.setdefault(key, Found(value, Origin("file", file=file, keys=("targets", name, key))))
        return found

    def place_of(self, name: str) -> str:
        """Return where a target is defined, for messages."""
        for file in self.files:
            if name in file.table.get("targets", {}):
                return file.place("targets", name)
        return f"{variable_prefix(name)}BACKEND"


def capitals(name: str) -> str:
    """Return a target's name as variables have it."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def variable_prefix(name: str) -> str:
    """Return the beginning of the variables of a target: `MULTITRACK_PROD__`."""
    return f"{PREFIX}{capitals(name)}{TARGET_SEPARATOR}"


def _check_keys(file: ConfigFile) -> None:
    known = [setting.name for setting in SETTINGS if setting.in_files] + ["targets"]
    for key in file.table:
        if key not in known:
            raise ConfigError(f"{file.place(key)}: unknown setting {key!r}.{did_you_mean(key, known)} There are {', '.join(known)}")
    targets = file.table.get("targets", {})
    if not isinstance(targets, Mapping):
        raise ConfigError(f"{file.place('targets')}: targets are tables: [{'.'.join((*file.prefix, 'targets', 'NAME'))}]")
    seen: dict[str, str] = {}
    for name, table in targets.items():
        _check_target(file, name, table)
        if (other := seen.setdefault(capitals(name), name)) != name:
            raise ConfigError(f"{file.place('targets', name)}: the targets {other!r} and {name!r} would share their variables")


def _check_target(file: ConfigFile, name: str, table: Any) -> None:
    place = file.place("targets", name)
    if not isinstance(table, Mapping):
        raise ConfigError(f"{place}: the target {name!r} is a table: [{'.'.join((*file.prefix, 'targets', name))}]")
    if not is_target_name(name):
        raise ConfigError(f"{place}: {name!r} cannot name a target: letters, digits, '-' and '_' can, but not 32 of them as in a run id")
    if name == "local":
        raise ConfigError(f"{place}: 'local' is the local store; set its folder with `dir`, and give other folders another name")

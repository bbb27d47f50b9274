"""Configuration files: where they are looked for, and on which line each of their keys stands."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import ConfigError

PROJECT_FILE = "multitrack.toml"
PYPROJECT = "pyproject.toml"
USER_FILE = "config.toml"


@dataclass(frozen=True)
class ConfigFile:
    """A file that was read. `prefix` leads to multitrack's table in it: nothing, or `tool.multitrack`."""

    path: Path
    table: Mapping[str, Any] = field(repr=False)
    text: str = field(repr=False)
    prefix: tuple[str, ...] = ()
    personal: bool = False
    """Whether it is the user's own and may hold secrets, rather than one that a project hands around."""

    @property
    def folder(self) -> Path:
        """The folder that relative paths in the file start from."""
        return self.path.parent

    def place(self, *keys: str) -> str:
        """Return `FILE:LINE` of a key, or of the nearest table around it."""
        known = self._lines
        full = (*self.prefix, *keys)
        for length in range(len(full), 0, -1):
            if full[:length] in known:
                return f"{self.path}:{known[full[:length]]}"
        return str(self.path)

    @cached_property
    def _lines(self) -> dict[tuple[str, ...], int]:
        return find_lines(self.text)


def read_project_file(cwd: Path) -> ConfigFile | None:
    """Return the nearest configuration of the working folder or its parents, up to the repository's root; None without one.

    In one folder, `multitrack.toml` goes before the `[tool.multitrack]` table of `pyproject.toml`.

    Raises:
        ConfigError: a file cannot be read, or is no TOML.
    """
    for folder in walk_up(cwd):
        if (text := _read(folder / PROJECT_FILE)) is not None:
            path = folder / PROJECT_FILE
            return ConfigFile(path, _parse(path, text), text)
        path = folder / PYPROJECT
        if (text := _read(path)) is not None and "multitrack" in text:
            table = _parse(path, text).get("tool", {}).get("multitrack")
            if isinstance(table, dict):
                return ConfigFile(path, table, text, prefix=("tool", "multitrack"))
    return None


def read_user_file(env: Mapping[str, str]) -> ConfigFile | None:
    """Return the user's own configuration; None without one.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    path = user_folder(env) / USER_FILE
    text = _read(path)
    return None if text is None else ConfigFile(path, _parse(path, text), text, personal=True)


def user_folder(env: Mapping[str, str]) -> Path:
    """Return the folder of the user's own configuration: `$XDG_CONFIG_HOME/multitrack`, else where the system keeps such files."""
    if home := env.get("XDG_CONFIG_HOME"):
        return Path(home) / "multitrack"
    import platformdirs

    return platformdirs.user_config_path("multitrack", appauthor=False)


def find_project_root(cwd: Path) -> Path:
    """Return the nearest folder upwards that holds a `multitrack.toml`, a `pyproject.toml` or a repository; else `cwd`."""
    for folder in walk_up(cwd):
        if any(_exists(folder / name) for name in (PROJECT_FILE, PYPROJECT, ".git")):
            return folder
    return cwd


def walk_up(cwd: Path) -> Iterator[Path]:
    """Yield the working folder and its parents, up to the repository's root.

    The walk also ends below a shared temporary folder (sticky and writable by everyone): anybody could have left a file in it.
    """
    for folder in (cwd, *cwd.parents):
        if folder != cwd and _is_shared(folder):
            return
        yield folder
        if _exists(folder / ".git"):
            return


def readable_by_others(path: Path) -> bool:
    """Return whether anyone but the owner may read the file."""
    return os.name == "posix" and bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def find_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line, from 1, on which each key of a TOML document is first set; the document is known to be well formed.

    tomllib keeps no positions. A statement ends where the lines since the last one parse by themselves; what it parses to are its keys.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    statement, start = "", 1
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        statement += line
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        is_header = statement.lstrip().startswith("[")
        paths = list(_paths(parsed))
        for path in paths:
            lines.setdefault(path if is_header else (*table, *path), start)
        if is_header:
            table = max(paths, key=len)
        statement, start = "", number + 1
    return lines


def _paths(value: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1]  # an array of tables: the keys that follow belong to its last one
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*above, key)
            yield from _paths(item, (*above, key))


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, line = _explain(error, text)
        raise ConfigError(f"{path}:{line}: not valid TOML: {reason}") from None


def _explain(error: tomllib.TOMLDecodeError, text: str) -> tuple[str, int]:
    # Python 3.11 tells the position in the message only: "... (at line 3, column 5)" or "... (at end of document)".
    reason, _, where = str(error).rpartition(" (at ")
    digits = where.removeprefix("line ").partition(",")[0]
    return reason or str(error), int(digits) if digits.isdigit() else text.count("\n") + 1


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except PermissionError as error:
        if not _exists(path):  # a folder that we may not look into holds nothing for us
            return None
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _is_shared(folder: Path) -> bool:
    try:
        mode = folder.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_ISVTX and mode & stat.S_IWOTH)

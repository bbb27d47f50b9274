"""The settings of one process: argument, else variable, else project's file, else user's file, else default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..address import LOCAL, hide_credentials
from ..errors import ConfigError
from .files import find_project_root
from .sources import DEFAULT, Found, Origin, Sources, capitals
from .variables import (
    CAPTURED,
    CODE_LIMIT,
    SETTINGS,
    SYSTEM_INTERVAL,
    ConsoleMode,
    Mode,
    default_finish_timeout,
    parse_backends,
    unknown_variables,
)

if TYPE_CHECKING:
    from ..address import Address
    from .targets import Target


@dataclass(frozen=True)
class Settings:
    """What `load_settings` found. `docs/configuration.md` says what each one means."""

    mode: Mode
    dir: Path
    """The local store, absolute."""
    project: str
    quiet: bool
    finish_timeout: float
    """Seconds; may be infinite."""
    quota: int | None
    """Bytes that the local store may take; None for any."""
    capture: tuple[str, ...]
    """What is recorded without being asked for, of `variables.CAPTURED`."""
    code_limit: int
    """Bytes."""
    system_interval: float
    """Seconds."""
    console: ConsoleMode
    """How printed output is got at."""
    environment_variables: tuple[str, ...]
    """Names of variables that are recorded besides those that multitrack knows."""
    secret_patterns: tuple[str, ...]
    """Regular expressions."""
    run_id: str | None
    backends: tuple[str, ...]
    """As they were written; of a table or an object, its name."""
    targets: tuple[Target, ...]
    """Where runs are delivered besides the local store, which is never among them; empty in mode `disabled`."""
    notices: tuple[str, ...]
    """Lines to warn with: variables that mean nothing."""
    origins: Mapping[str, Origin] = field(repr=False, compare=False)
    """Where each setting was found."""
    sources: Sources = field(repr=False, compare=False)

    def target(self, address: str | Address | Mapping[str, Any], *, installed: bool = True) -> Target:
        """Return the target of an address, a target's name, a backend's name, or a table; the address's run id is left aside.

        Raises:
            ConfigError: there is none, or its settings are wrong. With `installed` False, missing packages are no error.
        """
        from .resolve import Resolver

        return Resolver(self.sources, self.dir, installed).target(address)


def load_settings(
    cwd: Path,
    env: Mapping[str, str],
    *,
    backends: Any = None,
    mode: str | None = None,
    dir: str | Path | None = None,
    project: str | None = None,
    quiet: bool | None = None,
    finish_timeout: float | None = None,
    run_id: str | None = None,
) -> Settings:
    """Return the settings of a process whose working folder is `cwd` and whose variables are `env`. None: not given.

    `backends` is one entry or a list of them: names, addresses, tables (mappings with `backend`, `location`, perhaps `name`, and
    the backend's settings, secrets included), `Target`s, and, in mode `inline`, `Backend` objects. Mode `disabled` resolves no
    target; `deferred` asks for no backend's packages.

    Raises:
        ConfigError: something that was set cannot be; the message names the argument, the variable, or the file and line.
        UnknownBackendError, MissingExtraError: as `registry.load_backend`.
    """
    sources = Sources.read(cwd, env)
    arguments = {"mode": mode, "dir": dir, "project": project, "quiet": quiet, "finish_timeout": finish_timeout, "run_id": run_id}
    found = {setting.name: sources.find(setting, arguments.get(setting.name)) for setting in SETTINGS}
    if backends is not None:
        found["backends"] = Found(parse_backends(backends), Origin("argument", "backends"))
    defaults: dict[str, Any] = {"backends": (LOCAL,), "mode": "online", "project": "default", "quiet": False, "run_id": None}
    defaults |= {"capture": CAPTURED, "code_limit": CODE_LIMIT, "system_interval": SYSTEM_INTERVAL}
    defaults |= {"console": "auto", "secret_patterns": (), "environment_variables": ()}
    values: dict[str, Any] = {name: item.value if item else defaults.get(name) for name, item in found.items()}
    origins = {name: item.origin if item else DEFAULT for name, item in found.items()}
    values["dir"] = _store_folder(found["dir"], sources)
    if found["finish_timeout"] is None:
        values["finish_timeout"] = default_finish_timeout(env)
    targets = _resolve_targets(values, origins["backends"], sources)
    values["backends"] = tuple(map(_spell, values["backends"]))
    names = {capitals(name): name for name in (*sources.target_names(), *(target.name for target in targets))}
    return Settings(**values, targets=targets, notices=_notices(env, names), origins=origins, sources=sources)


def _store_folder(found: Found | None, sources: Sources) -> Path:
    if found is None:
        return find_project_root(sources.cwd) / ".multitrack"
    # normpath, not resolve: a store behind a symbolic link keeps the name that people gave it.
    import os.path

    return Path(os.path.normpath(found.origin.base(sources.cwd) / found.value))


def _resolve_targets(values: Mapping[str, Any], origin: Origin, sources: Sources) -> tuple[Target, ...]:
    entries, mode = values["backends"], values["mode"]
    if mode == "disabled" or all(entry == LOCAL for entry in entries):
        return ()  # nothing to load: what most first runs, and every rank but the first, come through
    from .resolve import Resolver

    targets = Resolver(sources, values["dir"], installed=mode != "deferred").targets(entries, origin)
    if mode != "inline" and (objects := [target.name for target in targets if target.instance is not None]):
        raise ConfigError(
            f"{origin}: the backend object {objects[0]!r} lives in this process only: use mode='inline', or name it by its address"
        )
    return targets


def _spell(entry: Any) -> str:
    if isinstance(entry, str):
        return hide_credentials(entry)
    if isinstance(entry, Mapping):  # never the table itself: it may hold secrets
        return str(entry.get("name") or entry.get("backend"))
    return str(getattr(entry, "name", entry))


def _notices(env: Mapping[str, str], targets: dict[str, str]) -> tuple[str, ...]:
    if not any(name.startswith("MULTITRACK_") for name in env):
        return ()
    if any("__" in name for name in env if name.startswith("MULTITRACK_")):
        from ..registry import backend_names

        targets = {**targets, **{capitals(name): name for name in backend_names()}}
    return tuple(unknown_variables(env, targets))

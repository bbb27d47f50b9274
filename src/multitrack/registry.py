"""Which backends are installed, and their classes on demand.

A backend is an entry point of the group `multitrack.backends`; multitrack's own are found in the same way as anybody else's.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points

from .backend import Backend
from .errors import ConfigError, MissingExtraError, UnknownBackendError, did_you_mean

GROUP = "multitrack.backends"


def backend_names() -> tuple[str, ...]:
    """Return the names of the installed backends, sorted. Loads none of them."""
    return tuple(_find_entry_points())


def load_backend(name: str, location: str | None = None) -> type[Backend]:
    """Return the class of a backend whose packages are installed: those that the location needs, as `resolve` made it.

    Raises:
        UnknownBackendError: no installed distribution has a backend of this name.
        MissingExtraError: the packages that it builds on are not installed.
        ConfigError: its own code cannot be imported, or two distributions offer a backend of this name.
    """
    cls = find_backend(name)
    if missing := not_installed(cls.requires_for(location)):
        raise MissingExtraError(f"{cls.label} needs {', '.join(missing)}: {install_line(cls) or 'install it'}")
    return cls


@cache
def find_backend(name: str) -> type[Backend]:
    """Return a backend's class, whether or not the packages that it builds on are installed.

    Raises:
        UnknownBackendError, ConfigError: as `load_backend`.
    """
    known = _find_entry_points()
    if name not in known:
        raise UnknownBackendError(f"there is no backend {name!r}.{did_you_mean(name, known)} Installed are: {', '.join(known) or 'none'}")
    offers = known[name]
    if len(offers) > 1:
        owners = " and ".join(_owner(offer) for offer in offers)
        raise ConfigError(f"the backend {name!r} is offered by {owners}: uninstall all but one of them")
    return _load(offers[0])


def _load(offer: EntryPoint) -> type[Backend]:
    try:
        cls = offer.load()
    except Exception as error:  # a plugin's import may raise anything
        cause = f"{type(error).__name__}: {error}"
        raise ConfigError(f"the backend {offer.name!r} of {_owner(offer)} ({offer.value}) cannot be loaded: {cause}") from error
    if not (isinstance(cls, type) and issubclass(cls, Backend)):
        raise ConfigError(f"the backend {offer.name!r} of {_owner(offer)} ({offer.value}) is no subclass of multitrack.backend.Backend")
    if cls.name != offer.name:
        raise ConfigError(f"the backend {offer.name!r} of {_owner(offer)} ({offer.value}) calls itself {cls.name!r}: the two must be equal")
    return cls


def missing_packages(cls: type[Backend]) -> tuple[str, ...]:
    """Return the modules of the backend's `requires` that are not installed. Imports none."""
    return not_installed(cls.requires)


def not_installed(modules: Iterable[str]) -> tuple[str, ...]:
    """Return those of the modules that are not installed. Imports none."""
    return tuple(module for module in modules if not _is_installed(module))


def install_line(cls: type[Backend]) -> str | None:
    """Return the command that installs what a backend needs; None when it has no extra."""
    if cls.extra is None:
        return None
    owners = [offer.dist.name for offer in _find_entry_points().get(cls.name, ()) if offer.dist]
    return f"pip install '{owners[0] if owners else 'multitrack'}[{cls.extra}]'"


@cache
def _find_entry_points() -> Mapping[str, tuple[EntryPoint, ...]]:
    # Reading the metadata of a hundred distributions takes milliseconds: once a process is enough.
    found: dict[str, list[EntryPoint]] = {}
    for offer in entry_points(group=GROUP):
        found.setdefault(offer.name, []).append(offer)
    return {name: tuple(found[name]) for name in sorted(found)}


def _owner(offer: EntryPoint) -> str:
    return f"{offer.dist.name} {offer.dist.version}" if offer.dist else "an unknown distribution"


def _is_installed(module: str) -> bool:
    """Return whether a module could be imported. `find_spec` would import the parents of a dotted name: they are walked instead."""
    top, *rest = module.split(".")
    if module in sys.modules:
        return sys.modules[module] is not None
    spec = importlib.util.find_spec(top)
    path = top
    for part in rest:
        path = f"{path}.{part}"
        spec = PathFinder.find_spec(path, spec.submodule_search_locations) if spec and spec.submodule_search_locations else None
    return spec is not None

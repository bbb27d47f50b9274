"""From what people write to targets: names, addresses, tables and backend objects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..address import LOCAL, Address, hide_credentials, is_target_name
from ..backend import Backend, BackendSettings
from ..errors import ConfigError, UnknownBackendError, did_you_mean
from ..registry import backend_names, find_backend, load_backend
from .filters import Filters, Selection
from .sources import ARGUMENT, DEFAULT, Found, Origin, Sources, variable_prefix
from .targets import Target, check_secret, explain, place_name, resolve_location, secret_fields, takes_text
from .variables import parse_bool

_OWN_KEYS = ("backend", "location", "include", "exclude", "attach")
"""Keys of every target, whatever its backend."""


@dataclass(frozen=True)
class Resolver:
    """Makes targets. `store` is the local store; with `installed`, a backend's packages must be there."""

    sources: Sources
    store: Path
    installed: bool = True

    def targets(self, entries: Sequence[Any], origin: Origin) -> tuple[Target, ...]:
        """Return the targets that the entries name, each once. The local store itself is none: its journal is always written.

        Raises:
            ConfigError: an entry names nothing, its settings are wrong, or two entries with different names are the same place.
        """
        found: dict[str, Target] = {}
        places: dict[tuple[str, str | None], str] = {}
        for entry in entries:
            if entry == LOCAL:
                continue
            target = self.target(entry, origin)
            if self.is_store(target):
                continue
            place = (target.backend, target.location)
            if target.instance is None and (other := places.setdefault(place, target.name)) != target.name:
                raise ConfigError(
                    f"{origin}: the targets {other!r} and {target.name!r} are the same place, {target.address}: name one of them"
                )
            if target.name in found and (found[target.name] != target or target.instance is not found[target.name].instance):
                raise ConfigError(f"{origin}: two different targets are named {target.name!r}: give one of them a `name`")
            found[target.name] = target
        return tuple(found.values())

    def target(self, entry: Any, origin: Origin = ARGUMENT) -> Target:
        """Return the target of one entry: a text, an `Address`, a mapping such as a target's table, a `Target`, or a `Backend` object.

        Raises:
            ConfigError: as `targets`.
        """
        if isinstance(entry, Target):
            return entry
        if isinstance(entry, Backend):
            return Target.of(entry)
        if isinstance(entry, Mapping):
            return self._from_mapping(entry)
        if isinstance(entry, str):
            try:
                entry = Address.parse(entry)
            except ConfigError as error:
                raise ConfigError(f"{origin}: {error}") from None
        if isinstance(entry, Address):
            return self._from_address(entry, origin)
        raise ConfigError(f"{origin}: a backend is named by a text or a table, not by something of type {type(entry).__name__}")

    def is_store(self, target: Target) -> bool:
        """Return whether a target is the local store itself."""
        return target.backend == LOCAL and target.instance is None and target.location == str(self.store)

    def _from_address(self, address: Address, origin: Origin) -> Target:
        name, location = address.target, address.location
        if location is None:
            if name == LOCAL:
                return self._make(LOCAL, LOCAL, {"location": Found(str(self.store), DEFAULT)})
            if self.sources.defines(name):
                return self._from_name(name)
            self._check_name(name, origin)
            return self._make(name, name, self.sources.target_values(name))
        if name not in backend_names():
            if self.sources.defines(name):
                place = self.sources.place_of(name)
                raise ConfigError(f"{origin}: the target {name!r} has its location from {place}: write {name!r} alone, or BACKEND:LOCATION")
            self._check_name(name, origin)
        return self._from_place(name, location, origin)

    def _from_name(self, name: str) -> Target:
        values = self.sources.target_values(name)
        backend = values.pop("backend", None)
        if backend is not None and backend.value != name and name in backend_names():
            raise ConfigError(f"{backend.origin}: {name!r} is the name of a backend; a target of {backend.value!r} needs another name")
        if backend is None:
            if name not in backend_names():
                raise ConfigError(f'{self.sources.place_of(name)}: the target {name!r} names no backend: add backend = "mlflow" or another')
            backend = Found(name, DEFAULT)
        if not isinstance(backend.value, str):
            raise ConfigError(f"{backend.origin}: backend is a text, not {backend.value!r}")
        self._check_owner(name, values)
        return self._make(name, backend.value, values, backend.origin)

    def _from_place(self, backend: str, location: str, origin: Origin) -> Target:
        """Return the configured target that is this place, with its name and its login; without one, a target of the place's own."""
        cls = self._load(backend, origin)
        full = self._resolve(cls, Found(location, origin))
        if backend == LOCAL and full == str(self.store):
            return self._make(LOCAL, LOCAL, {"location": Found(full, origin)})
        for name in self.sources.target_names():
            values = self.sources.target_values(name)
            same_backend = values.get("backend", Found(name, DEFAULT)).value == backend
            if same_backend and "location" in values and self._resolve(cls, values["location"]) == full:
                return self._from_name(name)
        name = place_name(backend, full)
        return self._make(name, backend, {**self.sources.target_values(name), "location": Found(full, origin)}, origin)

    def _from_mapping(self, entry: Mapping[Any, Any]) -> Target:
        given = {str(key): Found(value, ARGUMENT) for key, value in entry.items()}
        backend, name = given.pop("backend", None), given.pop("name", None)
        if backend is None or not isinstance(backend.value, str):
            raise ConfigError(f"{ARGUMENT}: a table among the backends needs a `backend`, the name of one of {', '.join(backend_names())}")
        if name is None:
            cls = self._load(backend.value, ARGUMENT)
            location = given.get("location")
            chosen = backend.value if location is None else place_name(backend.value, self._resolve(cls, location))
        elif isinstance(name.value, str) and is_target_name(name.value) and name.value != LOCAL:
            chosen = name.value
        else:
            raise ConfigError(f"{ARGUMENT}: {name.value!r} cannot name a target: letters, digits, '-' and '_' can")
        values = {**self.sources.target_values(chosen), **given}
        values.pop("backend", None)
        return self._make(chosen, backend.value, values, ARGUMENT)

    def _make(self, name: str, backend: str, values: Mapping[str, Found], origin: Origin = DEFAULT) -> Target:
        cls = self._load(backend, origin)
        own = {key: found for key, found in values.items() if key in _OWN_KEYS}
        location = self._resolve(cls, own.get("location", Found(None, DEFAULT)))
        if self.installed:
            load_backend(backend, location)
        settings = _validate(name, cls, {key: found for key, found in values.items() if key not in _OWN_KEYS})
        filters = Filters(**{key: _select(key, own[key]) for key in ("include", "exclude") if key in own})
        attach = _read_attach(own["attach"]) if "attach" in own else True
        origins = {"backend": origin, **{key: found.origin for key, found in values.items()}}
        return Target(name, backend, location, settings, filters, attach=attach, origins=origins)

    def _resolve(self, cls: type[Backend], location: Found) -> str | None:
        value, origin = location
        if value is not None and not isinstance(value, str | Path):
            raise ConfigError(f"{origin}: location is a text, not {value!r}")
        try:
            return resolve_location(cls, None if value is None else str(value), origin.base(self.sources.cwd))
        except ConfigError as error:
            raise ConfigError(f"{origin}: {hide_credentials(str(error))}") from None

    def _load(self, backend: str, origin: Origin) -> type[Backend]:
        if backend not in backend_names():
            self._check_name(backend, origin)
        return find_backend(backend)

    def _check_name(self, name: str, origin: Origin) -> None:
        backends, targets = backend_names(), self.sources.target_names()
        if name in backends:
            return
        near = did_you_mean(name, (*targets, *backends))
        names = f"Targets: {', '.join(targets)}; backends: " if targets else "Installed backends: "
        raise UnknownBackendError(f"{_before(origin)}{name!r} is neither a target nor a backend.{near} {names}{', '.join(backends)}")

    def _check_owner(self, name: str, values: Mapping[str, Found]) -> None:
        """Refuse to send a login of the user's file to a location that a project's file chose."""
        tables = [(file, file.table.get("targets", {}).get(name, {})) for file in self.sources.files]
        locations = {str(table["location"]) for _, table in tables if "location" in table}
        personal = [file for file, table in tables if file.personal and "location" in table]
        location = values.get("location")
        if len(locations) > 1 and personal and location is not None and location.origin.source == "file":
            raise ConfigError(
                f"{location.origin}: the target {name!r} is another place in {personal[0].place('targets', name, 'location')}: "
                "rename one of them, so that the login of the one is not sent to the other"
            )


def _before(origin: Origin) -> str:
    """Return where something was found, to begin a message with; nothing where whoever reads it has just written it."""
    return "" if origin is ARGUMENT else f"{origin}: "


def _read_attach(found: Found) -> bool:
    try:
        return parse_bool(found.value)
    except ValueError as error:
        raise ConfigError(f"{found.origin}: attach: {error}") from None


def _select(key: str, found: Found) -> Selection:
    value, origin = found
    try:
        return Selection.parse(json.loads(value) if origin.source == "variable" else value)
    except (ConfigError, json.JSONDecodeError) as error:
        raise ConfigError(f"{origin}: {key}: {error}") from None


def _validate(name: str, cls: type[Backend], values: Mapping[str, Found]) -> BackendSettings:
    fields, secrets = cls.settings_type.model_fields, secret_fields(cls.settings_type)
    for key, (_, origin) in values.items():
        if key not in fields:
            known = (*fields, *_OWN_KEYS)
            listed = ", ".join(known)
            raise ConfigError(
                f"{origin}: unknown setting {key!r} of the target {name!r}.{did_you_mean(key, known)} {cls.label} has {listed}"
            )
        if key in secrets:
            check_secret(name, key, cls, origin)
    try:
        return cls.settings_type.model_validate({key: _read_value(cls, key, found) for key, found in values.items()})
    except ValidationError as error:
        key, reason = explain(error, secrets)
        if key in values:
            raise ConfigError(f"{values[key].origin}: target {name!r}: {reason}") from None
        raise ConfigError(f"target {name!r}: {reason}; set it in the target's table or as {variable_prefix(name)}{key.upper()}") from None


def _read_value(cls: type[Backend], key: str, found: Found) -> Any:
    """Return a setting's value; of a variable's text, what JSON makes of it where the setting is a list or a table."""
    value, origin = found
    if origin.source != "variable" or takes_text(cls.settings_type.model_fields[key]) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{origin}: not valid JSON: {error}") from None

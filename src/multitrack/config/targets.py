"""A target: one configured instance of a backend."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Self, Union, get_args, get_origin

from pydantic import SecretStr, ValidationError

from ..address import holds_password
from ..backend import Backend, BackendSettings
from ..errors import ConfigError, did_you_mean
from ..registry import find_backend, load_backend
from .filters import Filters, Selection
from .sources import Origin, Sources, variable_prefix

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


@dataclass(frozen=True)
class Target:
    """A backend, where it is, and how it is used. `name` is unique among the places that a run goes to."""

    name: str
    """The configured name; else the backend's, where its default place is meant; else `<backend>-<8 digits of the location's hash>`."""
    backend: str
    location: str | None
    """As the backend's `resolve` made it; never holds credentials."""
    settings: BackendSettings
    filters: Filters = field(default_factory=Filters)
    attach: bool = True
    """Whether a run's neutral records travel with it, so that it can be restored exactly from there."""
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False, repr=False)
    """Where `backend`, `location` and each setting that somebody made were found."""
    lost_secrets: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """Secrets that the target had when it was saved and that nothing here supplies."""
    instance: Backend | None = field(default=None, compare=False, repr=False)
    """The backend object that the user handed over, in mode `inline`."""

    @classmethod
    def of(cls, backend: Backend) -> Self:
        """Return the target that a backend object is."""
        return cls(backend.name, backend.name, backend.location, backend.settings, instance=backend)

    def __str__(self) -> str:
        return self.address if self.name in (self.backend, place_name(self.backend, self.location)) else f"{self.name} ({self.address})"

    @property
    def address(self) -> str:
        """`BACKEND:LOCATION`."""
        return self.backend if self.location is None else f"{self.backend}:{self.location}"

    def connect(self) -> Backend:
        """Return the backend, set up. Talks to no service.

        Raises:
            MissingExtraError: its packages are not installed.
            ConfigError: a secret that was given in code is not at hand in this process.
        """
        if self.instance is not None:
            return self.instance
        if self.lost_secrets:
            prefix = variable_prefix(self.name)
            variables = ", ".join(prefix + secret.upper() for secret in self.lost_secrets)
            lost = ", ".join(self.lost_secrets)
            raise ConfigError(f"the target {self.name!r} had its {lost} given in code, and secrets are never stored: set {variables}")
        return load_backend(self.backend, self.location)(self.location, self.settings)

    def public(self) -> dict[str, Any]:
        """Return what `from_public` reads, in terms of JSON: everything but the secrets, of which only the names are told."""
        hidden = secret_fields(type(self.settings))
        settings = self.settings.model_dump(mode="json", exclude=set(hidden), exclude_unset=True)
        return {
            "name": self.name,
            "backend": self.backend,
            "location": self.location,
            "settings": settings,
            "filters": self.filters.public(),
            "attach": self.attach,
            "secrets": sorted(self.secrets()),
        }

    @classmethod
    def from_public(cls, public: Mapping[str, Any], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Self:
        """Return the target that was saved. Its secrets are looked up in the variables and the user's file again, by its name.

        `cwd` and `env` default to those of the process. A secret that is not found is told by `connect`; `with_secrets` may bring it first.

        Raises:
            UnknownBackendError: the backend is not installed here.
            ConfigError: the installed backend does not know one of the settings.
        """
        env = os.environ if env is None else env
        backend = find_backend(public["backend"])
        found = Sources.read(cwd or Path.cwd(), env).target_values(public["name"])
        secrets = {key: found[key].value for key in secret_fields(backend.settings_type) if key in found}
        for key in secrets:
            check_secret(public["name"], key, backend, found[key].origin)
        filters = {key: Selection.parse(table) for key, table in public["filters"].items()}
        target = cls(
            public["name"],
            public["backend"],
            public["location"],
            _validate(public["name"], backend, {**public["settings"], **secrets}),
            Filters(**filters),
            attach=public.get("attach", True),
        )
        lost = [
            key for key in public["secrets"] if key not in secrets and not any(env.get(name) for name in vendor_variables(backend, key))
        ]
        return replace(target, lost_secrets=tuple(lost))

    def secrets(self) -> dict[str, str]:
        """Return the secrets, in the clear, for a pipe to another process of the same user: never for a file, a log or a command line."""
        values = {name: getattr(self.settings, name) for name in secret_fields(type(self.settings))}
        return {name: value.get_secret_value() for name, value in values.items() if isinstance(value, SecretStr)}

    def with_secrets(self, secrets: Mapping[str, str]) -> Self:
        """Return the target with these secrets in place."""
        present = {name: getattr(self.settings, name) for name in self.settings.model_fields_set}
        settings = _validate(self.name, find_backend(self.backend), {**present, **secrets})
        return replace(self, settings=settings, lost_secrets=tuple(name for name in self.lost_secrets if name not in secrets))

    def with_settings(self, given: Mapping[str, Any]) -> Self:
        """Return the target with these settings before its own.

        Raises:
            ConfigError: its backend has no such setting, it cannot be this, or it is a secret.
        """
        if not given:
            return self
        backend = find_backend(self.backend)
        known = backend.settings_type.model_fields
        for key in given:
            if key not in known:
                raise ConfigError(f"{backend.label} has no setting {key!r}.{did_you_mean(key, known)} It has {', '.join(known)}")
            if key in secret_fields(backend.settings_type):
                raise ConfigError(f"{key!r} is a secret: set {variable_prefix(self.name)}{key.upper()}, so that nobody sees it")
        present = {name: getattr(self.settings, name) for name in self.settings.model_fields_set}
        try:
            return replace(self, settings=backend.settings_type.model_validate({**present, **given}))
        except ValidationError as error:
            raise ConfigError(f"{backend.label}: {explain(error, secret_fields(backend.settings_type))[1]}") from None


def place_name(backend: str, location: str | None) -> str:
    """Return the name of a target that is known by its address only."""
    digits = hashlib.sha256((location or "").encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{backend}-{digits}"


def resolve_location(backend: type[Backend], location: str | None, base: Path) -> str | None:
    """Return the location in full.

    Raises:
        ConfigError: it holds a password, or it is no place of this backend's.
    """
    if location is not None and location.startswith("~"):
        location = str(Path(location).expanduser())
    full = backend.resolve(location, base)
    if any(holds_password(text) for text in (location, full) if text is not None):  # where the backend itself has not refused it
        raise ConfigError(f"the location of {backend.label} holds a login, and locations are stored and shown: give it in the settings")
    return full


def secret_fields(settings: type[BackendSettings]) -> tuple[str, ...]:
    """Return the names of the settings that are secrets."""
    return tuple(name for name, info in settings.model_fields.items() if _mentions(info.annotation, SecretStr))


def vendor_variables(backend: type[Backend], key: str) -> tuple[str, ...]:
    """Return the vendor's own variables that say the same as a setting."""
    extra = backend.settings_type.model_fields[key].json_schema_extra if key in backend.settings_type.model_fields else None
    names = extra.get("env") if isinstance(extra, dict) else None
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def check_secret(target: str, key: str, backend: type[Backend], origin: Origin) -> None:
    """Refuse a secret where other people can read it.

    Raises:
        ConfigError: it stands in a project's file, or in a file of the user's that others may read.
    """
    from .files import readable_by_others

    if origin.file is None:
        return
    if not origin.file.personal:
        variables = " or ".join((variable_prefix(target) + key.upper(), *vendor_variables(backend, key)))
        raise ConfigError(f"{origin}: {key!r} is a secret, and a project's configuration is no place for one: set {variables} instead")
    if readable_by_others(origin.file.path):
        raise ConfigError(f"{origin}: {key!r} is a secret, and others may read this file: chmod 600 {origin.file.path}")


def takes_text(info: FieldInfo) -> bool:
    """Return whether a setting is a text, so that a variable's value is never read as JSON."""
    choices = get_args(info.annotation) if get_origin(info.annotation) in (Union, UnionType) else (info.annotation,)
    return any(choice in (str, SecretStr) for choice in choices)


def explain(error: ValidationError, secrets: tuple[str, ...]) -> tuple[str, str]:
    """Return the key and, in one line, the reason of the first of a settings model's complaints; a secret's value is never repeated."""
    first = error.errors(include_url=False)[0]
    loc = [str(part) for part in first["loc"]]
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:]
    key = loc[0] if loc else ""
    if first["type"] != "missing" and key and key not in secrets:
        reason += f", not {first['input']!r}"
    return key, f"{'.'.join(loc)}: {reason}" if loc else reason


def _validate(target: str, backend: type[Backend], values: Mapping[str, Any]) -> BackendSettings:
    try:
        return backend.settings_type.model_validate(values)
    except ValidationError as error:
        _, reason = explain(error, secret_fields(backend.settings_type))
        raise ConfigError(f"the settings of the target {target!r}, as saved, do not fit the {backend.label} backend: {reason}") from None


def _mentions(annotation: Any, kind: type) -> bool:
    return annotation is kind or any(_mentions(part, kind) for part in get_args(annotation))

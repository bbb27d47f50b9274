"""Third-party backends, as pip would leave them on disk: a module beside a `.dist-info` folder with an entry point."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multitrack import registry

SHELF = """
from multitrack.backend import Backend, BackendSettings, Capabilities
from multitrack.errors import ConfigError
from pydantic import Field, SecretStr


class ShelfSettings(BackendSettings):
    height: float = 1.5
    open: bool = False
    labels: list[str] = []
    note: str | None = None
    key: SecretStr | None = Field(default=None, json_schema_extra={"env": ["SHELF_KEY"]})


class ShelfBackend(Backend):
    name = "shelf"
    label = "Shelf"
    capabilities = Capabilities()
    settings_type = ShelfSettings

    @classmethod
    def resolve(cls, location, base):
        if location == "nowhere":
            raise ConfigError("shelf: nowhere is no place")
        if location is None:
            return "/default"
        return str(base / location) if location.startswith(".") else location

    def sink(self):
        raise NotImplementedError

    def source(self):
        raise NotImplementedError
"""
"""A backend with a setting of every type; relative locations start with a dot."""


def write_plugin(folder: Path, distribution: str, name: str, value: str, **modules: str) -> None:
    """Write a distribution, version 1.0, that registers `value` (`module:object`) as the backend `name`, and its modules."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[multitrack.backends]\n{name} = {value}\n")
    for module, code in modules.items():
        (folder / f"{module}.py").write_text(code)


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Put a folder of distributions on `sys.path`, and take it and its modules away again."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    _forget()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]
        _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    registry._find_entry_points.cache_clear()
    registry.find_backend.cache_clear()

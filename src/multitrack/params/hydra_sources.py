"""Where Hydra has the values of its config from: the command line, or one of its files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .given import COMMAND_LINE


def sources_of(values: Mapping[Any, Any], below: str) -> dict[str, Any]:
    """Return the sources of the values of a config, or of the part of one that stands at the key `below`; {} outside Hydra's main."""
    module = sys.modules.get("hydra.core.hydra_config")
    if module is None or not module.HydraConfig.initialized():
        return {}
    origin = _Origin(module.HydraConfig.get())
    return origin.of(values, tuple(below.split(".")) if below else ())


class _Origin:
    def __init__(self, hydra: Any) -> None:
        chosen = {group.partition("@")[0].replace("/", ".") for group in hydra.runtime.choices}
        # `db=mysql` chooses a file, and the values come from there.
        self._given = {_key(text) for text in hydra.overrides.task} - chosen
        self._files = list(_files(hydra))

    def of(self, values: Mapping[Any, Any], path: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in values.items():
            here = (*path, str(key))
            source: Any
            if any(".".join(here[:depth]) in self._given for depth in range(1, len(here) + 1)):
                source = COMMAND_LINE
            elif isinstance(value, Mapping) and value:
                source = self.of(value, here)
            else:
                source = next((f"file {file.shown}" for file in self._files if file.has(here)), None)
            if source:
                found[str(key)] = source
        return found


class _File:
    """One of the files that a config was put together from."""

    def __init__(self, path: Path, package: tuple[str, ...], folder: Path) -> None:
        self.package = package
        self.shown = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
        self._content = sys.modules["omegaconf"].OmegaConf.to_container(sys.modules["omegaconf"].OmegaConf.load(path), resolve=False)

    def has(self, path: tuple[str, ...]) -> bool:
        """Return whether the file says something at this place of the config."""
        inner = path[len(self.package) :] if path[: len(self.package)] == self.package else None
        return (inner is not None and self._holds(inner)) or self._holds(path)  # the latter, where it is of the package _global_

    def _holds(self, path: tuple[str, ...]) -> bool:
        content = self._content
        for key in path:
            named = {str(name): item for name, item in content.items()} if isinstance(content, dict) else {}
            if key not in named:
                return False
            content = named[key]
        return bool(path)


def _key(override: str) -> str:
    """Return the key of `+model.depth=3`, or the group of `model@left=big`."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".")


def _files(hydra: Any) -> list[_File]:
    """Return the files of the chosen groups, and the main one last: what a group says is the nearer source."""
    folders = [Path(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    chosen = [
        (f"{group.partition('@')[0]}/{choice}", tuple((group.partition("@")[2] or group).replace("/", ".").split(".")))
        for group, choice in hydra.runtime.choices.items()
        if isinstance(choice, str) and not group.startswith("hydra/")
    ]
    found = []
    for name, package in [*chosen, (hydra.job.config_name or "", ())]:
        for folder in folders:
            path = folder / f"{name.removesuffix('.yaml')}.yaml"
            if path.is_file():
                found.append(_File(path, package, Path(hydra.runtime.cwd)))
                break
    return found

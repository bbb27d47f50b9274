"""Versions, packages, and where settings come from."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..config import Settings, load_settings
from ..errors import ConfigError
from ..registry import backend_names, find_backend, install_line, not_installed
from .finding import Finding


def check_versions(settings: Settings | None) -> Iterator[Finding]:
    """Yield the versions of multitrack, Python, and what each backend builds on."""
    python = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding("installation", "multitrack", "ok", version("multitrack"))
    yield Finding("installation", "Python", "ok", f"{python} ({sys.executable})")
    targets = () if settings is None else settings.targets
    for name in backend_names():
        yield _check_backend(name, [target.location for target in targets if target.backend == name])


def _check_backend(name: str, places: Sequence[str | None]) -> Finding:
    """Return what of a backend's packages is there; `places` are the locations of it that targets use."""
    used = bool(places)
    try:
        cls = find_backend(name)
    except ConfigError as error:
        return Finding("installation", name, "fail" if used else "warn", str(error), "install it again, or uninstall it")
    needed = {module: None for place in places for module in cls.requires_for(place)} if used else cls.requires
    if missing := not_installed(needed):
        remedy = install_line(cls) or f"pip install {' '.join(missing)}"
        lacking = f"{', '.join(missing)} is not installed"
        # Nobody needs every extra: what no target uses is only told.
        return (
            Finding("installation", name, "fail", lacking, remedy) if used else Finding("installation", name, "ok", f"{lacking}: {remedy}")
        )
    return Finding("installation", name, "ok", ", ".join(_version_of(module) for module in needed) or "needs nothing more")


def _version_of(module: str) -> str:
    top = module.partition(".")[0]
    try:
        return f"{top} {version(top)}"
    except PackageNotFoundError:  # the distribution has another name than the module
        return f"{module} is installed"


def check_configuration(cwd: Path, env: Mapping[str, str], dir: Path | None) -> tuple[Settings | None, list[Finding]]:
    """Return the settings, None if they cannot be used, and where they come from."""
    try:
        # What is missing for a target is told with the target.
        settings = load_settings(cwd, env, mode="deferred", dir=dir)
        mode = load_settings(cwd, env, backends="local").mode
    except ConfigError as error:
        return None, [Finding("configuration", "settings", "fail", str(error), "correct it; `multitrack config` shows what holds")]
    files = [str(file.path) for file in settings.sources.files]
    variables = [name for name in sorted(env) if name.startswith("MULTITRACK_") and env[name]]
    backends = f"{', '.join(settings.backends)} (from {settings.origins['backends']})"
    found = [
        Finding("configuration", "files", "ok", ", ".join(files) or "none; nothing has to be configured"),
        Finding("configuration", "variables", "ok", ", ".join(variables) or "none"),
        Finding("configuration", "runs go to", "ok", backends),
        *(Finding("configuration", "variables", "warn", notice, "correct its name, or unset it") for notice in settings.notices),
    ]
    if mode == "disabled":
        remedy = "unset MULTITRACK_MODE, or take `mode` out of the configuration, to record again"
        found.append(Finding("configuration", "mode", "warn", "disabled: nothing is recorded", remedy))
    elif mode == "deferred":
        found.append(Finding("configuration", "mode", "ok", "deferred: runs stay here until `multitrack sync`"))
    return settings, found

"""What pip and uv need to build an environment again. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .base import Omission
from .environment import Environment, PackageSource


def requirements(environment: Environment) -> list[str]:
    """Return the distributions as pip and uv read them (PEP 508), sorted; without those that `not_rebuildable` names.

    `numpy==2.1.0`; `name @ git+https://host/repository@commit`; `name @ https://host/file.whl#sha256=...`.
    """
    lines = []
    for name, version in _sorted(environment):
        source = environment.sources.get(name)
        if source is None:
            lines.append(f"{name}=={version}")
        elif source.kind in ("vcs", "archive") and _reason(source) is None:
            lines.append(f"{name} @ {_location(source)}")
    return lines


def not_rebuildable(environment: Environment) -> list[Omission]:
    """Return the distributions that no index and no repository has as they were, each with the reason."""
    found = ((name, environment.sources.get(name)) for name, _ in _sorted(environment))
    return [Omission(name=name, reason=reason) for name, source in found if source is not None and (reason := _reason(source))]


def _sorted(environment: Environment) -> Iterator[tuple[str, str]]:
    yield from sorted(environment.packages.items(), key=lambda item: (item[0].lower(), item[0]))


def _reason(source: PackageSource) -> str | None:
    if source.kind == "editable":
        at = f", at commit {source.commit}" if source.commit else ""
        return f"editable, in {source.url}{at}"
    if source.kind == "local":
        return f"installed from {source.url}"
    if source.kind == "vcs" and not (source.commit and source.vcs):
        return f"installed from {source.url}, and the commit was not noted"
    return None


def _location(source: PackageSource) -> str:
    marks = [source.digest] if source.digest and source.kind == "archive" else []
    marks += [f"subdirectory={source.subdirectory}"] if source.subdirectory else []
    fragment = "#" + "&".join(marks) if marks else ""
    if source.kind == "archive":
        return source.url + fragment
    return f"{source.vcs}+{source.url}@{source.commit}{fragment}"

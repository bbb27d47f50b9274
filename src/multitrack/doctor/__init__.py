"""Whether multitrack can work here: looks at everything that it depends on, and says what to do about what is wrong.

finding.py   what a look finds      installation.py   versions and configuration
services.py  the targets            storage.py        the local store, and what is still to deliver
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from .finding import Finding, Level
from .installation import check_configuration, check_versions
from .services import check_services
from .storage import check_deliveries, check_store

__all__ = ["Finding", "Level", "examine"]


def examine(cwd: Path, env: Mapping[str, str], *, dir: Path | None = None, deep: bool = False, timeout: float = 30.0) -> Iterator[Finding]:
    """Yield what there is to say, section by section. Raises nothing of its own accord: what fails is a finding.

    Args:
        cwd, env: the working folder and the variables that the configuration is taken from.
        dir: the local store, if it is not the usual one.
        deep: whether every record of the store is read.
        timeout: seconds that a service has to answer; all are asked at the same time.
    """
    settings, found = check_configuration(cwd, env, dir)
    yield from check_versions(settings)
    yield from found
    if settings is None:
        return
    yield from check_services(settings, env, timeout)
    yield from check_store(settings, deep=deep)
    yield from check_deliveries(settings)

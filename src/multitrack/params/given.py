"""Settings, and where they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Given(NamedTuple):
    """Settings as a library holds them."""

    values: Any
    """A mapping; of a part, a list as well. What is in it is not converted yet."""
    sources: Mapping[str, Any] = {}
    """Name to source, nested as the values are; what is not known is left out."""


DEFAULT = "default"
COMMAND_LINE = "command line"
ENVIRONMENT = "environment"
MISSING = "missing"
"""Of a value that is still to be given, such as OmegaConf's `???`."""


@dataclass(frozen=True)
class Form:
    """One way in which programs hold settings."""

    module: str | None
    """Unless it is loaded, nothing has this form; None: always looked for."""
    is_one: Callable[[Any], bool]
    read: Callable[[Any], Given]

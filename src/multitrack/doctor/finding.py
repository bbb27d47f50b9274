"""What a look finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]
Section = Literal["installation", "configuration", "targets", "store", "deliveries"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    section: Section
    subject: str
    level: Level
    text: str
    remedy: str | None = None
    """What to do, as an order; None where all is well."""

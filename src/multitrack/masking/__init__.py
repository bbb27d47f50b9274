"""What looks like a credential is masked before it is written. Pure; docs/secrets.md says what is looked for, and where."""

from __future__ import annotations

from .lines import LineMask
from .mask import Mask
from .shapes import MASKED
from .urls import strip_credentials

__all__ = ["MASKED", "LineMask", "Mask", "strip_credentials"]

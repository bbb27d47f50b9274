"""What could not be had again as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

Part = Literal["code", "data", "environment", "command"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One thing that is missing or not as it was."""

    part: Part
    text: str
    blocks: bool = True
    """Whether the run is not to be repeated as long as nobody has allowed it. Otherwise it is only worth knowing."""

    def __str__(self) -> str:
        return f"{self.part}: {self.text}"

    def to_json(self) -> dict[str, Any]:
        """Return it in terms of JSON."""
        return {"part": self.part, "text": self.text, "blocks": self.blocks}

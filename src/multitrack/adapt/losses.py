"""What a service cannot hold as it is, in words: each loss is named, counted and added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that does not arrive as it was."""

    kind: str
    """A word for programs: `name`, `point_type`, `step`, ..."""
    subject: str
    """What it is about: `metric 'acc'`."""
    detail: str
    """What happens to it, for people: `ints stand as floats`."""
    count: int = 1

    def __str__(self) -> str:
        """Return one line: `metric 'acc': ints stand as floats (12 times)`."""
        return f"{self.subject}: {self.detail}" + (f" ({self.count:,} times)" if self.count > 1 else "")


class Losses:
    """Losses, added up by kind and subject; the first one's detail speaks for all."""

    def __init__(self, losses: Iterable[Loss] = ()) -> None:
        self._losses: dict[tuple[str, str], Loss] = {}
        self.extend(losses)

    def add(self, loss: Loss) -> None:
        """Count a loss."""
        key = (loss.kind, loss.subject)
        known = self._losses.get(key)
        self._losses[key] = loss if known is None else replace(known, count=known.count + loss.count)

    def extend(self, losses: Iterable[Loss]) -> None:
        """Count several losses, or those of another `Losses`."""
        for loss in losses:
            self.add(loss)

    def __iter__(self) -> Iterator[Loss]:
        return iter(self._losses.values())

    def __len__(self) -> int:
        return len(self._losses)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Losses) and self._losses == other._losses

    __hash__ = None  # type: ignore[assignment]

    def lines(self) -> list[str]:
        """Return a line a loss, sorted."""
        return sorted(map(str, self))

    def to_json(self) -> list[dict[str, Any]]:
        """Return the losses in terms of JSON. Texts may hold lone surrogates, which `json` writes and orjson does not."""
        return [{"kind": loss.kind, "subject": loss.subject, "detail": loss.detail, "count": loss.count} for loss in self]

    @classmethod
    def from_json(cls, losses: Sequence[Mapping[str, Any]]) -> Self:
        """Return what `to_json` was given."""
        return cls(Loss(**loss) for loss in losses)

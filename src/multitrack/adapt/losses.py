"""What a service cannot hold as it is, in words: each loss is named, counted and added up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
        self._details: dict[tuple[str, str], str] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self.extend(losses)

    def add(self, kind: str, subject: str, detail: str, count: int = 1) -> None:
        """Count a loss; see `Loss` for the words."""
        key = (kind, subject)
        self._details.setdefault(key, detail)
        self._counts[key] = self._counts.get(key, 0) + count

    def extend(self, losses: Iterable[Loss]) -> None:
        """Count several losses, or those of another `Losses`."""
        for loss in losses:
            self.add(loss.kind, loss.subject, loss.detail, loss.count)

    def __iter__(self) -> Iterator[Loss]:
        return (Loss(*key, detail, self._counts[key]) for key, detail in self._details.items())

    def __len__(self) -> int:
        return len(self._details)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Losses) and self._details == other._details and self._counts == other._counts

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


def resolution_text(microseconds: int) -> str:
    """Return a resolution in words: `millisecond`, `second`, else `full 10 us`."""
    return {1: "microsecond", 1000: "millisecond", 1_000_000: "second"}.get(microseconds, f"full {microseconds:,} us")

"""`run.summary`: single results of the whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from .records import Record, Summary
from .values import new_record, to_name, to_point


class RunSummary(MutableMapping[str, Any]):
    """`run.summary["best"] = 0.97`: single results of the whole run. Reading gives back what this process has set."""

    def __init__(self, write: Callable[[Record], None]) -> None:
        self._write = write
        self._values: dict[str, Any] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, values: Any = (), /, **more: Any) -> None:
        """Set several at once, in one record.

        Raises:
            TypeError, ValueError: as `Run.log`; nothing was written.
        """
        fresh = {to_name(name): to_point(name, value) for name, value in {**dict(values), **more}.items()}
        if fresh:
            self._write(new_record(Summary, values=fresh))
            self._values.update(fresh)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __delitem__(self, name: str) -> None:
        raise TypeError("a summary value cannot be taken back; set another one")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

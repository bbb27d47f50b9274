"""A run that multitrack had written to a server, and that neptune-exporter brought back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from multitrack.errors import PermanentError

from .. import names
from ..offline.files import Kept
from ..offline.replay import Block, Key
from ..own import OwnRun
from .files import locate
from .heads import Head, opened
from .series import Mend, Series


class OwnExportRun(OwnRun):
    """One run, whole.

    Args:
        head: the run, with all its single attributes.
        mend: sets the times of its series right.
    """

    def __init__(self, head: Head, mend: Mend | None) -> None:
        self._head = head
        self._series = Series(head.attributes, mend)
        self.native_id = head.attributes.run
        self.project = head.attributes.project

    def fingerprint(self) -> object:
        return self._head.fingerprint

    def paths(self) -> Iterable[str]:
        return [path for path, kind in self._head.attributes.values if kind == "file"]

    def file(self, path: str) -> Kept | None:
        value = self._head.attributes.get(path, "file")
        if value is None:
            return None
        try:
            return Kept(path, locate(self._head.files.files_folder, value))
        except PermanentError as error:
            return Kept(path, lost=str(error))

    def blocks(self, types: Sequence[str]) -> Iterator[Block]:
        with opened(self._head.readable) as parts:
            for kind in types:
                counts: Counter[str] = Counter()
                for path, at, times, values in self._series.columns(parts, kind):
                    if path.startswith(names.STEPS) or not path.startswith(names.WRITTEN):
                        steps = [0 if step is None else step for step in at]
                        yield Block(Key(path, kind), counts[path], steps, times, values)
                        counts[path] += len(times)


def is_own(head: Head) -> bool:
    """Return whether multitrack wrote a run, as far as a listing has read it."""
    return head.attributes.text(names.RUN_ID) is not None

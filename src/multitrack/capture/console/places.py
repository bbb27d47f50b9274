"""What came from one place, as text of its streams."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from .streams import Separation, Stream


class Split:
    """Bytes to text: UTF-8, whatever else there is kept as lone surrogates; and by streams where the place is shared."""

    def __init__(self, streams: Sequence[Stream], separation: Separation | None = None) -> None:
        self.streams = streams
        self.separation = separation
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("surrogateescape") for name in streams}

    def text(self, data: bytes) -> list[tuple[Stream, str]]:
        """Return the next piece."""
        parts = self.separation.split(data) if self.separation is not None else [(self.streams[0], data)]
        return [(name, self._decoders[name].decode(part)) for name, part in parts]

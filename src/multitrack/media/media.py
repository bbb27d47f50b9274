"""What images, tables and figures have in common: content, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..records.media_names import MediaKind


class Media:
    """A file that is a metric's point. The content is complete when the object is made: logging it cannot fail on it any more.

    Attributes:
        data: the file's content.
        media_type, suffix: what it is, as `image/png` and `png`.
        metadata: what is said about it besides, in terms of JSON.
    """

    kind: ClassVar[MediaKind]

    def __init__(self, data: bytes, media_type: str, suffix: str, metadata: Mapping[str, Any] | None = None) -> None:
        self.data = data
        self.media_type = media_type
        self.suffix = suffix
        self.metadata = dict(metadata or {})

    def save(self, path: str | Path) -> Path:
        """Write the content to a file, and return its path."""
        file = Path(path)
        file.write_bytes(self.data)
        return file

    def __repr__(self) -> str:
        return f"<multitrack.{type(self).__name__} {self.media_type}, {len(self.data):,} bytes>"


def comes_from(value: Any, package: str) -> bool:
    """Return whether the value's class, or one that it derives from, is that package's. Imports nothing."""
    return any(cls.__module__.partition(".")[0] == package for cls in type(value).__mro__)

"""What everything that captures writes to: the run's journal, and the settings that bound it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..journal import RunFolder, store_file
from ..journal.blobs import store_bytes
from ..masking import Mask
from ..records import Artifact, ArtifactRef, Record, now


@dataclass(frozen=True)
class Recorder:
    """One run's journal, as its captures see it."""

    folder: RunFolder
    write: Callable[[Record], None]
    """Never raises; after the run's end it raises ValueError."""
    mask: Mask
    host: str | None = None
    """Of the process that leads the run."""
    rank: int | None = None
    """Of this process where a launcher has started several, else None."""
    joined: bool = False
    """Whether another process leads the run."""
    code_limit: int = 25_000_000
    """Bytes of diff and files that are kept."""
    system_interval: float = 10.0
    """Seconds."""
    console: Literal["auto", "python"] = "auto"
    """How printed output is got at: see the setting."""
    environment_variables: Sequence[str] = ()
    """Names of variables that are recorded besides those that multitrack knows."""

    def keep(
        self,
        content: Path | bytes,
        name: str,
        *,
        type: str | None = None,
        media_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> ArtifactRef:
        """Record a file of the run, and return the reference to it.

        Raises:
            OSError: the file cannot be read, or the disk refuses.
        """
        if isinstance(content, Path):
            sha256, size = store_file(content, self.folder.artifacts)
        else:
            sha256, size = hashlib.sha256(content).hexdigest(), len(content)
            store_bytes(content, sha256, self.folder.artifacts)
        self.write(
            Artifact(time=now(), name=name, sha256=sha256, size=size, type=type, media_type=media_type, metadata=dict(metadata or {}))
        )
        return ArtifactRef(name=name, sha256=sha256, media_type=media_type)

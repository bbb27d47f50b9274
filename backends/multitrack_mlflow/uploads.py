"""Files on their way to MLflow, whose client names an upload after the local file."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath


class Uploads:
    """A private folder where content stands under its artifact's file name for as long as it is uploaded. Threads may share one."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._lock = threading.Lock()

    @contextmanager
    def named(self, name: str, content: Path | bytes) -> Iterator[tuple[str, str | None]]:
        """Give (local file, artifact folder or None) for the artifact `name`. A file is linked to, not copied."""
        with self._lock:
            self._folder = self._folder or Path(tempfile.mkdtemp(prefix="multitrack-mlflow-"))
        path = PurePosixPath(name)
        own = Path(tempfile.mkdtemp(dir=self._folder))
        local = own / path.name
        try:
            if isinstance(content, bytes):
                local.write_bytes(content)
            else:
                local.symlink_to(content.absolute())
            yield str(local), None if path.parent == PurePosixPath() else str(path.parent)
        finally:
            shutil.rmtree(own, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

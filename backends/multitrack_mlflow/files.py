"""The files of runs and logged models, wherever MLflow keeps them: listed whole, fetched one by one, never in silence another's content.

A folder on this machine is read as it is. A server's files come through its own route, with names quoted, which MLflow's client
does not do. Any other store (S3, GCS, Azure, DBFS, what a plugin brings) is MLflow's own artifact repository.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from multitrack.errors import PermanentError, TransientError

from .client import translated

PROXIED = "mlflow-artifacts:"
_BLOCK = 1 << 20
_UPLOADING = ".artifact.uploading."
"""MLflow: the beginning of the name of a file that is being uploaded; one that was broken off stays."""


class File(NamedTuple):
    """A file in a folder."""

    path: str
    """Relative to the folder, with forward slashes."""
    size: int | None
    """Bytes."""


class Folder(Protocol):
    """A run's or a model's files."""

    def walk(self) -> Iterator[File]:
        """Yield every file below the folder, sorted within each folder."""

    def fetch(self, path: str, size: int | None, to: Path) -> None:
        """Write a file's content to `to`; `size` is the one listed.

        Raises:
            PermanentError: the file is gone, or the store cannot be asked for a file of this name.
            TransientError: what came has another size.
        """


def open_folder(uri: str, tracking_uri: str, artifacts: str | None) -> Folder:
    """Return the folder at an artifact URI.

    Args:
        uri: as the run or the model has it.
        tracking_uri: the client's, with the login that it needs.
        artifacts: the target's setting of that name: where a server that is read through its database keeps its artifacts.

    Raises:
        PermanentError: only a server can tell where the files are, and none is at hand.
    """
    is_web = tracking_uri.startswith(("http://", "https://"))
    if uri.startswith(PROXIED) and not is_web:
        if artifacts is None:
            raise PermanentError(
                f"the files at {uri} are kept by a tracking server: read it at its http address, or name the server's "
                "--artifacts-destination in the target's setting `artifacts`"
            )
        uri = f"{artifacts.rstrip('/')}/{uri.removeprefix(PROXIED).partition('?')[0].lstrip('/')}"
    if "://" not in uri and not uri.startswith(("file:", PROXIED, "dbfs:")):
        return LocalFolder(Path(uri))
    with translated(f"opening {uri.partition('?')[0]}"):
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
        from mlflow.utils.file_utils import local_file_uri_to_path
        from mlflow.utils.uri import add_databricks_profile_info_to_artifact_uri

        if uri.startswith("file:"):
            return LocalFolder(Path(local_file_uri_to_path(uri)))
        uri = add_databricks_profile_info_to_artifact_uri(uri, tracking_uri)
        repository = get_artifact_repository(uri, tracking_uri=tracking_uri)
    return ServerFolder(repository.artifact_uri) if isinstance(repository, HttpArtifactRepository) else StoreFolder(repository)


class LocalFolder:
    """A folder on this machine, or mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def walk(self) -> Iterator[File]:
        """Yield every file; links are followed, once round a loop at most."""
        with translated(f"listing {self._root}"):
            yield from self._below("", frozenset())

    def _below(self, prefix: str, above: frozenset[str]) -> Iterator[File]:
        folder = self._root / prefix
        real = os.path.realpath(folder)
        if real in above or not folder.is_dir():
            return
        for entry in sorted(os.scandir(folder), key=lambda e: e.name):
            if entry.is_dir():
                yield from self._below(f"{prefix}{entry.name}/", above | {real})
            elif entry.is_file() and not entry.name.startswith(_UPLOADING):
                yield File(prefix + entry.name, entry.stat().st_size)

    def fetch(self, path: str, size: int | None, to: Path) -> None:
        """Copy a file."""
        parts = path.split("/")
        if path.startswith("/") or ".." in parts:
            raise PermanentError(f"{path!r} does not lie in the run's folder")
        with translated(f"fetching {path!r}"):
            shutil.copyfile(self._root.joinpath(*parts), to)
        _check_size(path, size, to)


class ServerFolder:
    """A folder behind a tracking server that serves artifacts."""

    _ROUTE = "/mlflow-artifacts/artifacts"

    def __init__(self, url: str) -> None:
        self._base, _, root = url.partition(self._ROUTE)
        self._root = root.strip("/")

    def walk(self) -> Iterator[File]:
        """Yield every file, with one request a folder."""
        yield from self._below("")

    def _below(self, prefix: str) -> Iterator[File]:
        path = f"{self._root}/{prefix}".rstrip("/")
        with translated(f"listing {prefix or 'the artifacts'}"):
            self._check_name(path)
            found = self._get(self._ROUTE, params={"path": path}).json().get("files", [])
        for entry in sorted(found, key=lambda e: str(e["path"])):
            name = prefix + entry["path"]
            if entry.get("is_dir"):
                yield from self._below(f"{name}/")
            elif not PurePosixPath(name).name.startswith(_UPLOADING):
                yield File(name, int(entry.get("file_size", 0)))

    def fetch(self, path: str, size: int | None, to: Path) -> None:
        """Stream a file."""
        with translated(f"fetching {path!r}"):
            self._check_name(f"{self._root}/{path}")
            with (
                self._get(f"{self._ROUTE}/{quote(f'{self._root}/{path}')}", stream=True) as answer,
                to.open("wb") as file,
            ):
                for block in answer.iter_content(_BLOCK):
                    file.write(block)
        _check_size(path, size, to)

    def _get(self, endpoint: str, **options: Any) -> Any:
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import augmented_raise_for_status, http_request

        answer = http_request(get_default_host_creds(self._base), endpoint, "GET", **options)
        augmented_raise_for_status(answer)
        return answer

    @staticmethod
    def _check_name(path: str) -> None:
        """Refuse a path that the server takes for another. MLflow: a server decodes paths until they stay the same, and refuses `#`."""
        from mlflow.exceptions import MlflowException
        from mlflow.utils.uri import validate_path_is_safe

        try:
            kept = validate_path_is_safe(path) == path
        except (MlflowException, ValueError):
            kept = False
        if not kept:
            raise PermanentError(
                f"MLflow's server cannot be asked for {path!r}, because of a character like # or % in it; read the run through the "
                "server's database, with its --artifacts-destination in the target's setting `artifacts`"
            )


class StoreFolder:
    """A folder in a store that MLflow reaches."""

    def __init__(self, repository: Any) -> None:
        self._repository = repository

    def walk(self) -> Iterator[File]:
        """Yield every file, with one request a folder."""
        yield from self._below(None)

    def _below(self, path: str | None) -> Iterator[File]:
        with translated(f"listing {path or 'the artifacts'}"):
            found = sorted(self._repository.list_artifacts(path), key=lambda info: str(info.path))
        for info in found:
            if info.is_dir:
                yield from self._below(info.path)
            elif not PurePosixPath(info.path).name.startswith(_UPLOADING):
                yield File(info.path, info.file_size)

    def fetch(self, path: str, size: int | None, to: Path) -> None:
        """Download a file beside `to`, then move it there."""
        with tempfile.TemporaryDirectory(dir=to.parent) as folder, translated(f"fetching {path!r}"):
            Path(self._repository.download_artifacts(path, dst_path=folder)).replace(to)
        _check_size(path, size, to)


def _check_size(path: str, size: int | None, to: Path) -> None:
    came = to.stat().st_size
    if size is not None and came != size:
        to.unlink()
        raise TransientError(f"fetching {path!r}: {came} bytes came instead of {size}; was it being written?")

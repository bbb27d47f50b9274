"""Data that DVC tracks: its `.dvc` files and `dvc.lock` say which version it is, whether it is here or not. DVC is not needed.

An entry of either has `path`, `md5` (of a folder with `.dir` at its end), `size`, `nfiles`, and, from DVC 3 on, `hash: md5`; what
older versions wrote is the MD5 of text files with their line ends made LF, so it is not the file's own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..records import Omission
from .files import Listing, describe_files, list_data, relative_to
from .found import Entry, Found, Inquiry
from .hashing import hash_files

MD5 = "md5"
MD5_FOLDER = "dvc-md5"
"""DVC's digest of a folder: MD5 of the JSON list of its files."""
MD5_TEXT = "md5-dos2unix"
"""What DVC wrote before version 3."""
_ELSEWHERE = "the data is not here: `dvc pull` fetches it"


@dataclass(frozen=True)
class Tracked:
    """One output, as DVC recorded it."""

    path: Path
    """Where the data belongs. Absolute."""
    digest: str
    algorithm: str
    size: int | None


def find_tracked(place: str) -> Tracked | None:
    """Return what DVC knows of a path: of data, or of a `.dvc` file.

    Raises:
        ImportError: PyYAML is not installed.
        ValueError: DVC's file cannot be read.
    """
    path = Path(os.path.abspath(place))  # noqa: PTH100
    if path.suffix == ".dvc" and path.is_file():
        return next(_outputs(path), None)
    beside = path.with_name(path.name + ".dvc")
    candidates = [beside] if beside.is_file() else _locks_above(path)
    return next((found for file in candidates for found in _outputs(file) if found.path == path), None)


def describe_tracked(tracked: Tracked, inquiry: Inquiry) -> Found:
    """Say what the data is: by its content where it is here, else by what DVC recorded."""
    version = f"md5:{tracked.digest}"
    if tracked.path.exists() and inquiry.read is not False:
        listing = list_data(str(tracked.path))
        found = describe_files(listing, inquiry)
        if tracked.algorithm == MD5_TEXT or content_digest(listing, inquiry)[0] == tracked.digest:
            return replace(found, version=version)
        changed = Omission(name="version", reason=f"DVC has {version}, and the data was changed since")
        return replace(found, omitted=[*found.omitted, changed])
    return Found(
        uri=tracked.path.as_uri(),
        path=relative_to(tracked.path, inquiry.root),
        source_type="local",
        digest=tracked.digest,
        algorithm=tracked.algorithm,
        version=version,
        size=tracked.size,
        omitted=[] if tracked.path.exists() else [Omission(name="content", reason=_ELSEWHERE)],
    )


def content_digest(listing: Listing, inquiry: Inquiry) -> tuple[str | None, str]:
    """Return the digest that DVC would record of this data, and of which kind it is."""
    done = hash_files(listing.files, cache=inquiry.cache, progress=inquiry.progress, algorithm="md5", pointers=False)
    if listing.is_file:
        return done[0].digest, MD5
    return folder_digest(Entry(file.path, file.size, file.digest) for file in done), MD5_FOLDER


def folder_digest(files: Iterable[Entry]) -> str:
    """Return DVC's digest of a folder, from the MD5 of each file."""
    listed = sorted(({"md5": file.digest, "relpath": file.path} for file in files), key=lambda item: str(item["relpath"]))
    return f"{hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest()}.dir"


def _locks_above(path: Path) -> Iterator[Path]:
    for folder in path.parents:
        if (lock := folder / "dvc.lock").is_file():
            yield lock
        if (folder / ".dvc").is_dir() or (folder / ".git").exists():
            return


def _outputs(file: Path) -> Iterator[Tracked]:
    content = _load(file)
    stages = content.get("stages")
    places = [content] if not isinstance(stages, Mapping) else [stage for stage in stages.values() if isinstance(stage, Mapping)]
    for place in places:
        for output in place.get("outs") or ():
            if isinstance(output, Mapping) and output.get("path") and output.get("md5"):
                yield _tracked(file.parent / str(place.get("wdir") or "."), output)


def _tracked(folder: Path, output: Mapping[str, Any]) -> Tracked:
    digest, size = str(output["md5"]), output.get("size")
    algorithm = MD5_FOLDER if digest.endswith(".dir") else MD5 if output.get("hash") == "md5" else MD5_TEXT
    path = Path(os.path.normpath(folder / str(output["path"])))
    return Tracked(path, digest, algorithm, size if isinstance(size, int) else None)


def _load(file: Path) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError:
        raise ImportError(f"PyYAML is not installed, so {file.name} cannot be read: pip install 'multitrack[data]'") from None
    try:
        content = yaml.load(file.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    return content if isinstance(content, Mapping) else {}

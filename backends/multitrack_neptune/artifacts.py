"""Neptune's artifacts, which are lists of files that lie elsewhere, as data versions. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from multitrack.records import DataFile, DataVersion, Microseconds, Omission

from . import names
from .requirements import without_login

MOST_FILES = 10_000
"""Files that a record lists; the whole list is an artifact of the run."""
_TYPES = {"Local": "local", "S3": "s3"}


def data_version(path: str, content: bytes, time: Microseconds) -> DataVersion:
    """Return the data that an artifact's `files_list.json` tells of.

    Raises:
        ValueError: it is no such list.
    """
    try:
        files = [_file(entry) for entry in json.loads(content)]
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no list of files: {error}") from None
    kinds = {entry["kind"] for entry in files}
    listed = [DataFile(path=entry["path"], size=entry["size"], digest=entry["hash"]) for entry in files[:MOST_FILES]]
    more = len(files) - len(listed)
    return DataVersion(
        time=time,
        name=path,
        uri=_common_place(files),
        source_type=_TYPES.get(kind := kinds.pop(), kind.lower()) if len(kinds) == 1 else None,
        digest=_digest(files),
        algorithm=names.DATA_DIGEST,
        size=sum(entry["size"] for entry in files),
        files=listed,
        omitted=[Omission(name="files", reason=f"{more:,} more stand in {path}/{names.FILES_LIST}")] if more else [],
    )


def _file(entry: dict[str, Any]) -> dict[str, Any]:
    metadata = {item["key"]: item["value"] for item in entry.get("metadata") or ()}
    return {
        "path": str(entry["filePath"]),
        "size": int(entry.get("size") or 0),
        "hash": entry.get("fileHash"),
        "kind": str(entry.get("type") or ""),
        "place": metadata.get("file_path") or metadata.get("location"),
    }


def _digest(files: list[dict[str, Any]]) -> str:
    whole = hashlib.sha256()
    for path, entry in sorted(((entry["path"].encode("utf-8", "surrogatepass"), entry) for entry in files), key=lambda item: item[0]):
        whole.update(f"{entry['hash'] or '-'} {entry['size']} ".encode() + path + b"\0")
    return whole.hexdigest()


def _common_place(files: list[dict[str, Any]]) -> str | None:
    """Return the folder that the paths of all files are relative to; of a single file its own place."""
    if len(files) == 1:
        return without_login(files[0]["place"]) if files[0]["place"] else None
    folders = {
        entry["place"].removesuffix(entry["path"]).rstrip("/") if entry["place"] and entry["place"].endswith("/" + entry["path"]) else None
        for entry in files
    }
    folder = folders.pop() if len(folders) == 1 else None
    return without_login(folder) if folder else None

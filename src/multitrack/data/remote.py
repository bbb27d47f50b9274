"""Data at a URL, by fsspec: what the place itself tells, or, where that is asked for, what its content says."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from ..records import Omission
from .digest import FILE, TREE, tree_digest
from .found import Entry, Found, Inquiry
from .hashing import hash_stream
from .places import safe_url, scheme_of

PATIENCE = 60.0
"""Seconds within which a service must have said what lies there. Reading has no such limit."""
_AT_A_TIME = 8
"""Files that are read at the same time."""
_MAGIC = frozenset("*[")
"""`?` begins a query at some places."""
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created", "Last-Modified")

T = TypeVar("T")


def describe_url(url: str, inquiry: Inquiry) -> Found:
    """Say what lies at a URL; what the place refuses is the `failure`."""
    place = Found(uri=safe_url(url, inquiry.mask), source_type=scheme_of(url))
    try:
        system, infos, base = _within(PATIENCE, lambda: _look(url, inquiry.storage_options))
        return _read(system, infos, base, place, inquiry) if inquiry.read else _told(infos, base, place)
    except Exception as error:  # noqa: BLE001 - each kind of place has errors of its own
        return replace(place, failure=inquiry.mask.text(f"{type(error).__name__}: {error}".replace(url, place.uri or "")))


def _look(url: str, options: Mapping[str, Any]) -> tuple[Any, list[Mapping[str, Any]], str | None]:
    """Return the file system, what is known of each file, and the folder that they lie in; None if it is one file."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ImportError("fsspec is not installed: pip install 'multitrack[data]'") from None
    system, path = url_to_fs(url, **options)
    if _MAGIC & set(path) and "http" not in str(system.protocol):
        found = system.glob(path, detail=True)
        base = path[: min(path.index(sign) for sign in _MAGIC if sign in path)].rpartition("/")[0]
    else:
        info = system.info(path)
        if info.get("type") != "directory":
            return system, [{**info, "name": path}], None
        found, base = system.find(path, detail=True), system._strip_protocol(path)
    infos = [info for info in found.values() if info.get("type") != "directory"]
    if not infos:
        raise FileNotFoundError("there is no file")
    return system, infos, base


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """Return the answer, or give up: a thread that hangs is left behind, and keeps nothing from ending."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that asked
            errors.append(error)

    thread = threading.Thread(target=run, name="multitrack-data", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return answers[0]


def _told(infos: Sequence[Mapping[str, Any]], base: str | None, place: Found) -> Found:
    tokens = [_token(info) for info in infos]
    size = sum(int(info.get("size") or 0) for info in infos)
    if base is None:
        algorithm, digest = tokens[0]
        size_there = infos[0].get("size")
        size_known = None if size_there is None else int(size_there)
        return replace(place, digest=digest, algorithm=algorithm, size=size_known, version=_version(infos[0]))
    files = [Entry(_inner(info["name"], base), int(info.get("size") or 0), token) for info, (_, token) in zip(infos, tokens, strict=True)]
    words = sorted({algorithm or "none" for algorithm, _ in tokens})
    return replace(place, digest=tree_digest(files), algorithm=f"{'+'.join(words)}-tree", size=size, files=_sorted(files))


def _token(info: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return what stands for a file's content at its place, the strongest first, and what it is: `md5`, `etag`, `modified`."""
    md5 = info.get("md5Hash") or (info.get("content_settings") or {}).get("content_md5")
    if md5:
        return "md5", _to_hex(md5)
    if etag := info.get("ETag") or info.get("etag"):
        return "etag", str(etag).strip('"')
    for name in ("sha256", "checksum", "blob_id", "generation", "crc32c"):
        if info.get(name):
            return name, str(info[name])
    if (lfs := info.get("lfs")) and (oid := lfs.get("sha256") if isinstance(lfs, Mapping) else getattr(lfs, "sha256", None)):
        return "sha256", str(oid)
    for name in _TIMES:
        if (moment := info.get(name)) is not None:
            return "modified", moment.isoformat() if isinstance(moment, datetime) else str(moment)
    return None, None


def _to_hex(md5: Any) -> str:
    if isinstance(md5, bytes | bytearray):
        return bytes(md5).hex()
    try:
        return base64.b64decode(md5, validate=True).hex()
    except ValueError:
        return str(md5)


def _version(info: Mapping[str, Any]) -> str | None:
    version = info.get("VersionId") or info.get("version_id") or info.get("generation")
    return None if version in (None, "null") else str(version)


def _read(system: Any, infos: Sequence[Mapping[str, Any]], base: str | None, place: Found, inquiry: Inquiry) -> Found:
    inquiry.progress.expect(sum(int(info.get("size") or 0) for info in infos))

    def hash_one(info: Mapping[str, Any]) -> Entry | Omission:
        name = "." if base is None else _inner(info["name"], base)
        digest = hashlib.sha256()
        try:
            with system.open(info["name"], "rb") as stream:
                size = hash_stream(stream, digest, inquiry.progress)
        except Exception as error:  # noqa: BLE001 - whatever one file's place answers, the others are read
            return Omission(name=name, reason=inquiry.mask.text(f"{type(error).__name__}: {error}"))
        return Entry(name, size, digest.hexdigest())

    with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="multitrack-hash") as pool:
        try:
            done = list(pool.map(hash_one, infos))
        except BaseException:  # Ctrl-C
            inquiry.progress.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    files = _sorted(entry for entry in done if isinstance(entry, Entry))
    omitted = [omission for omission in done if isinstance(omission, Omission)]
    failure = f"{len(omitted):,} of {len(done):,} files could not be read: {omitted[0].reason}" if omitted else None
    size = sum(file.size for file in files)
    place = replace(place, size=size, omitted=omitted, failure=failure)
    if failure:
        return replace(place, files=files)
    if base is None:
        return replace(place, digest=files[0].digest, algorithm=FILE, version=_version(infos[0]))
    return replace(place, digest=tree_digest(files), algorithm=TREE, files=files)


def _sorted(files: Any) -> list[Entry]:
    return sorted(files, key=lambda file: file.path)


def _inner(name: str, base: str) -> str:
    return name.removeprefix(base).lstrip("/")

"""From data to a record in a run's journal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from ..capture.recorder import Recorder
from ..config.files import walk_up
from ..messages import say
from ..records import CaptureFailed, DataFile, DataVersion, Omission, from_wire, now, to_wire
from .describe import Describe, find
from .found import Entry, Found, Inquiry
from .places import is_url, safe_url
from .progress import ReadingProgress

MOST_FILES = 1_000
"""More than these are listed in a file of the run beside the record."""


def record_data(recorder: Recorder | None, given: DataVersion, data: Any, *, read: bool | None = None, storage_options: Any = None) -> None:
    """Describe data, and write what is known of it into a run's journal.

    Args:
        recorder: of the run; None for a run that records nothing: then only the arguments are looked at.
        given: what the user says of it, which counts for more than what is found.
        data: see `Run.log_data`; None where what is given is all there is.
        read: whether the content is read and hashed; None: local data is.
        storage_options: what fsspec needs to get in.

    Raises:
        FileNotFoundError: it names local files that are not there. Nothing was written.
        TypeError: it is nothing that can be described. Nothing was written.
    """
    try:
        describe = find(data) if data is not None else _nothing
    except (FileNotFoundError, TypeError) as error:
        raise type(error)(f"data set {given.name!r}: {error}") from None
    if recorder is None:
        return
    if given.uri is not None and is_url(given.uri):
        given = given.model_copy(update={"uri": safe_url(given.uri, recorder.mask)})
    inquiry = Inquiry(
        read=False if read is None and given.digest is not None else read,
        root=project_root(Path.cwd()),
        storage_options=storage_options or {},
        mask=recorder.mask,
        progress=ReadingProgress(f"data set {given.name!r}"),
    )
    found = _describe(describe, inquiry)
    record = combine(given, found)
    if len(found.files) > MOST_FILES:
        record = _with_list(recorder, record, found.files)
    recorder.write(record)
    if found.failure is not None and given.digest is None:
        _tell(recorder, given.name, found.failure)


def _nothing(_: Inquiry) -> Found:
    return Found()


def _describe(describe: Describe, inquiry: Inquiry) -> Found:
    try:
        return describe(inquiry)
    except Exception as error:  # noqa: BLE001 - an unreachable disk or service must not end the training
        return Found(failure=inquiry.mask.text(f"{type(error).__name__}: {error}"))
    finally:
        inquiry.progress.close()


def combine(given: DataVersion, found: Found) -> DataVersion:
    """Return the record: what was given, completed by what was found."""
    fields: dict[str, Any] = {
        name: getattr(found, name)
        for name in ("uri", "path", "source_type", "version", "size", "rows", "data_schema", "profile")
        if getattr(given, name) is None
    }
    if given.digest is None:
        fields |= {"digest": found.digest, "algorithm": found.algorithm}
    omitted = list(found.omitted)
    if found.failure is not None and found.digest is None and given.digest is None:
        omitted.append(Omission(name="digest", reason=found.failure))
    if len(found.files) <= MOST_FILES:
        fields["files"] = [DataFile(**file._asdict()) for file in _listed(found.files)]
    more: dict[str, Any] = {"columns": list(found.columns), "selected": list(found.selected), "omitted": omitted}
    more["tags"] = {**found.tags, **given.tags}
    return given.model_copy(update={**fields, **more})


def _listed(files: Sequence[Entry]) -> list[Entry]:
    """Return the files as the record has them: without those that could not be read, which it names elsewhere."""
    read = any(file.digest is not None for file in files)
    return [file for file in files if file.digest is not None or not read]


def _with_list(recorder: Recorder, record: DataVersion, files: Sequence[Entry]) -> DataVersion:
    stem = re.sub(r"[^\w.-]+", "_", record.name, flags=re.ASCII).strip("._")[:80] or "data"
    name = f"data/{stem}-{(record.digest or 'unread')[:8]}.files.jsonl"
    try:
        reference = recorder.keep(write_files(_listed(files)), name, type="data", media_type="application/jsonl")
    except OSError as error:  # the disk refuses
        omission = Omission(name="files", reason=error.strerror or str(error))
        return record.model_copy(update={"omitted": [*record.omitted, omission]})
    return record.model_copy(update={"file_list": reference})


def write_files(files: Iterable[Entry]) -> bytes:
    """Return the content of a list of files: one JSON object a line."""
    return b"".join(orjson.dumps(to_wire(file._asdict())) + b"\n" for file in files)


def read_files(content: bytes) -> list[DataFile]:
    """Return the files that such a list names.

    Raises:
        ValueError: it is no such list.
    """
    return [DataFile.model_validate(from_wire(orjson.loads(line)), extra="ignore") for line in content.splitlines()]


def _tell(recorder: Recorder, name: str, reason: str) -> None:
    recorder.write(CaptureFailed(time=now(), what=f"data {name}", error=reason))
    if (name, reason) not in _told:
        _told.add((name, reason))
        say(f"data set {name!r} is not recorded in full: {reason}")


_told: set[tuple[str, str]] = set()
"""What was said already in this process."""


def project_root(cwd: Path) -> Path:
    """Return the root of the repository that a folder lies in; the folder itself if it lies in none."""
    return next((folder for folder in walk_up(cwd) if (folder / ".git").exists()), cwd)

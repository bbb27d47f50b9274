"""Files that make a W&B artifact together: its record in a transaction log, with the manifest that says what is in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2 as pb

from multitrack.records import Artifact

from . import names
from .encode import Bundle

_METADATA_KEYS = 100
"""W&B: at most so many."""
_RESERVED_TYPES = re.compile(r"job$|wandb-")


def artifact_name(text: str) -> str:
    """Return a name for an artifact, or a type of artifacts, that W&B takes: itself, else `<clean>-<hash8>`.

    W&B: letters, digits, `.`, `_` and `-`, up to 128.
    """
    clean = re.sub(r"[^A-Za-z0-9._-]", "_", text)
    if clean == text and 0 < len(text) <= names.ARTIFACT_NAME_LENGTH:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{clean[: names.ARTIFACT_NAME_LENGTH - 9]}-{digest}"


def artifact_type(text: str) -> str:
    """Return the type as W&B takes it; `job` and `wandb-...` are its own."""
    name = artifact_name(text)
    return f"multitrack-{name}" if _RESERVED_TYPES.match(name) else name


def artifact_record(bundle: Bundle, run: pb.RunRecord, content: Callable[[Artifact], Path], name: str | None = None) -> pb.Record:
    """Return the record of an artifact.

    Args:
        run: whose it is, with its entity and project.
        content: finds the file that holds a member's content. It must stay until the upload has ended.
        name: what it is called there; made of the bundle's if left out.
    """
    record = pb.Record()
    artifact = record.artifact
    artifact.run_id, artifact.project, artifact.entity = run.run_id, run.project, run.entity
    artifact.name = name or artifact_name(bundle.name)
    artifact.type = artifact_type(bundle.type)
    artifact.aliases.append("latest")
    artifact.finalize = True
    artifact.client_id, artifact.sequence_client_id = secrets.token_hex(64), secrets.token_hex(64)
    artifact.metadata = json.dumps(_metadata(bundle))
    artifact.manifest.version = 1
    artifact.manifest.storage_policy = "wandb-storage-policy-v1"
    artifact.manifest.storage_policy_config.add(key="storageLayout", value_json='"V2"')
    members = {_path(bundle, member): member for _, member in bundle.members}
    for path, member in sorted(members.items()):
        entry = artifact.manifest.contents.add(path=path, skip_cache=True)
        if member.sha256 is None:
            entry.ref = member.uri or ""
            entry.digest = entry.ref
            entry.size = member.size or 0
        else:
            file = content(member)
            entry.local_path = str(file)
            entry.size = file.stat().st_size
            entry.digest = _md5(file)
    artifact.digest = manifest_digest({entry.path: entry.digest for entry in artifact.manifest.contents})
    return record


def manifest_digest(digests: Mapping[str, str]) -> str:
    """Return the digest that W&B knows a version by: of its files' paths and digests."""
    text = "wandb-artifact-manifest-v1\n" + "".join(f"{path}:{digest}\n" for path, digest in sorted(digests.items()))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _path(bundle: Bundle, member: Artifact) -> str:
    """Return where a member lies in its artifact: below the part of its name that is the artifact's."""
    return member.name.removeprefix(f"{bundle.name}/")


def _metadata(bundle: Bundle) -> dict[str, Any]:
    if len(bundle.members) == 1:
        told = dict(bundle.members[0][1].metadata or {})
    else:
        told = {_path(bundle, member): member.metadata for _, member in bundle.members if member.metadata}
    return dict(list(told.items())[:_METADATA_KEYS])


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
    return base64.b64encode(digest.digest()).decode()

"""Artifacts that a run has logged or used at the service, as records. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from multitrack.records import Artifact, DataVersion, Microseconds

from .artifacts import artifact_name, artifact_type
from .nodes import microseconds

_OWN_TYPES = ("job", "run_table")
"""W&B's own: what a job is made of, and tables that are run files as well."""
_OWN_PREFIX = "wandb-"
DIGEST = "wandb-manifest"
"""How W&B's digests are computed: the MD5 of the names and digests of the files."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an artifact."""

    id: str
    name: str
    """Of the collection of its versions."""
    type: str
    version: str
    """`v3`"""
    path: str
    """`entity/project/name:v3`"""
    digest: str
    size: int | None
    created: Microseconds | None
    aliases: tuple[str, ...]
    metadata: Mapping[str, Any]


def version_of(node: Mapping[str, Any]) -> Version:
    """Return a version as the service describes it."""
    sequence = node["artifactSequence"]
    project = sequence["project"] or {}
    number = f"v{node['versionIndex']}"
    owner = "/".join(part for part in ((project.get("entity") or {}).get("name"), project.get("name")) if part)
    metadata = json.loads(node["metadata"] or "{}")
    return Version(
        id=node["id"],
        name=sequence["name"],
        type=node["artifactType"]["name"],
        version=number,
        path=f"{owner}/{sequence['name']}:{number}",
        digest=node["digest"],
        size=None if node["size"] is None else int(node["size"]),
        created=microseconds(node["createdAt"]),
        aliases=tuple(alias["alias"] for alias in node["aliases"] or ()),
        metadata=metadata if isinstance(metadata, Mapping) else {},
    )


def folders(versions: Iterable[Version], described: Iterable[Artifact] = ()) -> dict[str, Version]:
    """Return the versions that become records, by the names that their files begin with.

    The latest of a collection has the collection's name, an earlier one `name:v3`. W&B's own are left out, and those that
    multitrack has made of the files that a description tells: these are run files, too.
    """
    ours = {(artifact_name(one.name.partition("/")[0]), artifact_type(_type(one))) for one in described}
    found: dict[str, Version] = {}
    for version in versions:
        if version.type in _OWN_TYPES or version.type.startswith(_OWN_PREFIX) or (version.name, version.type) in ours:
            continue
        before = found.pop(version.name, None)
        newest, older = version, before
        if before is not None and _number(before) > _number(version):
            newest, older = before, version
        found[version.name] = newest
        if older is not None:
            found[f"{older.name}:{older.version}"] = older
    return found


def files(folder: str, version: Version, manifest: Mapping[str, Mapping[str, Any]], at: Microseconds) -> Iterator[Artifact]:
    """Yield the files, and the references, of a version."""
    details: dict[str, Any] = {
        "time": version.created or at,
        "type": version.type,
        "metadata": {**version.metadata, "wandb": {"version": version.version, "digest": version.digest, "aliases": list(version.aliases)}},
    }
    for path, entry in sorted(manifest.items()):
        reference = entry.get("ref")
        size = entry.get("size")
        yield Artifact(name=f"{folder}/{path}", uri=reference or None, size=None if reference else size, **details)


def data_version(version: Version, at: Microseconds) -> DataVersion:
    """Return a version that the run has used."""
    return DataVersion(
        time=at,
        name=version.name,
        role=version.type,
        uri=f"wandb-artifact://{version.path}",
        source_type="wandb",
        digest=version.digest,
        algorithm=DIGEST,
        version=version.version,
        size=version.size,
    )


def _type(artifact: Artifact) -> str:
    return artifact.type or ("reference" if artifact.uri is not None else "file")


def _number(version: Version) -> int:
    digits = version.version.removeprefix("v")
    return int(digits) if digits.isdigit() else -1

"""The fields of the GraphQL schema, read from and written to the state.

A resolver is found by `Type.field`; without one, a field is the item or attribute of its own name, or of its name in snake case.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphql import GraphQLResolveInfo

from .state import CONSOLE, EVENTS, HISTORY, Artifact, ArtifactCollection, Project, RefusedError, Run, State, StoredFile

RESOLVERS: dict[str, Callable[..., Any]] = {}


def resolves(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(double, source, **arguments)` for fields."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        RESOLVERS.update(dict.fromkeys(names, function))
        return function

    return register


def resolve_field(source: Any, info: GraphQLResolveInfo, **arguments: Any) -> Any:
    """Return a field's value."""
    resolver = RESOLVERS.get(f"{info.parent_type.name}.{info.field_name}")
    if resolver is not None:
        return resolver(info.context, source, **arguments)
    if isinstance(source, Mapping):
        return source.get(info.field_name)
    return getattr(source, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", info.field_name).lower(), None)


def connection(items: Sequence[Any], first: int | None = None, after: str | None = None) -> dict[str, Any]:
    """Return a page of a connection; cursors are places."""
    start = int(after) + 1 if after else 0
    end = len(items) if first is None else min(start + first, len(items))
    edges = [{"node": items[place], "cursor": str(place)} for place in range(start, end)]
    page = {"hasNextPage": end < len(items), "endCursor": str(end - 1) if end > start else None}
    return {"edges": edges, "pageInfo": page, "totalCount": len(items)}


# -- who and where --------------------------------------------------------------------------------------------------------


@resolves("Query.viewer")
def _viewer(double: Any, _: Any) -> dict[str, Any]:
    return {
        "id": "VXNlcjox", "entity": "tester", "username": "tester", "name": "Tester", "email": "tester@example.org", "admin": False,
        "flags": "{}", "teams": {"edges": [{"node": {"name": name}} for name in sorted(double.state.entities)]},
    }  # fmt: skip


@resolves("Query.serverInfo")
def _server_info(double: Any, _: Any) -> dict[str, Any]:
    return {
        "cliVersionInfo": {"min_cli_version": "0.10.0", "max_cli_version": "1.0.0"},
        "features": [{"name": name, "isEnabled": True} for name in sorted(double.state.features)],
    }


@resolves("Query.entity")
def _entity(double: Any, _: Any, name: str | None = None) -> dict[str, Any] | None:
    known = double.state.entities | double.state.foreign_entities
    name = name or "tester"
    return {"id": f"entity:{name}", "name": name, "organization": None} if name in known else None


@resolves("Query.organization")
def _organization(_: Any, __: Any, name: str | None = None) -> None:
    del name


# -- projects and runs ------------------------------------------------------------------------------------------------------


@resolves("Query.project", "Query.model")
def _project(double: Any, _: Any, name: str | None = None, entityName: str | None = None) -> Project | None:  # noqa: N803 - the schema's
    state: State = double.state
    return state.find_project(state.entity(entityName), name)


@resolves("Project.entityName")
def _entity_name(_: Any, project: Project) -> str:
    return project.entity


@resolves("Project.entity")
def _project_entity(_: Any, project: Project) -> dict[str, Any]:
    return {"id": f"entity:{project.entity}", "name": project.entity}


@resolves("Project.internalId")
def _internal_id(_: Any, project: Project) -> str:
    return project.id


@resolves("Project.bucket", "Project.run")
def _run(_: Any, project: Project, name: str, missingOk: bool | None = None) -> Run | None:  # noqa: N803 - the schema's
    run = project.runs.get(name)
    if run is None and missingOk is False:
        raise RefusedError(404, f"run {name} not found")
    return run


@resolves("Run.config")
def _config(_: Any, run: Run) -> str:
    return json.dumps(run.config)


@resolves("Run.wandbConfig")
def _wandb_config(_: Any, run: Run, keys: Sequence[str] | None = None) -> str:
    own = run.config.get("_wandb", {}).get("value", {})
    return json.dumps({key: own[key] for key in own if keys is None or key in keys})


@resolves("Run.summaryMetrics")
def _summary(_: Any, run: Run) -> str:
    return json.dumps(run.summary)


_FIELDS = {
    "group": "groupName", "jobType": "jobType", "commit": "commit", "repo": "jobRepo", "notes": "notes", "host": "host",
    "program": "jobProgram", "sweepName": "sweep", "description": "description",
}  # fmt: skip
for _name, _key in _FIELDS.items():
    RESOLVERS[f"Run.{_name}"] = lambda _double, run, key=_key: run.fields.get(key)


def _count_of(name: str) -> Callable[[Any, Run], int]:
    return lambda _double, run: len(run.lines[name])


RESOLVERS |= {
    "Run.historyLineCount": _count_of(HISTORY),
    "Run.eventsLineCount": _count_of(EVENTS),
    "Run.logLineCount": _count_of(CONSOLE),
    "Run.historyTail": lambda _, run: json.dumps(run.lines[HISTORY][-1:]),
    "Run.eventsTail": lambda _, run: json.dumps(run.lines[EVENTS][-1:]),
    "Run.createdAt": lambda _, run: run.created_at.isoformat(),
    "Run.heartbeatAt": lambda _, run: run.heartbeat_at.isoformat(),
    "Run.readOnly": lambda _, __: False,
    "Run.stopped": lambda _, __: False,
    "Run.user": _viewer,
    "Run.fileCount": lambda _, run: len(run.files),
}


@resolves("Run.events")
def _events(double: Any, run: Run, samples: int | None = None) -> list[str]:
    lines = run.lines[EVENTS]
    return lines[:: max(-(-len(lines) // min(samples or 500, double.state.rows_at_most)), 1)]


@resolves("Mutation.upsertBucket")
def _upsert_bucket(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    run, inserted = double.state.upsert(input)
    return {"bucket": run, "inserted": inserted}


@resolves("Mutation.deleteRun")
def _delete_run(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    double.state.delete_run(input["id"])
    return {"success": True}


# -- files ------------------------------------------------------------------------------------------------------------------


def _named_run(double: Any, given: Mapping[str, Any]) -> Run:
    run = double.state.the_run(given["entityName"], given["projectName"], given["runName"])
    assert isinstance(run, Run)
    return run


@resolves("Mutation.createRunFiles")
def _create_run_files(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    run = _named_run(double, input)
    return {"runID": run.id, "uploadHeaders": [], "files": double.state.announce_run_files(run, input["files"])}


@resolves("Mutation.markRunFilesUploaded")
def _mark_uploaded(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    run = _named_run(double, input)
    return {"success": all(name in run.files for name in input["files"])}


@resolves("Run.files")
def _run_files(
    _: Any, run: Run, names: Sequence[str] | None = None, after: str | None = None, first: int | None = None, pattern: str | None = None,
    upload: bool | None = None,
) -> dict[str, Any]:  # fmt: skip
    del upload
    like = re.compile(".*".join(map(re.escape, pattern.split("%"))) + "$") if pattern else None
    files = [
        file
        for file in sorted(run.files.values(), key=lambda file: file.name)
        if file.content is not None and (not names or file.name in names) and (like is None or like.match(file.name))
    ]
    return connection(files, first if first is not None else 100, after)


RESOLVERS |= {
    "File.id": lambda _, file: f"file:{file.key}",
    "File.sizeBytes": lambda _, file: len(file.content or b""),
    "File.md5": lambda _, file: _md5(file),
    "File.digest": lambda _, file: _md5(file),
    "File.updatedAt": lambda _, file: file.updated_at.isoformat() if file.updated_at else None,
    "File.mimetype": lambda _, __: None,
    "File.url": lambda double, file, upload=None: double.url_of(file),
    "File.directUrl": lambda double, file: double.url_of(file),
    "File.uploadUrl": lambda double, file: None if isinstance(file, _Known) else double.url_of(file),
    "File.uploadHeaders": lambda _, __: [],
    "File.storagePath": lambda _, file: f"storage/{file.key}",
    "File.artifact": lambda _, file: getattr(file, "artifact", None),
}


def _md5(file: StoredFile) -> str | None:
    from .state import md5_of

    return None if file.content is None else md5_of(file.content)


class _Known(StoredFile):
    """A file whose content is there already: there is nothing to upload."""


# -- artifacts ----------------------------------------------------------------------------------------------------------------

RESERVED_TYPES = ("job", "wandb-")


@resolves("Mutation.createArtifact")
def _create_artifact(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    state: State = double.state
    run = state.the_run(input["entityName"], input["projectName"], input["runName"]) if input.get("runName") else None
    project = run.project if run is not None else state.find_project(state.entity(input["entityName"]), input["projectName"])
    name, type_ = input.get("artifactCollectionName") or "", input["artifactTypeName"]
    if project is None:
        raise RefusedError(404, f"project {input['projectName']} not found")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", name):
        raise RefusedError(400, f"invalid artifact name {name!r}")
    if not type_ or len(type_) > 128 or type_ == "job" or (type_.startswith("wandb-") and type_ != "wandb-history"):
        raise RefusedError(400, f"invalid artifact type {type_!r}")
    metadata = json.loads(input.get("metadata") or "{}")
    if not isinstance(metadata, dict) or len(metadata) > 100:
        raise RefusedError(400, "metadata: at most 100 keys of an object")
    collection = project.collections.setdefault(name, ArtifactCollection(state.new_id("ArtifactCollection"), name, type_, project))
    if collection.type != type_:
        raise RefusedError(409, f"artifact {name} already exists with type {collection.type}; cannot create it with type {type_}")
    aliases = [item["alias"] for item in input.get("aliases") or ()]
    for alias in aliases:
        if not alias or "/" in alias or ":" in alias or re.fullmatch(r"v\d+", alias):
            raise RefusedError(400, f"invalid alias {alias!r}")
    known = next((version for version in collection.versions if version.digest == input["digest"]), None)
    if known is not None and input.get("enableDigestDeduplication"):
        _give_aliases(known, aliases)
        _put_out(run, known)
        artifact = known
    else:
        artifact = Artifact(
            state.new_id("Artifact"), collection, project, input["digest"], run, input.get("description"), input.get("metadata"), aliases,
            [tag["tagName"] for tag in input.get("tags") or ()],
        )  # fmt: skip
        state.artifacts[artifact.id] = artifact
    if input.get("clientID"):
        state.client_ids[input["clientID"]] = artifact.id
    return {"artifact": artifact}


def _give_aliases(artifact: Artifact, aliases: Sequence[str]) -> None:
    """Give a version aliases; another one that has them loses them."""
    for version in artifact.collection.versions:
        if version is not artifact:
            version.aliases = [alias for alias in version.aliases if alias not in aliases]
    artifact.aliases = sorted({*artifact.aliases, *aliases})


def _put_out(run: Run | None, artifact: Artifact) -> None:
    if run is not None and artifact not in run.outputs:
        run.outputs.append(artifact)


@resolves("Mutation.createArtifactManifest")
def _create_manifest(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    state: State = double.state
    artifact = _the_artifact(double, input["artifactID"])
    artifact.manifest_id = artifact.manifest_id or state.new_id("ArtifactManifest")
    artifact.manifest = state.announce(input["name"])
    return {"artifactManifest": {"id": artifact.manifest_id, "digest": input["digest"], "file": artifact.manifest}}


@resolves("Mutation.updateArtifactManifest")
def _update_manifest(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    for artifact in double.state.artifacts.values():
        if artifact.manifest_id == input["artifactManifestID"]:
            artifact.manifest = double.state.announce("wandb_manifest.json")
            return {"artifactManifest": {"id": artifact.manifest_id, "digest": input.get("digest"), "file": artifact.manifest}}
    raise RefusedError(404, "manifest not found")


@resolves("Mutation.createArtifactFiles")
def _create_artifact_files(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    files = []
    for given in input["artifactFiles"]:
        artifact = _the_artifact(double, given["artifactID"])
        file = artifact.files[given["name"]] = double.state.announce(given["name"], md5=given["md5"])
        file.artifact = artifact
        files.append(file)
    return {"files": connection(files)}


@resolves("Mutation.commitArtifact")
def _commit_artifact(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    artifact = _the_artifact(double, input["artifactID"])
    entries = artifact.entries()
    for name, entry in entries.items():
        if "ref" in entry:
            continue
        file = artifact.files.get(name)
        if file is None or file.content is None:
            raise RefusedError(400, f"artifact {artifact.collection.name}: the content of {name} is missing")
    if (digest := manifest_digest({name: entry["digest"] for name, entry in entries.items()})) != artifact.digest:
        raise RefusedError(400, f"artifact {artifact.collection.name}: its digest is {digest}, not {artifact.digest}")
    if artifact.state != "COMMITTED":
        artifact.state = "COMMITTED"
        artifact.version = len(artifact.collection.versions)
        artifact.collection.versions.append(artifact)
        _give_aliases(artifact, artifact.aliases)
        _put_out(artifact.run, artifact)
    return {"artifact": artifact}


@resolves("Mutation.useArtifact")
def _use_artifact(double: Any, _: Any, input: Mapping[str, Any]) -> dict[str, Any]:
    run, artifact = _named_run(double, input), _the_artifact(double, input["artifactID"])
    if artifact not in run.inputs:
        run.inputs.append(artifact)
    return {"artifact": artifact}


def manifest_digest(digests: Mapping[str, str]) -> str:
    """Return the digest by which a version is known, of its files' paths and digests."""
    text = "wandb-artifact-manifest-v1\n" + "".join(f"{name}:{digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _the_artifact(double: Any, artifact_id: str) -> Artifact:
    artifact = double.state.artifacts.get(artifact_id)
    if artifact is None:
        raise RefusedError(404, f"artifact {artifact_id} not found")
    assert isinstance(artifact, Artifact)
    return artifact


@resolves("Query.artifact")
def _artifact(double: Any, _: Any, id: str) -> Artifact | None:
    found = double.state.artifacts.get(id)
    assert found is None or isinstance(found, Artifact)
    return found


@resolves("Query.clientIDMapping")
def _client_id(double: Any, _: Any, clientID: str) -> dict[str, str] | None:  # noqa: N803
    found = double.state.client_ids.get(clientID)
    return None if found is None else {"serverID": found}


@resolves("Run.outputArtifacts")
def _outputs(_: Any, run: Run, after: str | None = None, first: int | None = None) -> dict[str, Any]:
    return connection(run.outputs, first, after)


@resolves("Run.inputArtifacts")
def _inputs(_: Any, run: Run, after: str | None = None, first: int | None = None) -> dict[str, Any]:
    return connection(run.inputs, first, after)


@resolves("Artifact.files")
def _artifact_files(_: Any, artifact: Artifact, after: str | None = None, first: int | None = None) -> dict[str, Any]:
    return connection([file for _, file in sorted(artifact.files.items())], first, after)


@resolves("Artifact.currentManifest")
def _current_manifest(_: Any, artifact: Artifact) -> dict[str, Any] | None:
    return None if artifact.manifest is None else {"id": artifact.manifest_id, "digest": artifact.digest, "file": artifact.manifest}


@resolves("Artifact.aliases")
def _aliases(_: Any, artifact: Artifact) -> list[dict[str, Any]]:
    return [
        {"id": f"{artifact.id}:{alias}", "alias": alias, "artifactCollectionName": artifact.collection.name, "artifactCollection": None}
        for alias in artifact.aliases
    ]


@resolves("ArtifactSequence.latestArtifact")
def _latest(_: Any, collection: ArtifactCollection) -> Artifact | None:
    return collection.versions[-1] if collection.versions else None


RESOLVERS |= {
    "Project.artifactCollection": lambda _, project, name: project.collections.get(name),
    "ArtifactSequence.defaultArtifactType": lambda _, collection: {"name": collection.type},
    "Artifact.artifactType": lambda _, artifact: {"name": artifact.collection.type},
    "Artifact.artifactSequence": lambda _, artifact: artifact.collection,
    "Artifact.versionIndex": lambda _, artifact: artifact.version,
    "Artifact.createdAt": lambda _, artifact: artifact.created_at.isoformat(),
    "Artifact.createdBy": lambda _, artifact: artifact.run,
    "Artifact.size": lambda _, artifact: sum(len(file.content or b"") for file in artifact.files.values()),
    "Artifact.fileCount": lambda _, artifact: len(artifact.entries()),
    "Artifact.tags": lambda _, artifact: [{"id": tag, "name": tag} for tag in artifact.tags],
}

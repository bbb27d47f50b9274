"""A server that speaks Neptune's 1.x protocol, on the loopback interface: enough for the real client to write, fetch and `neptune sync`.

It is strict: what the real server refuses (a type that changes, a path that is a leaf and a folder, an int beyond 32 bits, NaN, a step
that is not above the last one, a text that is too long) is refused here, and whatever it does not know is an error.
"""

from __future__ import annotations

import base64
import json
import math
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

# -- the specification that the client reads: operation -> (method, query parameters, headers, body, definition of the answer)

BACKEND = {
    "getClientConfig": ("get", ["alpha"], ["X-Neptune-Api-Token"], None, "Config"),
    "exchangeApiToken": ("get", [], ["X-Neptune-Api-Token"], None, "Tokens"),
    "getProject": ("get", ["projectIdentifier"], [], None, "Project"),
    "listProjects": (
        "get",
        ["limit", "organizationIdentifier", "searchTerm", "sortBy", "sortDirection", "userRelation"],
        [],
        None,
        "Projects",
    ),
    "listOrganizations": ("get", [], [], None, "Workspaces"),
}
SERIES = ["experimentId", "attribute", "limit", "offset"]
LEADERBOARD = {
    "createExperiment": ("post", [], ["X-Neptune-CliVersion"], "experimentCreationParams", "Experiment"),
    "getExperiment": ("get", ["experimentId"], [], None, "Experiment"),
    "getExperimentAttributes": ("get", ["experimentId"], [], None, "Attributes"),
    "executeOperations": ("post", ["experimentId"], [], "operations", "Errors"),
    "ping": ("post", ["experimentId"], [], None, None),
    "fileAtomUpload": ("post", ["experimentIdentifier", "attribute", "ext"], [], None, None),
    "fileAtomMultipartUploadStart": ("post", ["experimentIdentifier", "attribute", "ext", "totalLength"], [], None, "Upload"),
    "fileAtomMultipartUploadPart": ("post", ["experimentIdentifier", "attribute", "uploadId", "uploadPartIdx"], [], None, None),
    "fileAtomMultipartUploadFinish": ("post", ["experimentIdentifier", "attribute", "uploadId"], [], None, "Upload"),
    "searchLeaderboardEntries": ("post", ["projectIdentifier", "type"], [], "params", None),
    "searchLeaderboardAttributes": ("post", ["projectIdentifier", "search", "type"], [], "params", None),
    "getFloatSeriesValues": ("get", SERIES, [], None, "FloatValues"),
    "getStringSeriesValues": ("get", SERIES, [], None, "StringValues"),
    "downloadAttribute": ("get", ["experimentId", "attribute"], [], None, None),
}
VALUE_TYPES = {"float": "number", "int": "integer", "bool": "boolean", "string": "string", "datetime": "date-time"}
POINTS = {"timestampMillis": "integer", "step": "number"}
DEFINITIONS: dict[str, dict[str, Any]] = {
    "Config": {"apiUrl": "string", "applicationUrl": "string", "pyLibVersions": "Versions", "sysNameSetByBackend": "boolean"},
    "Versions": {"minRecommendedVersion": "string", "minCompatibleVersion": "string", "maxCompatibleVersion": "string"},
    "Tokens": {"accessToken": "string", "refreshToken": "string", "username": "string"},
    "Project": {"id": "string", "name": "string", "organizationName": "string", "projectKey": "string", "version": "integer"},
    "Projects": {"entries": ["Project"]},
    "Workspace": {"id": "string", "name": "string"},
    "Experiment": dict.fromkeys(("id", "type", "shortId", "organizationName", "projectName"), "string") | {"trashed": "boolean"},
    "Error": {"errorDescription": "string"},
    "Upload": {"uploadId": "string", "errors": ["Error"]},
    "Attributes": {"attributes": ["Attribute"]},
    "Attribute": {"name": "string", "type": "string"}
    | {f"{kind}Properties": f"{kind}Value" for kind in (*VALUE_TYPES, "stringSet", "floatSeries", "stringSeries", "file")},
    **{f"{kind}Value": {"value": shape} for kind, shape in VALUE_TYPES.items()},
    "stringSetValue": {"values": ["string"]},
    "floatSeriesValue": {"last": "number"},
    "stringSeriesValue": {"last": "string"},
    "fileValue": {"ext": "string", "size": "integer"},
    "FloatValues": {"totalItemCount": "integer", "values": ["FloatPoint"]},
    "StringValues": {"totalItemCount": "integer", "values": ["StringPoint"]},
    "FloatPoint": {**POINTS, "value": "number"},
    "StringPoint": {**POINTS, "value": "string"},
}
LISTS = {"Errors": ["Error"], "Workspaces": ["Workspace"]}
PLAIN = {"string", "number", "integer", "boolean"}
ASSIGN = {"assignFloat": "float", "assignInt": "int", "assignBool": "bool", "assignString": "string", "assignDatetime": "datetime"}
LOG = {"logFloats": "floatSeries", "logStrings": "stringSeries"}
CLEAR = {"clearFloatSeries": "floatSeries", "clearStringSeries": "stringSeries"}


def shape(kind: Any) -> dict[str, Any]:
    if isinstance(kind, list):
        return {"type": "array", "items": shape(kind[0])}
    if isinstance(kind, dict):
        return {"type": "object", "properties": {name: shape(inner) for name, inner in kind.items()}}
    if kind == "date-time":
        return {"type": "string", "format": kind}
    return {"type": kind} if kind in PLAIN else {"$ref": f"#/definitions/{kind}"}


def specification(api: str, operations: dict[str, Any], host: str) -> dict[str, Any]:
    paths = {}
    for name, (method, query, headers, body, answer) in operations.items():
        many = {"type": "array", "items": {"type": "string"}, "collectionFormat": "multi"}
        parameters = [{"name": one, "in": "query", **(many if one.startswith(("type", "sort")) else {"type": "string"})} for one in query]
        parameters += [{"name": one, "in": "header", "type": "string"} for one in headers]
        parameters += [{"name": body, "in": "body", "schema": {}}] if body else []
        schema = {"schema": shape(LISTS.get(answer, answer))} if answer else {"schema": {}}
        paths[f"/api/{api}/v1/{name}"] = {
            method: {"operationId": name, "tags": ["api"], "parameters": parameters, "responses": {"200": {"description": "", **schema}}}
        }
    definitions = {name: shape(inner) for name, inner in DEFINITIONS.items()}
    return {
        "swagger": "2.0",
        "info": {"title": api, "version": "1"},
        "host": host,
        "schemes": ["http"],
        "paths": paths,
        "definitions": definitions,
    }


class RefusedError(Exception):
    """An answer with a status of 400 or more."""

    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.status = status


@dataclass
class Run:
    """One run, as the server has it."""

    id: str
    project: str
    number: int
    custom_id: str | None
    attributes: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """Type and value: of series a list of (step, milliseconds, value), of files (extension, content)."""

    @property
    def short_id(self) -> str:
        return f"RUN-{self.number}"

    def take(self, path: str, kind: str, start: Any) -> Any:
        """Return the value of the attribute; one that is not there is made. Raises ValueError where its type is another."""
        if path not in self.attributes:
            parts = path.split("/")
            if "" in parts or len(path) > 1024:
                raise RefusedError(400, f"path {path!r}")
            folders = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
            if folders & self.attributes.keys() or any(other.startswith(f"{path}/") for other in self.attributes):
                raise ValueError(f"{path}: an attribute and a namespace")
            self.attributes[path] = (kind, start)
        if self.attributes[path][0] != kind:
            raise ValueError(f"{path}: is {self.attributes[path][0]}, not {kind}")
        return self.attributes[path][1]

    def execute(self, path: str, kind: str, body: dict[str, Any]) -> None:
        """Do one operation."""
        if kind in ASSIGN:
            value = body["valueMilliseconds"] if kind == "assignDatetime" else body["value"]
            check_value(ASSIGN[kind], value)
            self.take(path, ASSIGN[kind], None)
            self.attributes[path] = (ASSIGN[kind], value)
        elif kind in LOG:
            points = self.take(path, LOG[kind], [])
            for entry in body["entries"]:
                check_point(kind, entry)
                step = entry["step"] if entry["step"] is not None else (points[-1][0] + 1 if points else 0)
                if points and step <= points[-1][0]:
                    raise ValueError(f"{path}: step {step} is not above {points[-1][0]}")
                points.append((step, entry["timestampMilliseconds"], entry["value"]))
        elif kind in CLEAR:
            self.take(path, CLEAR[kind], []).clear()
        elif kind in {"insertStrings", "removeStrings", "clearStringSet"}:
            values = self.take(path, "stringSet", set())
            changed = values | set(body["values"]) if kind == "insertStrings" else values - set(body.get("values", values))
            self.attributes[path] = ("stringSet", changed)
        elif kind == "deleteAttribute":
            if self.attributes.pop(path, None) is None:
                raise ValueError(f"{path}: no such attribute")
        else:
            raise RefusedError(400, f"operation {kind}")


def check_value(kind: str, value: Any) -> None:
    wanted = {"float": (int, float), "int": int, "bool": bool, "string": str, "datetime": int}[kind]
    is_wrong = not isinstance(value, wanted) or (kind != "bool" and isinstance(value, bool))
    if is_wrong or (kind == "int" and not -(2**31) <= value < 2**31) or (kind == "float" and not math.isfinite(value)):
        raise RefusedError(400, f"{value!r} is no {kind}")
    if kind == "string" and len(value) > 16_384:
        raise RefusedError(400, "a text of more than 16384 characters")


def check_point(kind: str, entry: dict[str, Any]) -> None:
    value, step = entry["value"], entry["step"]
    check_value("float" if kind == "logFloats" else "string", value)
    if isinstance(value, str) and len(value) > 1000:
        raise RefusedError(400, "a point of more than 1000 characters")
    if type(entry["timestampMilliseconds"]) is not int or (step is not None and not -(10**12) < step < 10**12):
        raise RefusedError(400, f"time or step of {entry!r}")


def api_token(url: str) -> str:
    """Return the API token of a double at this address."""
    told = {"api_address": url, "api_url": url, "api_key": "a-key-of-the-double"}
    return base64.b64encode(json.dumps(told).encode()).decode()


def session_token(url: str, expires: int) -> str:
    """Return a session of a double at this address, signed by nobody. `expires`: in seconds since 1970."""
    claims = {"exp": expires, "azp": "double", "iss": f"{url}/auth"}
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims, {}))


class NeptuneDouble:
    """Use it in a `with`. `runs` is what it holds; `fail` may be set to a function that raises `RefusedError` for an operation's name."""

    def __init__(self, projects: tuple[str, ...] = ("acme/vision",), port: int = 0) -> None:
        self.projects = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in projects}
        self.runs: dict[str, Run] = {}
        self.requests: list[str] = []
        self.uploads: dict[str, tuple[dict[str, str], list[bytes]]] = {}
        self.fail: Any = lambda _name: None
        self._mutex = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"double": self}))
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"
        self.token = api_token(self.url)

    def add_project(self) -> str:
        """Return the name of a new, empty project."""
        name = f"acme/project-{len(self.projects)}"
        self.projects[name] = str(uuid.uuid5(uuid.NAMESPACE_URL, name))
        return name

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, name: str, query: dict[str, list[str]], body: bytes) -> Any:
        """Return the answer to one operation: bytes as they are, anything else as JSON."""
        with self._mutex:
            self.requests.append(name)
            self.fail(name)
            return getattr(self, f"_{name}")({key: values[0] for key, values in query.items()}, body)

    # -- who and where

    def _getClientConfig(self, _query: dict[str, str], _body: bytes) -> Any:
        versions = {"minRecommendedVersion": "1.0.0", "minCompatibleVersion": "1.0.0", "maxCompatibleVersion": "2.0.0"}
        return {"apiUrl": self.url, "applicationUrl": self.url, "pyLibVersions": versions, "sysNameSetByBackend": True}

    def _exchangeApiToken(self, _query: dict[str, str], _body: bytes) -> Any:
        token = session_token(self.url, int(time.time()) + 3600)
        return {"accessToken": token, "refreshToken": token, "username": "ann"}

    def _refresh(self, _query: dict[str, str], _body: bytes) -> Any:
        tokens = self._exchangeApiToken({}, b"")
        return {"access_token": tokens["accessToken"], "refresh_token": tokens["refreshToken"], "token_type": "Bearer", "expires_in": 3600}

    def _getProject(self, query: dict[str, str], _body: bytes) -> Any:
        name = next((name for name, id_ in self.projects.items() if query["projectIdentifier"] in (name, id_)), None)
        if name is None:
            raise RefusedError(404, "no such project")
        workspace, _, project = name.partition("/")
        return {"id": self.projects[name], "name": project, "organizationName": workspace, "projectKey": "RUN", "version": 2}

    def _listProjects(self, query: dict[str, str], _body: bytes) -> Any:
        return {"entries": [self._getProject({"projectIdentifier": name}, b"") for name in self.projects]}

    def _listOrganizations(self, _query: dict[str, str], _body: bytes) -> Any:
        return [{"id": name, "name": name} for name in sorted({project.partition("/")[0] for project in self.projects})]

    # -- runs

    def _run(self, query: dict[str, str]) -> Run:
        wanted = query.get("experimentId") or query["experimentIdentifier"]
        for run in self.runs.values():
            if wanted in (run.id, f"{run.project}/{run.short_id}") or (run.custom_id and wanted.endswith(f"/{run.custom_id}")):
                return run
        raise RefusedError(404, "EXPERIMENT_NOT_FOUND")

    def _createExperiment(self, _query: dict[str, str], body: bytes) -> Any:
        told = json.loads(body)
        if told["type"] != "run":
            raise RefusedError(400, told["type"])
        project = next(name for name, id_ in self.projects.items() if id_ == told["projectIdentifier"])
        custom = told.get("customId")
        found = next((run for run in self.runs.values() if custom and (run.project, run.custom_id) == (project, custom)), None)
        if found is None:
            found = Run(str(uuid.uuid4()), project, len(self.runs) + 1, custom)
            now = int(time.time() * 1000)
            found.attributes = {
                "sys/id": ("string", found.short_id),
                "sys/creation_time": ("datetime", now),
                "sys/trashed": ("bool", False),
            }
            if custom:
                found.attributes["sys/custom_run_id"] = ("string", custom)
            self.runs[found.id] = found
        return self._described(found)

    def _getExperiment(self, query: dict[str, str], _body: bytes) -> Any:
        return self._described(self._run(query))

    def _described(self, run: Run) -> Any:
        workspace, _, project = run.project.partition("/")
        names = {"id": run.id, "shortId": run.short_id, "organizationName": workspace, "projectName": project}
        return {**names, "type": "run", "trashed": False}

    def _executeOperations(self, query: dict[str, str], body: bytes) -> Any:
        run, errors = self._run(query), []
        for operation in json.loads(body):
            path = operation.pop("path")
            ((kind, told),) = operation.items()
            try:
                run.execute(path, kind, told)
            except ValueError as error:
                errors.append({"errorDescription": str(error)})
        return errors

    def _ping(self, query: dict[str, str], _body: bytes) -> Any:
        return {}

    def _fileAtomUpload(self, query: dict[str, str], body: bytes) -> Any:
        run, path = self._run(query), query["attribute"]
        try:
            run.take(path, "file", None)
        except ValueError as error:
            return {"errors": [{"errorDescription": str(error)}]}
        run.attributes[path] = ("file", (query.get("ext", ""), body))
        return {"errors": []}

    def _fileAtomMultipartUploadStart(self, query: dict[str, str], _body: bytes) -> Any:
        upload = str(uuid.uuid4())
        self.uploads[upload] = (query, [])
        return {"uploadId": upload, "errors": []}

    def _fileAtomMultipartUploadPart(self, query: dict[str, str], body: bytes) -> Any:
        parts = self.uploads[query["uploadId"]][1]
        if int(query["uploadPartIdx"]) != len(parts):
            raise RefusedError(400, "a part out of its turn")
        parts.append(body)
        return {"errors": []}

    def _fileAtomMultipartUploadFinish(self, query: dict[str, str], _body: bytes) -> Any:
        begun, parts = self.uploads.pop(query["uploadId"])
        content = b"".join(parts)
        if len(content) != int(begun["totalLength"]):
            raise RefusedError(400, "Length of stream does not match given range")
        return {"uploadId": query["uploadId"], **self._fileAtomUpload(begun, content)}

    # -- reading

    def _getExperimentAttributes(self, query: dict[str, str], _body: bytes) -> Any:
        return {"attributes": [attribute(name, *told) for name, told in sorted(self._run(query).attributes.items())]}

    def _searchLeaderboardEntries(self, query: dict[str, str], body: bytes) -> Any:
        told = json.loads(body)
        wanted = {one["path"] for one in told.get("attributeFilters", [])}
        place = told["pagination"]
        if told["query"]["query"]:
            raise RefusedError(400, "Syntax error")
        runs = [run for run in self.runs.values() if query["projectIdentifier"] in (run.project, self.projects[run.project])]
        runs.sort(key=lambda run: run.number, reverse=told.get("sorting", {}).get("dir") == "descending")
        entries = [
            {
                "experimentId": run.id,
                "attributes": [attribute(name, *value) for name, value in run.attributes.items() if not wanted or name in wanted],
            }
            for run in runs[place["offset"] : place["offset"] + place["limit"]]
        ]
        return {"matchingItemCount": len(runs), "totalItemCount": len(runs), "entries": entries}

    def _values(self, query: dict[str, str], kind: str) -> Any:
        found = self._run(query).attributes.get(query["attribute"])
        if found is None or found[0] != kind:
            raise RefusedError(404, "no such attribute")
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 1000))
        if limit > 1000:
            raise RefusedError(400, "limit")
        values = [{"step": step, "timestampMillis": at, "value": value} for step, at, value in found[1][offset : offset + limit]]
        return {"totalItemCount": len(found[1]), "values": values}

    def _getFloatSeriesValues(self, query: dict[str, str], _body: bytes) -> Any:
        return self._values(query, "floatSeries")

    def _getStringSeriesValues(self, query: dict[str, str], _body: bytes) -> Any:
        return self._values(query, "stringSeries")

    def _downloadAttribute(self, query: dict[str, str], _body: bytes) -> Any:
        found = self._run(query).attributes.get(query["attribute"])
        if found is None or found[0] != "file":
            raise RefusedError(404, "no such file")
        return found[1][1]


def attribute(name: str, kind: str, value: Any) -> dict[str, Any]:
    """Return an attribute as a listing tells it."""
    if kind == "datetime":
        held: dict[str, Any] = {
            "value": datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        }
    elif kind == "stringSet":
        held = {"values": sorted(value)}
    elif kind in ("floatSeries", "stringSeries"):
        held = {"last": value[-1][2] if value else None}
    elif kind == "file":
        held = {"ext": value[0], "size": len(value[1])}
    else:
        held = {"value": value}
    return {"name": name, "type": kind, f"{kind}Properties": {"attributeName": name, "attributeType": kind, **held}}


class _Handler(BaseHTTPRequestHandler):
    double: NeptuneDouble
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one piece: the kernel holds a second one back for 40 ms
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._do()

    def do_POST(self) -> None:
        self._do()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _do(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self._answer(parts.path, parse_qs(parts.query), body)
            status = 200
        except RefusedError as refusal:
            answer, status = {"title": str(refusal), "errorType": str(refusal), "code": refusal.status}, refusal.status
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(answer, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _answer(self, path: str, query: dict[str, list[str]], body: bytes) -> Any:
        if path.endswith("/swagger.json"):
            api = path.split("/")[2]
            return specification(api, {"backend": BACKEND, "leaderboard": LEADERBOARD}.get(api, {}), self.double.host)
        if path == "/auth/protocol/openid-connect/token":
            return self.double.answer("refresh", query, body)
        name = path.rpartition("/")[2]
        if name not in BACKEND and name not in LEADERBOARD:
            raise RefusedError(404, path)
        is_open = name in ("getClientConfig", "exchangeApiToken")
        if is_open and self.headers.get("X-Neptune-Api-Token") != self.double.token:
            raise RefusedError(401, "no token")
        if not is_open and not str(self.headers.get("Authorization", "")).startswith("Bearer "):
            raise RefusedError(401, "no session")
        return self.double.answer(name, query, body)

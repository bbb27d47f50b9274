"""What the double takes, and how: as the SDK sends it and no other way."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import Any

from .calls import Call, route
from .state import EXPERIMENT_KEY, NAME_LENGTH, VALUE_LENGTH, Asset, Experiment, Line, Point, Refused, Value

_LONG = 2**63

# -- experiments ------------------------------------------------------------------------------------------------------


@route("POST", "sdk:logger/add/run")
def add_run(call: Call) -> Any:
    body = call.body("apiKey", "experimentKey", "offline", "projectName", "teamName", "libVersion", "local_timestamp")
    service = call.service
    user = _sdk_user(call, body)
    workspace = service.workspace_of(user, body["teamName"])
    key = body["experimentKey"]
    if not isinstance(key, str) or not EXPERIMENT_KEY.fullmatch(key):
        raise Refused(f"{key!r} is no experiment key")
    project = body["projectName"] or "general"
    found = service.experiments.get(key)
    if found is not None:
        if not body.get("getOrCreateEnabled"):
            raise Refused("the experiment exists already", code=90999)
        return _handshake(call, service.experiment(key, user))
    now = service.now()
    made = Experiment(key, workspace, project, user, created=now, started=now, offline=bool(body["offline"]))
    service.experiments[key] = made
    return _handshake(call, made)


@route("POST", "sdk:logger/get/run")
def get_run(call: Call) -> Any:
    body = call.body("apiKey", "previousExperiment")
    return _handshake(call, call.service.experiment(body["previousExperiment"], _sdk_user(call, body)))


def _sdk_user(call: Call, body: dict[str, Any]) -> str:
    """The SDK's own endpoints say 400 to a key that they do not know."""
    try:
        return call.user(body["apiKey"])
    except Refused as refused:
        raise Refused(refused.message, code=refused.code) from None


def _handshake(call: Call, experiment: Experiment) -> Any:
    project = call.service.project_id(experiment.workspace, experiment.project)
    return {
        "runId": f"run-{experiment.key}",
        "project_id": project,
        "lastOffset": len(experiment.lines),
        "focusUrl": f"http://{call.headers['Host']}/{experiment.workspace}/{experiment.project}/",
        "name": experiment.name,
        "msg": None,
        "s3DirectAccessEnabled": False,
        "featureToggles": [],
    }


@route("POST", "sdk:status-report/update")
def heartbeat(call: Call) -> Any:
    body = call.body("apiKey", "runId", "experimentKey", "projectId", "is_alive", "local_timestamp", "offline")
    experiment = call.service.experiment(body["experimentKey"], call.user(body["apiKey"]))
    experiment.alive = bool(body["is_alive"])
    if not experiment.alive and experiment.ended is None:
        experiment.ended = call.service.now()
    return {"is_alive_beat_duration_millis": 10_000, "gpu_monitor_interval_millis": 60_000, "cpu_monitor_interval_millis": 60_000}


@route("POST", "sdk:notification/experiment")
def notify(call: Call) -> Any:
    return {}


@route("POST", "sdk:asset/3d-limits")
def point_limits(call: Call) -> Any:
    return {"maxPoints": 1_000_000}


@route("POST", "sdk:status-report/offline-metadata")
def set_offline_times(call: Call) -> Any:
    body = call.body("apiKey", "runId", "experimentKey", "startTimestamp", "endTimestamp")
    experiment = call.service.experiment(body["experimentKey"], call.user(body["apiKey"]))
    if body["runId"] != f"run-{experiment.key}":
        raise Refused("the run id is another one's")
    _set_times(experiment, body["startTimestamp"], body["endTimestamp"])
    return {}


@route("POST", "rest:write/experiment/set-start-end-time")
def set_times(call: Call) -> Any:
    body = call.body("experimentKey", "startTimeMillis", "endTimeMillis")
    _set_times(call.experiment(body["experimentKey"]), body["startTimeMillis"], body["endTimeMillis"])
    return {}


def _set_times(experiment: Experiment, start: Any, end: Any) -> None:
    if start is not None:
        experiment.started = _milliseconds(start)
    if end is not None:
        experiment.ended = _milliseconds(end)


@route("POST", "rest:write/experiment/update-status")
def set_status(call: Call) -> Any:
    body = call.body("experimentKey", "isAlive", "error", "hasCrashed")
    experiment = call.experiment(body["experimentKey"])
    experiment.alive, experiment.crashed, experiment.error = bool(body["isAlive"]), bool(body["hasCrashed"]), body["error"]
    return {}


@route("POST", "rest:write/experiment/create")
def create(call: Call) -> Any:
    body = call.body("workspaceName", "projectName")
    service, user = call.service, call.user()
    key = f"{len(service.experiments):040x}"
    now = service.now()
    workspace = service.workspace_of(user, body["workspaceName"])
    experiment = service.experiments[key] = Experiment(key, workspace, body["projectName"], user, created=now, started=now)
    if body.get("experimentName"):
        _set(experiment.others, "Name", body["experimentName"], now)
    return {"experimentKey": key, "link": "", "name": body.get("experimentName")}


@route("GET", "rest:write/experiment/archive")
def archive(call: Call) -> Any:
    call.experiment().archived = True
    return {}


@route("GET", "rest:write/experiment/restore")
def restore(call: Call) -> Any:
    call.experiment().archived = False
    return {}


@route("GET", "rest:write/experiment/delete")
def delete(call: Call) -> Any:
    del call.service.experiments[call.experiment().key]
    return {}


# -- what they hold ---------------------------------------------------------------------------------------------------


@route("POST", "sdk:batch/logger/experiment/metric")
def log_metrics(call: Call) -> Any:
    body = call.body("experimentKey", "values")
    experiment = call.experiment(body["experimentKey"])
    points = [_point(item) for item in body["values"]]  # all of them, before one is taken
    experiment.points += points
    return {}


def _point(item: dict[str, Any]) -> Point:
    if set(item) != {"metricName", "metricValue", "step", "epoch", "context", "timestamp"}:
        raise Refused(f"a metric with the fields {sorted(item)}")
    name = _name(item["metricName"])
    value = item["metricValue"]
    if isinstance(value, bool) or not isinstance(value, int | float | str) or (isinstance(value, str) and len(value) > VALUE_LENGTH):
        raise Refused(f"metric {name!r} cannot be {value!r}")
    return Point(name, value, _step(item["step"]), _step(item["epoch"]), item["context"], _milliseconds(item["timestamp"]))


@route("POST", "rest:write/experiment/metric")
def log_metric(call: Call) -> Any:
    body = call.body("experimentKey", "metricName", "metricValue")
    context, at = body.get("context"), body.get("timestamp") or call.service.now()
    point = Point(_name(body["metricName"]), body["metricValue"], _step(body.get("step")), _step(body.get("epoch")), context, at)
    call.experiment(body["experimentKey"]).points.append(point)
    return {}


@route("POST", "sdk:batch/logger/experiment/parameter")
def log_params(call: Call) -> Any:
    body = call.body("experimentKey", "values")
    experiment = call.experiment(body["experimentKey"])
    for item in body["values"]:
        if set(item) != {"parameterName", "parameterValue", "source", "step", "context", "timestamp"}:
            raise Refused(f"a param with the fields {sorted(item)}")
        _set(experiment.params, _name(item["parameterName"]), _text(item["parameterValue"]), _milliseconds(item["timestamp"]))
    return {}


@route("POST", "rest:write/experiment/parameter")
def log_param(call: Call) -> Any:
    body = call.body("experimentKey", "parameterName", "parameterValue")
    at = body.get("timestamp") or call.service.now()
    _set(call.experiment(body["experimentKey"]).params, _name(body["parameterName"]), _text(body["parameterValue"]), at)
    return {}


@route("POST", "rest:write/experiment/log-other")
def log_other(call: Call) -> Any:
    body = call.body("experimentKey", "key", "value")
    at = body.get("timestamp") or call.service.now()
    _set(call.experiment(body["experimentKey"]).others, _name(body["key"]), _text(body["value"]), at)
    return {}


@route("POST", "sdk:tags/add-tags-to-experiment")
def add_tags_by_sdk(call: Call) -> Any:
    body = call.body("apiKey", "experimentKey", "addedTags")
    return _add_tags(call.service.experiment(body["experimentKey"], call.user(body["apiKey"])), body["addedTags"])


@route("POST", "rest:write/experiment/tags")
def add_tags(call: Call) -> Any:
    body = call.body("experimentKey", "addedTags")
    return _add_tags(call.experiment(body["experimentKey"]), body["addedTags"])


def _add_tags(experiment: Experiment, tags: list[str]) -> Any:
    experiment.tags += [_name(tag) for tag in dict.fromkeys(tags) if tag not in experiment.tags]
    return {}


@route("POST", "rest:write/experiment/tags/delete")
def delete_tags(call: Call) -> Any:
    body = call.body("experimentKey", "tags")
    experiment = call.experiment(body["experimentKey"])
    experiment.tags = [tag for tag in experiment.tags if tag not in body["tags"]]
    return {}


@route("POST", "rest:write/experiment/output")
def log_output(call: Call) -> Any:
    body = call.body("experimentKey", "runContext", "outputLines")
    experiment = call.experiment(body["experimentKey"])
    for item in body["outputLines"]:
        if set(item) != {"stderr", "output", "localTimestamp", "offset"}:
            raise Refused(f"a line of output with the fields {sorted(item)}")
        experiment.lines.append(Line(item["output"], bool(item["stderr"]), _milliseconds(item["localTimestamp"]), item["offset"]))
    return {}


@route("POST", "rest:write/experiment/system-details")
def set_system_details(call: Call) -> Any:
    body = call.body("experimentKey")
    call.experiment(body.pop("experimentKey")).system.update(body)
    return {}


@route("POST", "rest:write/experiment/cloud-details")
def set_cloud_details(call: Call) -> Any:
    body = call.body("experimentKey", "provider", "metadata")
    call.experiment(body["experimentKey"]).system["cloud"] = body
    return {}


@route("PUT", "rest:write/experiment/dependencies")
def log_dependencies(call: Call) -> Any:
    body = call.body("experimentKey", "logDependencies", "timestamp")
    system = call.experiment(body["experimentKey"]).system
    system.setdefault("logDependencies", []).extend(body["logDependencies"])
    return {}


@route("POST", "rest:write/experiment/git/metadata")
def set_git(call: Call) -> Any:
    body = call.body("experimentKey", "user", "root", "branch", "parent", "origin")
    call.experiment(body.pop("experimentKey")).git = body
    return {}


@route("POST", "rest:write/experiment/git/patch")
def set_patch_by_rest(call: Call) -> Any:
    return _set_patch(call.experiment(), call.parts()["file"])


@route("POST", "sdk:git-patch/upload")
def set_patch(call: Call) -> Any:
    return _set_patch(call.experiment(call.query["experimentId"]), call.parts()["file"])


def _set_patch(experiment: Experiment, content: bytes) -> Any:
    try:
        zipfile.ZipFile(BytesIO(content)).getinfo("git_diff.patch")
    except (zipfile.BadZipFile, KeyError):
        raise Refused("a git patch is a zip with git_diff.patch") from None
    experiment.patch = content
    return {}


@route("POST", "rest:write/experiment/code")
def set_code(call: Call) -> Any:
    body = call.body("experimentKey", "code")
    call.experiment(body["experimentKey"]).code = body["code"]
    return {}


@route("POST", "rest:write/experiment/file-path")
def set_file_path(call: Call) -> Any:
    body = call.body("experimentKey", "filePath")
    call.experiment(body["experimentKey"]).file_path = body["filePath"]
    return {}


@route("POST", "rest:write/experiment/html")
def log_html(call: Call) -> Any:
    body = call.body("experimentKey", "html", "override", "timestamp")
    experiment = call.experiment(body["experimentKey"])
    experiment.html = body["html"] if body["override"] else (experiment.html or "") + body["html"]
    return {}


@route("POST", "rest:write/experiment/graph")
def set_graph(call: Call) -> Any:
    body = call.body("experimentKey", "graph")
    call.experiment(body["experimentKey"]).graph = body["graph"]
    return {}


# -- assets -----------------------------------------------------------------------------------------------------------


@route("POST", "sdk:asset/upload")
def upload_asset(call: Call) -> Any:
    return _upload(call, call.experiment(call.query["experimentId"]), call.query.get("type", "asset"))


@route("POST", "sdk:visualizations/upload")
def upload_visualization(call: Call) -> Any:
    return _upload(call, call.experiment(call.query["experimentId"]), call.query.get("type", "image"))


@route("POST", "rest:write/experiment/upload-asset")
def upload_by_rest(call: Call) -> Any:
    return _upload(call, call.experiment(), call.query.get("type", "asset"))


def _upload(call: Call, experiment: Experiment, kind: str) -> Any:
    parts = call.parts()
    if ("file" in parts) == ("link" in parts):
        raise Refused("an asset has a file or a link")
    name = call.query.get("fileName") or call.query.get("figName")
    if not name:
        raise Refused("an asset has a name")
    asset_id = call.query.get("assetId") or call.query.get("imageId") or f"{len(experiment.assets):032x}"
    if asset_id in experiment.assets:
        raise Refused("the asset is immutable", code=7_000_005)
    metadata = parts.get("metadata")
    if metadata is not None:
        json.loads(metadata)
    if call.query.get("overwrite", "").lower() == "true":
        experiment.assets = {id_: asset for id_, asset in experiment.assets.items() if asset.name != name}
    step = call.query.get("step")
    experiment.assets[asset_id] = Asset(
        id=asset_id,
        name=name,
        content=parts.get("file", b""),
        type=kind,
        step=None if step in (None, "None") else int(step),
        metadata=None if metadata is None else metadata.decode(),
        link=parts["link"].decode() if "link" in parts else None,
        created=call.service.now(),
        context=call.query.get("context"),
    )
    return {"assetId": asset_id}


@route("GET", "rest:write/experiment/asset/delete")
def delete_asset(call: Call) -> Any:
    call.experiment().assets.pop(call.query["assetId"], None)
    return {}


# -- checks -----------------------------------------------------------------------------------------------------------


def _set(values: dict[str, Value], name: str, text: str, at: int) -> None:
    values.setdefault(name, Value()).history.append((at, text))


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name or len(name) > NAME_LENGTH:
        raise Refused(f"{name!r} is no name")
    return name


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) > VALUE_LENGTH:
        raise Refused(f"a value of {len(text)} characters")
    return text


def _step(step: Any) -> int | float | None:
    if step is None or (isinstance(step, float) and abs(step) < _LONG):
        return step
    if type(step) is not int or not -_LONG <= step < _LONG:
        raise Refused(f"{step!r} is no step")
    return step


def _milliseconds(time: Any) -> int:
    if type(time) is not int or not -_LONG <= time < _LONG:
        raise Refused(f"{time!r} is no time in milliseconds")
    return time

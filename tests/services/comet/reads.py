"""What the double tells: every value as text, and of more points than it keeps a sample."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Sequence
from typing import Any

from .calls import Call, route
from .state import Asset, Experiment, Point, Refused, Value

FULL_METRIC = "ASSET_TYPE_FULL_METRIC"


@route("GET", "sdk:isAlive/ver")
def version(call: Call) -> Any:
    return {"version": "4.40.0"}


@route("GET", "sdk:health/ping")
def ping(call: Call) -> Any:
    return {}


@route("GET", "rest:account-details")
def account(call: Call) -> Any:
    user = call.user()
    return {"userName": user, "defaultWorkspaceName": call.service.workspace_of(user, None)}


@route("GET", "rest:workspaces")
def workspaces(call: Call) -> Any:
    user = call.user()
    return {"workspaceNames": [name for name, users in call.service.workspaces.items() if user in users]}


@route("GET", "rest:projects")
def projects(call: Call) -> Any:
    service = call.service
    workspace = _workspace(call, call.query["workspaceName"])
    return {
        "projects": [
            {
                "projectId": id_,
                "projectName": name,
                "workspaceName": owner,
                "ownerUserName": "",
                "numberOfExperiments": sum(1 for one in service.of_project(owner, name) if not one.archived),
            }
            for (owner, name), id_ in service.projects.items()
            if owner == workspace
        ]
    }


def _workspace(call: Call, name: str) -> str:
    if call.user() not in call.service.workspaces.get(name, []):
        raise Refused(f"Workspace {name} does not exist", code=90219)
    return name


@route("GET", "rest:experiments")
def experiments(call: Call) -> Any:
    query, service = call.query, call.service
    workspace = _workspace(call, query["workspaceName"])
    if (workspace, query["projectName"]) not in service.projects:
        raise Refused(f"no project {query['projectName']}", status=404)
    archived = query.get("archived", "false").lower() == "true"
    found = [one for one in service.of_project(workspace, query["projectName"]) if one.archived == archived]
    if query.get("sortBy") in ("startTime", "endTime"):
        found.sort(
            key=lambda one: (one.started if query["sortBy"] == "startTime" else one.ended) or 0, reverse=query.get("sortOrder") == "desc"
        )
    if "page" in query:
        size = int(query["size"])
        start = (int(query["page"]) - 1) * size
        found = found[start : start + size]
    return {"experiments": [_metadata(call, one) for one in found]}


@route("GET", "rest:experiment/metadata")
def metadata(call: Call) -> Any:
    return _metadata(call, call.experiment())


def _metadata(call: Call, one: Experiment) -> Any:
    return {
        "experimentKey": one.key,
        "experimentName": one.name,
        "optimizationId": None,
        "userName": one.owner,
        "projectId": call.service.project_id(one.workspace, one.project),
        "projectName": one.project,
        "workspaceName": one.workspace,
        "filePath": one.file_path,
        "fileName": None if one.file_path is None else one.file_path.rpartition("/")[2],
        "throttle": False,
        "durationMillis": (one.ended or one.created) - (one.started or one.created),
        "startTimeMillis": one.started,
        "endTimeMillis": one.ended,
        "running": one.alive,
        "error": one.error,
        "hasCrashed": one.crashed,
        "archived": one.archived,
    }


# -- metrics ----------------------------------------------------------------------------------------------------------


@route("GET", "rest:experiment/metrics/get-all")
def all_metrics(call: Call) -> Any:
    kept = call.service.points_kept
    return {"metrics": [_shown(point, place) for s in call.experiment().series().values() for place, point in enumerate(sample(s, kept))]}


@route("GET", "rest:experiment/metrics/get-metric")
def one_metric(call: Call) -> Any:
    series = call.experiment().series().get(call.query["metricName"], [])
    return {"metrics": [_shown(point, place) for place, point in enumerate(sample(series, call.service.points_kept))]}


@route("GET", "rest:experiment/metrics/summary")
def metric_summaries(call: Call) -> Any:
    return {"values": [_metric_summary(name, points) for name, points in call.experiment().series().items()]}


@route("POST", "rest:experiments/multi-metric-chart")
def chart(call: Call) -> Any:
    body = call.body("targetedExperiments", "metrics", "params", "independentMetrics", "fetchFull")
    return {"empty": False, "experiments": {key: _charted(call, key, body["metrics"]) for key in body["targetedExperiments"]}}


def _charted(call: Call, key: str, names: Sequence[str]) -> Any:
    series = call.experiment(key).series()
    kept = call.service.points_kept
    metrics = [
        {
            "metricName": name,
            "values": [point.value for point in sample(series[name], kept)],
            "steps": [point.step for point in sample(series[name], kept)],
            "epochs": [point.epoch for point in sample(series[name], kept)],
            "timestamps": [point.timestamp for point in sample(series[name], kept)],
        }
        for name in names
        if name in series
    ]
    return {"experiment_key": key, "metrics": metrics, "params": None}


def sample(points: Sequence[Point], kept: int) -> Sequence[Point]:
    """Return as many points as are kept, the first and the last among them."""
    if len(points) <= kept:
        return points
    return [points[round(place * (len(points) - 1) / (kept - 1))] for place in range(kept)]


def _shown(point: Point, place: int) -> Any:
    return {
        "metricName": point.name,
        "metricValue": _text(point.value),
        "timestamp": point.timestamp,
        "step": point.step,
        "epoch": point.epoch,
        "runContext": point.context,
        "offset": place,
    }


def _metric_summary(name: str, points: Sequence[Point]) -> Any:
    last = points[-1]
    numbers = [p for p in points if not isinstance(p.value, str)] or points
    high, low = max(numbers, key=lambda p: p.value), min(numbers, key=lambda p: p.value)
    return {
        "name": name,
        "count": len(points),
        "editable": False,
        **{
            f"{field}{which}": value
            for which, point in (("Max", high), ("Min", low), ("Current", last))
            for field, value in (("value", _text(point.value)), ("timestamp", point.timestamp), ("step", point.step))
        },
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# -- the rest ---------------------------------------------------------------------------------------------------------


@route("GET", "rest:experiment/parameters")
def params(call: Call) -> Any:
    return {"values": [_value(name, value) for name, value in call.experiment().params.items()]}


@route("GET", "rest:experiment/log-other")
def others(call: Call) -> Any:
    return {"values": [_value(name, value) for name, value in call.experiment().others.items()]}


def _value(name: str, value: Value) -> Any:
    at, text = value.history[-1]
    return {"name": name, "valueCurrent": text, "timestampCurrent": at, "valueMax": text, "valueMin": text, "editable": False}


@route("GET", "rest:experiment/tags")
def tags(call: Call) -> Any:
    return {"tags": call.experiment().tags}


@route("GET", "rest:experiment/output")
def output(call: Call) -> Any:
    lines = sorted(call.experiment().lines, key=lambda line: line.offset)
    return {"output": "".join(line.text for line in lines)}


@route("GET", "rest:experiment/system-details")
def system_details(call: Call) -> Any:
    one = call.experiment()
    system = [name for name in one.series() if name.startswith("sys.")]
    return {"experimentKey": one.key, **one.system, "systemMetricNames": system}


@route("GET", "rest:experiment/git/metadata")
def git_metadata(call: Call) -> Any:
    return call.experiment().git


@route("GET", "rest:experiment/git/patch")
def git_patch(call: Call) -> Any:
    return call.experiment().patch or {"msg": "no git patch"}


@route("GET", "rest:experiment/code")
def code(call: Call) -> Any:
    return {"code": call.experiment().code}


@route("GET", "rest:experiment/html")
def html(call: Call) -> Any:
    return {"html": call.experiment().html}


@route("GET", "rest:experiment/graph")
def graph(call: Call) -> Any:
    return {"graph": call.experiment().graph}


@route("GET", "rest:experiment/asset/list")
def assets(call: Call) -> Any:
    one = call.experiment()
    wanted = call.query.get("type", "all")
    found = [*one.assets.values(), *_full_metrics(call, one)]
    return {"assets": [_asset(one, asset) for asset in found if wanted in ("all", asset.type)]}


@route("GET", "rest:experiment/asset/get-by-name")
def assets_by_name(call: Call) -> Any:
    one = call.experiment()
    return {"assets": [_asset(one, asset) for asset in one.assets.values() if asset.name == call.query["assetName"]]}


@route("GET", "rest:experiment/asset/get-asset")
def get_asset(call: Call) -> Any:
    one = call.experiment()
    found = {asset.id: asset for asset in (*one.assets.values(), *_full_metrics(call, one))}.get(call.query["assetId"])
    if found is None:
        raise Refused("no such asset", status=404)
    return found.content


def _asset(one: Experiment, asset: Asset) -> Any:
    return {
        "experimentKey": one.key,
        "assetId": asset.id,
        "fileName": asset.name,
        "fileSize": len(asset.content),
        "runContext": asset.context,
        "step": asset.step,
        "remote": asset.link is not None,
        "link": asset.link or "",
        "createdAt": asset.created,
        "dir": "assets",
        "type": asset.type,
        "image": asset.type == "image",
        "metadata": asset.metadata,
        "tags": [],
    }


def _full_metrics(call: Call, one: Experiment) -> list[Asset]:
    """Return a zipped CSV for each metric of which the readers get a sample."""
    found = []
    for name, points in one.series().items():
        if len(points) > call.service.points_kept:
            clean = re.sub("[^a-zA-Z0-9-+]+", "_", name)
            found.append(Asset(f"full-{len(found)}-{clean}", f"{clean}_0.csv.zip", _zipped(clean, points), FULL_METRIC))
    return found


def _zipped(name: str, points: Sequence[Point]) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["value", "timestamp", "step", "epoch"])
    rows.writerows([_text(p.value), p.timestamp / 1000, p.step, p.epoch] for p in points)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}_0.csv", text.getvalue())
    return packed.getvalue()

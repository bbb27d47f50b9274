"""What an archive says of a run: a line of JSON a message, as Comet's SDK writes them. Pure.

`comet upload` checks each against a schema: system details without a null, steps and times as numbers, no field beside those of a metric.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import names
from .encode import Asset, Content, Point, console_output

PATCH = "git_diff.zip"
"""The file of an archive that holds the patch."""


def message(kind: str, payload: Mapping[str, Any]) -> str:
    """Return a message's line."""
    return json.dumps({"payload": payload, "type": kind}, separators=(",", ":"), allow_nan=False) + "\n"


def content_lines(content: Content, time: int) -> Iterator[str]:
    """Yield the lines that hold a batch, but for its files. A tag is an other here: `pack` makes Comet's tags of those without a value.

    `time` is that of the batch, in milliseconds.
    """
    yield from point_lines(content.points)
    yield from (param_line(name, value, time) for name, value in content.params.items())
    yield from other_lines({**content.others, **tag_others(content.tags)})
    if content.file_name is not None:
        yield message("file_name", {"file_name": content.file_name})
    if content.git is not None:
        yield message("git_metadata", {"git_metadata": content.git})
    if content.packages is not None:
        yield message("installed_packages", {"installed_packages": content.packages})
    if content.system is not None:
        yield message("system_details", content.system)
    yield from (
        message("standard_output", {"local_timestamp": piece.time, "output": piece.text, "stderr": piece.stderr})
        for piece in console_output(content.console)
    )


def point_lines(points: Iterable[Point]) -> Iterator[str]:
    """Yield the points' lines. Not by `message`: there may be millions of them."""
    named: dict[str, str] = {}
    for name, value, step, epoch, time in points:
        quoted = named.get(name)
        if quoted is None:
            quoted = named[name] = json.dumps(name)
        shown = repr(value) if isinstance(value, float) else f'"{value}"'
        yield (
            f'{{"payload":{{"local_timestamp":{time},"metric":{{"epoch":{_or_null(epoch)},"metricName":{quoted},'
            f'"metricValue":{shown},"step":{_or_null(step)}}}}},"type":"metric_msg"}}\n'
        )


def _or_null(number: int | None) -> str:
    return "null" if number is None else str(number)


def param_line(name: str, value: Any, time: int) -> str:
    """Return a param's line."""
    param = {"paramName": name, "paramValue": value, "source": "manual", "step": None}
    return message("parameter_msg", {"local_timestamp": time, "param": param})


def tag_others(tags: Mapping[str, str | None]) -> dict[str, str]:
    """Return the others that stand for tags where an other with the same name always goes before."""
    return {name: names.BARE if value is None else value for name, value in tags.items()}


def other_lines(others: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of others."""
    return (message("log_other", {"key": key, "value": value}) for key, value in others.items())


def asset_line(asset: Asset, file: str | None) -> str:
    """Return an asset's line; `file` is the archive's file with its content, None for a reference."""
    if asset.uri is not None or file is None:
        details = {"assetId": asset.id, "context": None, "fileName": asset.name, "isRemote": True, **_UPLOAD, "step": asset.step}
        payload = {"additional_params": details, "metadata": asset.metadata, "remote_uri": asset.uri, "upload_type": asset.type}
        return message("remote_file", payload)
    if asset.type == names.IMAGE:
        details = {"context": None, "figCounter": 0, "figName": asset.name, "imageId": asset.id, **_UPLOAD, "step": asset.step}
    else:
        details = {"assetId": asset.id, "context": None, "fileName": asset.name, **_UPLOAD, "step": asset.step}
        suffix = asset.name.rpartition("/")[2].rpartition(".")
        if suffix[0]:
            details["extension"] = suffix[2]
    return message(
        "file_upload",
        {
            "additional_params": details,
            "clean": True,
            "file_path": file,
            "local_timestamp": asset.time,
            "metadata": asset.metadata,
            "upload_type": asset.type,
        },
    )


_UPLOAD = {"overwrite": True, "runId": None}


def patch_line(time: int) -> str:
    """Return the line of the git patch, which is in the file `PATCH`."""
    return message(
        "file_upload",
        {
            "additional_params": None,
            "clean": True,
            "file_path": PATCH,
            "local_timestamp": time,
            "metadata": {},
            "upload_type": names.GIT_PATCH,
        },
    )


def batches_line(number: int) -> str:
    """Return the line behind batch `number`."""
    return message("log_other", {"key": names.OTHER_BATCHES, "value": number})


_BATCHES = batches_line(0).partition(":0}")[0].partition('"value"')[0].encode()


def batches_of(line: bytes) -> int | None:
    """Return the number of the batch that the line stands behind; None for any other line."""
    if not line.startswith(_BATCHES):
        return None
    return int(json.loads(line)["payload"]["value"])

"""One experiment at Comet's service in Comet's own words, every point of it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from multitrack.errors import PermanentError
from multitrack.records import Value

from . import names
from .client import patiently
from .decode import is_ours, metric_name, metric_value
from .failures import says_no_such_experiment, translated
from .native import CHUNK, Column, ConsoleText, NativeAsset, NativeRun

FULL_METRIC = "ASSET_TYPE_FULL_METRIC"
"""Comet: zipped CSV files `NAME_0.csv.zip`, `NAME_1.csv.zip`, ... of metrics of which its readers get a sample."""
CODE_FILE = "comet/code.py"
"""The artifact that stands for the code that Comet keeps beside the assets."""
_BLOCK = 1 << 20
_SYSTEM_WORDS = {
    "osRelease": "os_release",
    "osType": "os_type",
    "executable": "python_exe",
    "pythonVersion": "python_version",
    "pythonVersionVerbose": "python_version_verbose",
}
"""From the words of the service to those of the SDK's messages, where they differ."""

Point = tuple[Any, int, Value, Any]
"""Step, milliseconds, value, epoch."""


class ExperimentReader:
    """Reads experiments. May be used by several threads."""

    def __init__(self, rest: Any, root: str) -> None:
        """`rest` is the SDK's client, `root` the address of Comet's pages."""
        self._rest = rest
        self._root = root

    def close(self) -> None:
        """Let go of connections."""
        self._rest.low_level_api_client.close()

    # -- the experiment itself ----------------------------------------------------------------------------------------

    def metadata(self, key: str) -> Mapping[str, Any] | None:
        """Return what a listing shows of an experiment; None where there is none of this key that we can see."""
        try:
            found: Mapping[str, Any] = self._rest.get_experiment_metadata(key)
        except Exception as error:
            if says_no_such_experiment(error):
                return None
            with translated(f"looking for experiment {key}"):
                raise
        return found

    def outline(self, metadata: Mapping[str, Any]) -> tuple[NativeRun, dict[str, Any]]:
        """Return what a listing shows of a run, and the last value of each metric."""
        run, shown = self._outline(metadata)
        summaries = self._values(self._rest.get_experiment_metrics_summaries, run.key)
        return replace(run, version=_version(metadata, shown, summaries)), {
            item["name"]: metric_value(item["valueCurrent"]) for item in summaries
        }

    def _outline(self, metadata: Mapping[str, Any]) -> tuple[NativeRun, Any]:
        """Return what a listing shows of a run, and the answers that tell of changes."""
        key = str(metadata["experimentKey"])
        others = self._values(self._rest.get_experiment_others_summaries, key)
        tags = self._ask(self._rest.get_experiment_tags, key, "tags") or []
        run = NativeRun(
            key=key,
            project=str(metadata["projectName"]),
            workspace=metadata.get("workspaceName"),
            start=metadata.get("startTimeMillis") or None,
            end=None if metadata.get("running") else metadata.get("endTimeMillis") or None,
            state="running" if metadata.get("running") else "crashed" if metadata.get("hasCrashed") else "finished",
            trouble=metadata.get("error"),
            tags=tuple(tags),
            others={item["name"]: item["valueCurrent"] for item in others},
            file_name=metadata.get("filePath") or metadata.get("fileName"),
            typed_as_text=True,
            url=f"{self._root}/{metadata.get('workspaceName')}/{metadata['projectName']}/{key}",
            deleted=bool(metadata.get("archived")),
        )
        return run, [others, tags]

    def run(self, metadata: Mapping[str, Any]) -> NativeRun:
        """Return all of a run but its points and its files' contents. What stands in our own documents is not asked for twice."""
        run, _ = self._outline(metadata)
        key = run.key
        listed = patiently("listing the assets", lambda: self._rest.get_experiment_asset_list(key)) or []
        run = replace(
            run,
            params={item["name"]: item["valueCurrent"] for item in self._values(self._rest.get_experiment_parameters_summaries, key)},
            git=patiently("reading the git metadata", lambda: self._rest.get_experiment_git_metadata(key)) or {},
            assets=tuple(_asset(item) for item in sorted(listed, key=lambda item: (item["fileName"], item["assetId"]))),
        )
        return run if is_ours(run) else self._rest_of(run)

    def _rest_of(self, run: NativeRun) -> NativeRun:
        key, rest = run.key, self._rest
        details = patiently("reading the system details", lambda: rest.get_experiment_system_details(key)) or {}
        return replace(
            run,
            patch=_patch(patiently("reading the git patch", lambda: rest.get_experiment_git_patch(key))),
            packages=tuple(details.get("installedPackages") or ()),
            os_packages=tuple(details.get("osPackages") or ()),
            system={_SYSTEM_WORDS.get(word, word): value for word, value in details.items()},
            output=(ConsoleText(output),) if (output := self._ask(rest.get_experiment_output, key, "output")) else (),
            html=self._ask(rest.get_experiment_html, key, "html") or None,
            graph=self._ask(rest.get_experiment_model_graph, key, "graph") or None,
            assets=(*run.assets, *self._code(key)),
        )

    def _code(self, key: str) -> Iterator[NativeAsset]:
        code = self.code(key)
        if code:
            yield NativeAsset(id=CODE_FILE, name=CODE_FILE, type="code", size=len(code))

    def code(self, key: str) -> bytes:
        """Return the code that Comet keeps beside the assets."""
        return str(self._ask(self._rest.get_experiment_code, key, "code") or "").encode("utf-8", "surrogatepass")

    def output(self, key: str) -> str:
        """Return what was printed, without its times: Comet does not tell them."""
        return self._ask(self._rest.get_experiment_output, key, "output") or ""

    def others(self, key: str) -> dict[str, str]:
        """Return the others by name."""
        return {item["name"]: item["valueCurrent"] for item in self._values(self._rest.get_experiment_others_summaries, key)}

    def tags(self, key: str) -> list[str]:
        """Return the tags."""
        return list(self._ask(self._rest.get_experiment_tags, key, "tags") or ())

    def has_metrics(self, key: str) -> bool:
        """Return whether any point was logged."""
        return bool(self._values(self._rest.get_experiment_metrics_summaries, key))

    def assets(self, key: str) -> list[NativeAsset]:
        """Return the assets, full metrics among them."""
        return [_asset(item) for item in patiently("listing the assets", lambda: self._rest.get_experiment_asset_list(key)) or ()]

    def _values(self, call: Any, key: str) -> list[dict[str, Any]]:
        return self._ask(call, key, "values") or []

    def _ask(self, call: Any, key: str, field: str) -> Any:
        return (patiently(f"reading experiment {key}", lambda: call(key)) or {}).get(field)

    # -- files --------------------------------------------------------------------------------------------------------

    def content(self, key: str, asset: NativeAsset) -> bytes:
        """Return an asset's content."""
        found: bytes = patiently(f"reading {asset.name!r}", lambda: self._rest.get_experiment_asset(asset.id, key))
        return found

    def download(self, key: str, asset: NativeAsset, to: Path) -> None:
        """Write an asset's content to a file."""

        def download() -> None:
            with (
                self._rest.get_experiment_asset(asset.id, key, return_type="response", stream=True) as answer,
                to.open("wb") as file,
            ):
                for block in answer.iter_content(_BLOCK):
                    file.write(block)

        patiently(f"reading {asset.name!r}", download)

    # -- points -------------------------------------------------------------------------------------------------------

    def columns(self, key: str, assets: Iterable[NativeAsset], on_sample: Callable[[str, int], None]) -> Iterator[Column]:
        """Yield every point of every metric, up to `CHUNK` points a column."""
        for name, points in sorted(self.series(key, assets, on_sample).items()):
            for start in range(0, len(points), CHUNK):
                yield _column(name, points[start : start + CHUNK])

    def series(self, key: str, assets: Iterable[NativeAsset], on_sample: Callable[[str, int], None]) -> dict[str, list[Point]]:
        """Return every point by its metric's name and context; those of a long series from the files that hold all of it.

        `on_sample` is told of metrics of which the service gives a sample alone, and how many points that is.
        """
        listed = patiently("reading the metrics", lambda: self._rest.get_all_experiment_metrics(key)) or {}
        series: dict[str, list[Point]] = {}
        contexts: dict[str, set[str]] = {}
        for item in listed.get("metrics") or ():
            name = metric_name(item["metricName"], item.get("runContext"))
            contexts.setdefault(item["metricName"], set()).add(name)
            series.setdefault(name, []).append(
                (item.get("step"), int(item["timestamp"]), metric_value(item["metricValue"]), item.get("epoch"))
            )
        full = _full_metrics(assets)
        called = Counter(map(_file_name, contexts))
        for metric, shown in contexts.items():
            files = full.get(_file_name(metric), [])
            if files and called[_file_name(metric)] == len(shown) == 1:  # else the files do not tell which is which
                name = next(iter(shown))
                series[name] = self._complete(key, files, series[name])
            count = sum(len(series[one]) for one in shown)
            if count == names.KEPT_POINTS:
                on_sample(metric, count)
        return series

    def _complete(self, key: str, files: Sequence[NativeAsset], sampled: list[Point]) -> list[Point]:
        """Return the whole series, unless the files are another metric's of nearly the same name."""
        points = [point for file in files for point in _read_full_metric(self.content(key, file))]
        is_whole = len(points) > len(sampled) and {point[:2] for point in sampled} <= {point[:2] for point in points}
        return points if is_whole else sampled


def _version(*shown: Any) -> str:
    metadata = {name: value for name, value in shown[0].items() if name != "durationMillis"}
    return hashlib.sha256(json.dumps([metadata, *shown[1:]], sort_keys=True, default=str).encode()).hexdigest()[:32]


def _asset(item: Mapping[str, Any]) -> NativeAsset:
    metadata = item.get("metadata")
    if isinstance(metadata, str):
        try:
            metadata = json.loads(metadata)
        except ValueError:
            metadata = {"metadata": metadata}
    return NativeAsset(
        id=str(item["assetId"]),
        name=str(item["fileName"]),
        type=str(item.get("type") or names.ASSET),
        step=item.get("step"),
        time=item.get("createdAt"),
        size=item.get("fileSize"),
        metadata=metadata if isinstance(metadata, dict) else {},
        uri=item.get("link") if item.get("remote") else None,
        model=item.get("groupingName"),
    )


def _patch(zipped: bytes | None) -> str | None:
    if not zipped:
        return None
    try:
        return zipfile.ZipFile(io.BytesIO(zipped)).read(names.PATCH_MEMBER).decode("utf-8", "surrogateescape")
    except (zipfile.BadZipFile, KeyError):
        return None


# -- full metrics -----------------------------------------------------------------------------------------------------


def _file_name(metric: str) -> str:
    """Return what Comet makes of a metric's name in the names of its files."""
    return re.sub("[^a-zA-Z0-9-+]+", "_", metric)


def _full_metrics(assets: Iterable[NativeAsset]) -> dict[str, list[NativeAsset]]:
    """Return the files of whole series by the beginning of their names, in their order."""
    found: dict[str, list[tuple[int, NativeAsset]]] = {}
    for asset in assets:
        match = re.fullmatch(r"(.*)_(\d+)\.csv\.zip", asset.name, re.DOTALL)
        if asset.type == FULL_METRIC and match is not None:
            found.setdefault(match[1], []).append((int(match[2]), asset))
    return {name: [asset for _, asset in sorted(files, key=lambda item: item[0])] for name, files in found.items()}


def _read_full_metric(zipped: bytes) -> Iterator[Point]:
    """Yield the points of a zipped CSV: value, timestamp (seconds), step, epoch."""
    try:
        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    for row in csv.DictReader(io.TextIOWrapper(file, "utf-8", newline="")):
                        time = round(float(row["timestamp"]) * 1000)
                        yield _number(row.get("step")), time, metric_value(row["value"]), _number(row.get("epoch"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise PermanentError(f"a file of Comet's with a whole metric cannot be read: {error}") from None


def _number(text: str | None) -> int | float | None:
    if not text:
        return None
    number = float(text)
    return int(number) if number.is_integer() and "." not in text else number if not number.is_integer() else int(number)


def _column(name: str, points: Sequence[Point]) -> Column:
    steps, times, values, epochs = (list(part) for part in zip(*points, strict=True))
    return Column(
        name,
        times,
        values,
        None if all(step is None for step in steps) else steps,
        None if all(epoch is None for epoch in epochs) else epochs,
    )

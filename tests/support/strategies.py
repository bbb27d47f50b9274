"""Hypothesis strategies for records, hostile in every way that the journal must survive, and for what services can hold."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from multitrack.backend import EVERYTHING, Capabilities, Entry, NameRule
from multitrack.records import (
    Artifact,
    ArtifactRef,
    CaptureFailed,
    CodeVersion,
    DataColumn,
    DataFile,
    DataVersion,
    Environment,
    Gpu,
    Histogram,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    Model,
    ModelScore,
    Omission,
    Origin,
    PackageSource,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Submodule,
    Summary,
)

# Every character there is, lone surrogates included.
texts = st.text(st.characters(), max_size=12)

names = st.sampled_from(
    [
        "loss", "Loss", "a", "a/b", "a/b/c", "a.b", "a#b", "a_b", "system/cpu", "cpu", "x" * 300, "../x", "/a", "a//b", "a b", "é", "$",
        "\ud800", "multitrack.run_id", "multitrack/records.jsonl.zst", "summary/best", "a_b-6cb4e8f6", "ckpt-00001000", "", ".", "nul\0",
    ]
) | texts  # fmt: skip
"""Few enough that they meet again within a run."""

ids = st.integers(0, 16**32 - 1).map(lambda number: f"{number:032x}")
times = st.integers(-(2**40), 2**52)
floats = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e308, 5e-324])
ints = st.integers(-3, 3) | st.integers() | st.sampled_from([2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400])
digests = st.integers(0, 9).map(lambda number: f"{number:064x}")
steps = st.integers(-5, 5) | st.floats(-5, 5) | ints | floats

histograms = st.builds(Histogram, edges=st.lists(floats, max_size=3), counts=st.lists(floats | ints, max_size=3))
references = st.builds(ArtifactRef, name=names, sha256=digests, media_type=st.none() | texts)
values = st.floats(-2, 2) | floats | ints | st.booleans() | texts | histograms | references
param_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | ints | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
params = st.dictionaries(names, param_values, max_size=4)
tags = st.dictionaries(names, st.none() | texts, max_size=4)
# One draw each: a run has dozens of these, and what texts can hold is tried elsewhere.
maybe_text = st.sampled_from([None, "", "plain", "line\nbreak", "é\x00", "\ud800"])
maybe_int = st.sampled_from([None, 0, 1, 2**60])
texts_by_text = st.sampled_from([{}, {"k": "v"}, {"\ud800": "", "$": "1"}])

run_started = st.builds(
    RunStarted, time=times, id=ids, project=texts, name=maybe_text, group=maybe_text, job_type=maybe_text, parent=maybe_text, tags=tags,
    notes=maybe_text, user=maybe_text, host=maybe_text, reproduces=maybe_text,
    origin=st.none() | st.builds(Origin, source=texts, project=texts, run=texts),
)  # fmt: skip
run_updated = st.builds(
    RunUpdated, time=times, name=maybe_text, group=maybe_text, job_type=maybe_text, notes=maybe_text, tags=tags,
    removed_tags=st.lists(names, max_size=2), status=st.sampled_from([None, "scheduled", "running"]), deleted=st.none() | st.booleans(),
)  # fmt: skip
run_finished = st.builds(
    RunFinished, time=times, status=st.sampled_from(["finished", "failed", "killed", "crashed"]), error=maybe_text
)  # fmt: skip
code_versions = st.builds(
    CodeVersion, time=times, vcs=maybe_text, commit=maybe_text, branch=maybe_text, remote=maybe_text, dirty=st.none() | st.booleans(),
    diff=maybe_text, untracked=st.lists(references, max_size=2), entry_point=maybe_text, command=st.none() | st.lists(texts, max_size=2),
    working_dir=maybe_text, root=maybe_text, entry_kind=maybe_text, remotes=texts_by_text, modules=st.lists(references, max_size=2),
    notebook=st.none() | references, submodules=st.sampled_from([[], [Submodule(path="lib", commit="c", dirty=True, diff="\udcff")]]),
    omitted=st.sampled_from([[], [Omission(name="\ud800", reason="too large")]]),
)  # fmt: skip
data_versions = st.builds(
    DataVersion, time=times, name=names, role=st.sampled_from([None, "train", "test"]), uri=maybe_text, path=maybe_text,
    source_type=maybe_text, digest=maybe_text, algorithm=maybe_text, version=maybe_text, size=maybe_int, rows=maybe_int,
    files=st.lists(st.builds(DataFile, path=texts, size=st.integers(0, 2**40), digest=texts), max_size=2),
    selected=st.sampled_from([[], ["*.csv"]]), file_list=st.none() | references,
    columns=st.lists(st.builds(DataColumn, name=texts, type=texts, digest=maybe_text), max_size=2),
    data_schema=param_values, profile=param_values, tags=texts_by_text,
    omitted=st.sampled_from([[], [Omission(name="a", reason="a link that leads nowhere")]]),
)  # fmt: skip
hyperparameters = st.builds(Hyperparameters, time=times, values=params)
metrics = st.builds(
    Metrics,
    time=times,
    step=st.none() | steps,
    values=st.dictionaries(names, values, max_size=4),
    source=st.sampled_from(["user", "system"]),
)
_point = st.tuples(st.none() | steps, times, values)


def _column(name: str, points: list[tuple[Any, int, Any]], source: str, with_steps: bool) -> Points:
    columns: tuple[Any, ...] = tuple(map(list, zip(*points, strict=True))) if points else ([], [], [])
    return Points.model_validate(
        {
            "time": 0,
            "name": name,
            "steps": columns[0] if with_steps else None,
            "times": columns[1],
            "values": columns[2],
            "source": source,
        }
    )


def _with_repeats(points: list[tuple[Any, int, Any]]) -> list[tuple[Any, int, Any]]:
    return points + points[:1]


points = st.builds(
    _column,
    names,
    st.lists(_point, max_size=6) | st.lists(_point, max_size=4).map(_with_repeats),
    st.sampled_from(["user", "system"]),
    st.booleans(),
)
summaries = st.builds(Summary, time=times, values=st.dictionaries(names, values, max_size=3))
definitions = st.builds(
    MetricDefinition, time=times, name=names | st.just("val/*"), x=st.none() | names, goal=st.sampled_from([None, "min", "max"]),
    summary=st.sampled_from([None, "min", "max", "mean", "last", "first", "none"]),
)  # fmt: skip
package_sources = st.builds(
    PackageSource, kind=st.sampled_from(["vcs", "archive", "local", "editable"]), url=texts, commit=maybe_text, digest=maybe_text
)
environments = st.builds(
    Environment, time=times, host=st.sampled_from([None, "n1", "n2"]), python=maybe_text, implementation=maybe_text,
    packages=texts_by_text, os=maybe_text, cpu=maybe_text, cpu_count=maybe_int, memory=maybe_int,
    gpus=st.lists(st.builds(Gpu, name=texts, memory=maybe_int, uuid=maybe_text, number=maybe_int), max_size=2), driver=maybe_text,
    container=maybe_text, scheduler=params, variables=texts_by_text, prefix_kind=st.sampled_from([None, "venv", "conda", "system"]),
    sources=st.dictionaries(texts, package_sources, max_size=2), installers=st.dictionaries(texts, st.integers(0, 9), max_size=2),
    lock_files=st.lists(st.builds(ArtifactRef, name=texts, sha256=digests), max_size=2), cpu_limit=st.none() | st.floats(0.1, 64),
    omitted=st.lists(st.builds(Omission, name=texts, reason=texts), max_size=1),
)  # fmt: skip
artifacts = st.builds(
    Artifact, time=times, name=names, sha256=st.none() | digests, size=maybe_int, media_type=maybe_text, uri=maybe_text,
    step=st.none() | steps, type=maybe_text, metadata=params,
)  # fmt: skip
models = st.builds(
    Model, time=times, name=names, id=st.sampled_from(["m1", "m2"]), path=names, role=st.sampled_from(["output", "input"]),
    type=maybe_text, status=maybe_text, status_message=maybe_text, step=maybe_int,
    params=texts_by_text, tags=texts_by_text,
    scores=st.lists(st.builds(ModelScore, name=texts, time=times, value=floats | ints, step=maybe_int), max_size=2),
)  # fmt: skip
log_lines = st.lists(st.tuples(times, texts), max_size=3).flatmap(
    lambda lines: st.builds(
        LogLines,
        time=times,
        stream=st.sampled_from(["stdout", "stderr"]),
        times=st.just([time for time, _ in lines]),
        lines=st.just([text for _, text in lines]),
    )
)

failures = st.builds(CaptureFailed, time=times, what=names, error=texts)

records: st.SearchStrategy[Record] = st.one_of(
    metrics, points, hyperparameters, run_started, run_updated, run_finished, code_versions, data_versions, summaries, definitions,
    environments, artifacts, models, log_lines, failures,
)  # fmt: skip
"""One record of any kind."""

runs: st.SearchStrategy[list[Record]] = st.tuples(run_started, st.lists(records, max_size=10)).map(lambda run: [run[0], *run[1]])
"""A run's records, RunStarted first, the others in any order."""
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
"""For properties of whole runs, which take milliseconds to draw."""


def entries_of(run: list[Record], writer: str = "w") -> list[Entry]:
    """Return the records as one writer's entries."""
    return [Entry(writer, seq, record) for seq, record in enumerate(run)]


# -- what services can hold -----------------------------------------------------------------------------------------------

MLFLOW_NAMES = NameRule(max_length=250, allowed=r"\w\-. :/", path=True)
MLFLOW_LIKE = Capabilities(
    kinds=EVERYTHING.kinds - {"metric_definition"},
    metric_names=NameRule(max_length=250, allowed=r"\w\-. :/", path=True, reserved=("summary/",)),
    param_names=MLFLOW_NAMES,
    tag_names=NameRule(max_length=250, allowed=r"\w\-. :/", path=True, reserved=("mlflow.",)),
    artifact_names=NameRule(allowed=r"\w\-. /", path=True),
    point_types=frozenset({"float"}),
    infinities=False,
    equal_points="merged",
    steps="int",
    step_range=(-(2**63), 2**63 - 1),
    missing_steps=False,
    time_resolution=1000,
    earliest_time=0,
    nested_params=False,
    typed_params=False,
    param_length=6000,
    changing_params=False,
    param_sources=False,
    bare_tags=False,
    tag_length=8000,
    system_prefix="system/",
    artifact_details=False,
    references=False,
    chooses_run_id=False,
    statuses=frozenset({"scheduled", "running", "finished", "failed", "killed"}),
)
"""A service such as MLflow."""
FOLDER_LIKE = Capabilities(
    kinds=frozenset({"run_started", "run_updated", "run_finished", "points", "hyperparameters", "artifact", "summary"}),
    metric_names=NameRule(max_length=20, allowed="a-z0-9_/-", path=True, ignores_case=True, leaf_or_folder=True, reserved=("sys",)),
    param_names=NameRule(max_length=12, ignores_case=True, leaf_or_folder=True),
    tag_names=NameRule(max_length=40, ignores_case=True),
    artifact_names=NameRule(path=True, ignores_case=True, leaf_or_folder=True),
    point_types=frozenset({"float", "str"}),
    nan=False,
    step_range=(0, 3),
    changing_params=False,
    param_sources=False,
    tag_length=5,
    param_length=4,
    system_prefix="sys",
    statuses=frozenset({"running", "finished", "failed"}),
)
"""A cramped service: short names, no case, files and folders, nested typed params that stay as they first were."""
ROWS_ONLY = Capabilities(
    kinds=frozenset({"run_started", "metrics", "hyperparameters"}),
    param_names=NameRule(max_length=30, leaf_or_folder=True),
    point_types=frozenset({"int", "histogram"}),
    nested_params=False,
    earliest_time=1000,
)
"""A service that takes rows, and no tags after the start."""

capabilities = st.sampled_from([EVERYTHING, MLFLOW_LIKE, FOLDER_LIKE, ROWS_ONLY])

"""From records to MLflow's entities. Pure: `names` holds the table, nothing here asks a server.

The records have been fitted to the capabilities. What has no place in MLflow's own model becomes a document, that is an artifact
under `multitrack/`, which the source reads back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from multitrack.backend import TAG_PARENT, TAG_RUN_ID, Entry, entry_points
from multitrack.records import (
    Artifact,
    CaptureFailed,
    CodeVersion,
    DataVersion,
    Environment,
    Hyperparameters,
    LogLines,
    Metrics,
    Microseconds,
    Model,
    Points,
    RunStarted,
    RunUpdated,
    Summary,
    encode,
    not_rebuildable,
)
from multitrack.records import requirements as requirement_lines

from . import described, names

ENTITIES_PER_CALL = 1000
PARAMS_PER_CALL = TAGS_PER_CALL = 100
"""MLflow: one batch holds at most 1000 metrics, 100 params and 100 tags, and 1000 of all together."""
TAG_LENGTH = 8000
_DIGEST_LENGTH, _DATA_NAME_LENGTH, _SOURCE_LENGTH = 36, 500, 65_535
_SCHEMA_LENGTH, _PROFILE_LENGTH, _INPUT_TAG_KEY, _INPUT_TAG_LENGTH = 1_048_575, 16_777_215, 255, 500
_PART_BYTES = 255
"""Bytes of a file name on the disks that servers keep artifacts on."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BAD_IN_TAGS = re.compile(r"[^\w .:/-]", re.ASCII)
_FAILURE_LENGTH = 200
_BAD_IN_MODEL_NAMES = re.compile(r"""[/:.%"']""")

Line = tuple[str, int]
"""(writer, sequence number): where console lines stand."""


@dataclass(slots=True)
class Content:
    """What a batch holds, in MLflow's terms. Of several values of one name the last stands here, of a param the first."""

    start: RunStarted | None = None
    metrics: list[Metric] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str | None] = field(default_factory=dict)
    """None: the tag is taken away."""
    run_name: str | None = None
    status: str | None = None
    datasets: list[DatasetInput] = field(default_factory=list)
    models: list[tuple[Entry, Model]] = field(default_factory=list)
    artifacts: dict[str, tuple[Entry, Artifact]] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    console: dict[Line, str] = field(default_factory=dict)


def encode_entries(entries: Sequence[Entry]) -> Content:
    """Return the entries' content. RunFinished is left out: `finish` brings it."""
    content = Content(metrics=metrics_of(entries))
    for entry in entries:
        if type(entry.record) not in (Metrics, Points):  # those are nearly all, and stand in `metrics` already
            _add(content, entry)
    return content


def _add(content: Content, entry: Entry) -> None:
    record = entry.record
    if isinstance(record, RunStarted):
        content.start = record
    elif isinstance(record, Hyperparameters):
        for name, value in record.values.items():
            content.params.setdefault(name, value if isinstance(value, str) else str(value))
    elif isinstance(record, Artifact):
        content.artifacts[record.name] = (entry, record)
    elif isinstance(record, LogLines):
        content.console[entry.writer, entry.seq] = console_text(record)
    elif isinstance(record, Summary):
        _add_summary(content, record)
    elif isinstance(record, RunUpdated):
        _add_update(content, record)
    elif isinstance(record, Model):
        content.models.append((entry, record))
    else:
        _add_capture(content, entry)


def _add_capture(content: Content, entry: Entry) -> None:
    record = entry.record
    if isinstance(record, CodeVersion):
        content.tags.update(code_tags(record))
        content.documents[names.CODE_FILE] = encode(record, entry.seq)
        if record.diff:
            content.documents[names.DIFF_FILE] = diff_text(record.diff)
    elif isinstance(record, DataVersion):
        content.datasets.append(dataset_input(record))
        content.documents[data_file(record)] = encode(record, entry.seq)
    elif isinstance(record, Environment):
        content.documents[environment_file(record)] = encode(record, entry.seq)
        content.documents[names.REQUIREMENTS_FILE] = requirements(record)
    elif isinstance(record, CaptureFailed):
        content.tags[failure_tag(record.what)] = error_tag(record.error)


# -- points -----------------------------------------------------------------------------------------------------------


def metrics_of(entries: Sequence[Entry]) -> list[Metric]:
    """Return a metric for every point: the value as float, the time in milliseconds, rounded down."""
    system = names.SYSTEM_METRICS
    return [
        Metric(
            name if source == "user" or name.startswith(system) else system + name,
            float(value),
            time // 1000,
            0 if step is None else int(step),
        )
        for name, step, time, value, source in entry_points(entries)
    ]


def _add_summary(content: Content, record: Summary) -> None:
    for name, value in record.values.items():
        if isinstance(value, int | float):
            content.metrics.append(Metric(names.SUMMARY_METRICS + name, float(value), record.time // 1000, 0))
        else:
            content.tags[names.TAG_SUMMARY + name] = value if isinstance(value, str) else str(value)


def score_metrics(model: Model, model_id: str, run_id: str) -> list[Metric]:
    """Return the model's scores as metrics of the run that belong to the model; MLflow keeps them in both places."""
    return [
        Metric(
            score.name,
            float(score.value),
            score.time // 1000,
            score.step or 0,
            model_id=model_id,
            dataset_name=score.data_name if score.data_digest is not None else None,
            dataset_digest=score.data_digest if score.data_name is not None else None,
            run_id=run_id,
        )
        for score in model.scores
    ]


# -- the run itself ---------------------------------------------------------------------------------------------------


def run_name(run: RunStarted) -> str:
    """Return the run's name. MLflow invents one for a run without; the beginning of the id says that it has none."""
    return run.name or run.tags.get(names.TAG_RUN_NAME) or run.id[:8]


def run_user(run: RunStarted) -> str:
    """Return the user, for `info.user_id`, which is fixed at creation."""
    return run.user or run.tags.get(names.TAG_USER) or ""


def start_tags(run: RunStarted) -> dict[str, str]:
    """Return the tags that the run is created with. Those of a field go before a tag of the same name."""
    fields = {
        names.TAG_USER: run.user,
        names.TAG_NOTE: run.notes,
        names.TAG_GROUP: run.group,
        names.TAG_JOB_TYPE: run.job_type,
        names.TAG_HOST: run.host,
        names.TAG_REPRODUCES: run.reproduces,
        TAG_PARENT: run.parent,
    }
    tags = {name: value or "" for name, value in run.tags.items() if name != names.TAG_RUN_NAME}
    return {**tags, **{name: value for name, value in fields.items() if value is not None}, TAG_RUN_ID: run.id}


def _add_update(content: Content, record: RunUpdated) -> None:
    fields = {names.TAG_NOTE: record.notes, names.TAG_GROUP: record.group, names.TAG_JOB_TYPE: record.job_type}
    content.tags.update({name: value for name, value in fields.items() if value is not None})
    content.tags.update({name: value or "" for name, value in record.tags.items()})
    content.tags.update(dict.fromkeys(record.removed_tags))
    content.run_name = record.name or content.run_name
    if record.status is not None:
        content.status = names.STATUS_TO_MLFLOW[record.status]


def code_tags(record: CodeVersion) -> dict[str, str]:
    """Return the tags that MLflow's pages show the code by."""
    fields = {
        names.TAG_GIT_COMMIT: record.commit,
        names.TAG_GIT_BRANCH: record.branch,
        names.TAG_GIT_REMOTE: record.remote,
        names.TAG_SOURCE_NAME: record.entry_point,
    }
    return {name: value[:TAG_LENGTH] for name, value in fields.items() if value is not None}


def failure_tag(what: str) -> str:
    """Return the name of the tag that tells what could not be captured. MLflow: letters, digits and `_ - . : / ` up to 250 of them."""
    return names.TAG_CAPTURE_FAILED + _BAD_IN_TAGS.sub("_", what)[:_FAILURE_LENGTH]


def diff_text(diff: str) -> bytes:
    """Return a diff as a file: byte for byte where it was captured here, where lone surrogates stand for bytes that are no UTF-8."""
    try:
        return diff.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return diff.encode("utf-8", "replace")


def error_tag(error: str) -> str:
    """Return an error as a tag holds it. Of a longer one the end, which names the exception; the records hold all of it."""
    return error[-TAG_LENGTH:]


# -- data -------------------------------------------------------------------------------------------------------------


def dataset_input(record: DataVersion) -> DatasetInput:
    """Return the data set as MLflow shows it. It must have a digest: where there is none, that of the description stands in.

    MLflow: name 500 characters, digest 36, source 65,535, schema 1,048,575, profile 16,777,215. What is longer is complete in the
    document alone; a schema, profile or tag that does not fit is left out, since half of it would be unreadable.
    """
    tags = [InputTag(names.TAG_DATA_CONTEXT, record.role[:_INPUT_TAG_LENGTH])] if record.role is not None else []
    tags += [
        InputTag(name, value) for name, value in record.tags.items() if len(name) <= _INPUT_TAG_KEY and len(value) <= _INPUT_TAG_LENGTH
    ]
    digest = record.digest or sha256(encode(record.model_copy(update={"time": 0}), 0)).hexdigest()[:8]
    source = described.source(record)
    dataset = Dataset(
        name=record.name[:_DATA_NAME_LENGTH] or "data",
        digest=digest[:_DIGEST_LENGTH],
        source_type=record.source_type or ("unknown" if record.uri is None else "local" if "://" not in record.uri else "http"),
        source=source if len(source) <= _SOURCE_LENGTH else (record.uri or "")[:_SOURCE_LENGTH],
        schema=_json(described.schema(record), _SCHEMA_LENGTH),
        profile=_json(described.profile(record), _PROFILE_LENGTH),
    )
    return DatasetInput(dataset=dataset, tags=tags)


def _json(value: Any, length: int) -> str | None:
    """Return a text as it is and anything else as `json.dumps` writes it, which is how MLflow's own data sets do."""
    text = value if value is None or isinstance(value, str) else json.dumps(value)
    return text if text is not None and len(text) <= length else None


def data_file(record: DataVersion) -> str:
    """Return the name of the document that completes a data set."""
    key = "\0".join((record.name, record.role or "", record.digest or "")).encode("utf-8", "surrogatepass")
    return f"{names.DATA_FILES}{sha256(key).hexdigest()[:8]}.json"


# -- environment, console ---------------------------------------------------------------------------------------------


def environment_file(record: Environment) -> str:
    """Return the name of the document that holds the environment of a host."""
    host = re.sub(r"[^\w.-]|^\.+", "_", record.host or "unknown", flags=re.ASCII)[:200]
    return f"{names.ENVIRONMENT_FILES}{host}.json"


def requirements(record: Environment) -> bytes:
    """Return the installed packages as pip reads them, and as comments those that nothing but the machine had."""
    lines = [*requirement_lines(record), *(f"# {item.name}: {item.reason}" for item in not_rebuildable(record))]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def console_text(record: LogLines) -> str:
    """Return the lines, each as ISO time, stream, text and a line end; the stream with the process's label, as in `stderr[rank 3]`."""
    stream: str = record.stream
    if record.label is not None:
        stream += f"[{quote(record.label, safe=' /:', errors='surrogatepass')}]"
    return "".join(
        f"{iso_time(time)} {stream} {line.replace(chr(10), ' ')}\n" for time, line in zip(record.times, record.lines, strict=True)
    )


def console_file(batch: int) -> str:
    """Return the name of the file that holds the console lines of a batch."""
    return f"{names.CONSOLE_FILES}{batch:08}.log"


def iso_time(time: Microseconds) -> str:
    """Return a time as ISO 8601, UTC, to the microsecond."""
    return (_EPOCH + timedelta(microseconds=time)).isoformat(timespec="microseconds")


# -- names ------------------------------------------------------------------------------------------------------------


def why_not_a_file_name(name: str) -> str | None:
    """Return why an artifact cannot go there under this name, None when it can.

    These rules are beyond what a `NameRule` says. MLflow's server drops a space at the beginning of a file name, in silence, and its disk
    takes 255 bytes a part.
    """
    parts = name.split("/")
    if parts[-1].startswith(" "):
        return f"artifact {name!r}: MLflow drops the space at the beginning of {parts[-1]!r}; rename it"
    if any(len(part.encode("utf-8", "surrogatepass")) > _PART_BYTES for part in parts):
        return f"artifact {name!r}: a part of its name is longer than {_PART_BYTES} bytes; rename it"
    return None


def model_name(model: Model) -> str:
    r"""Return the model's name without what MLflow refuses in it: `/ : . % " '`."""
    return _BAD_IN_MODEL_NAMES.sub("-", model.name) or "model"


# -- calls ------------------------------------------------------------------------------------------------------------

Call = tuple[Sequence[Metric], Sequence[Param], Sequence[RunTag]]


def calls(metrics: Sequence[Metric], params: dict[str, str], tags: dict[str, str | None]) -> Iterator[Call]:
    """Yield the arguments of as few `log_batch` calls as hold it all; tags to be taken away are left out."""
    all_params = [Param(name, value) for name, value in params.items()]
    all_tags = [RunTag(name, value) for name, value in tags.items() if value is not None]
    start = 0
    while start < len(metrics) or all_params or all_tags:
        some_params, all_params = all_params[:PARAMS_PER_CALL], all_params[PARAMS_PER_CALL:]
        some_tags, all_tags = all_tags[:TAGS_PER_CALL], all_tags[TAGS_PER_CALL:]
        end = start + ENTITIES_PER_CALL - len(some_params) - len(some_tags)
        yield metrics[start:end], some_params, some_tags
        start = end

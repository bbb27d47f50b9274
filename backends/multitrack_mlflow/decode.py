"""From MLflow's words to records. Pure: `names` holds the table, the readers bring the words, nothing here asks a service.

What is **ours** is a run that carries the tag `multitrack.run_id`: only there do `multitrack.*` tags, `_summary/` metrics and the
documents under `multitrack/` mean what the table says. In anybody else's run they are tags, metrics and files like others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import orjson
from pydantic import ValidationError

from multitrack.backend import TAG_PARENT, TAG_RUN_ID, RunRef, derive_run_id
from multitrack.errors import RecordError
from multitrack.records import (
    RUN_ID,
    CaptureFailed,
    CodeVersion,
    DataVersion,
    Hyperparameters,
    LogLines,
    Microseconds,
    Model,
    ModelScore,
    ParamValue,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Summary,
    Value,
    from_wire,
)

from . import display, names
from .native import Column, DatasetInput, ModelLink, NativeModel, NativeRun

RecordType = TypeVar("RecordType", bound=Record)

_CODE_TAGS = {
    "commit": names.TAG_GIT_COMMIT,
    "branch": names.TAG_GIT_BRANCH,
    "remote": names.TAG_GIT_REMOTE,
    "entry_point": names.TAG_SOURCE_NAME,
}
_OUR_TAGS = {TAG_PARENT, names.TAG_GROUP, names.TAG_JOB_TYPE, names.TAG_HOST, names.TAG_REPRODUCES, names.TAG_ERROR}


# -- identity ---------------------------------------------------------------------------------------------------------


def is_ours(run: NativeRun) -> bool:
    """Return whether multitrack wrote the run."""
    return RUN_ID.fullmatch(run.tags.get(TAG_RUN_ID, "")) is not None


def neutral_id(run: NativeRun) -> str:
    """Return the run's neutral id: its `multitrack.run_id` tag, else its own id, else one derived from it."""
    return run.tags[TAG_RUN_ID] if is_ours(run) else native_to_neutral(run.id, run.experiment.name)


def native_to_neutral(native_id: str, project: str) -> str:
    """Return the neutral id of a run that carries none."""
    return native_id if RUN_ID.fullmatch(native_id) else derive_run_id("mlflow", project, native_id)


def microseconds(milliseconds: int | None) -> Microseconds | None:
    """Return MLflow's time as ours."""
    return None if milliseconds is None else milliseconds * 1000


def started_at(run: NativeRun) -> Microseconds:
    """Return when the run started; a run without a start has its end for one, and the epoch failing that."""
    return next((at * 1000 for at in (run.start, run.end) if at is not None), 0)


def name_of(run: NativeRun) -> str | None:
    """Return the run's name. MLflow names every run; one of ours that goes by the beginning of its id has none."""
    return None if not run.name or (is_ours(run) and run.name == neutral_id(run)[:8]) else run.name


def reference(run: NativeRun, parent: str | None, server: str | None) -> RunRef:
    """Return the run as a listing shows it.

    Args:
        run: the run.
        parent: its parent's neutral id.
        server: the address of the server's pages; None where there is no server.
    """
    return RunRef(
        id=neutral_id(run),
        native_id=run.id,
        project=run.experiment.name,
        name=name_of(run),
        status=names.STATUS_FROM_MLFLOW.get(run.status),  # type: ignore[arg-type]
        started=microseconds(run.start),
        ended=microseconds(run.end),
        parent=parent,
        tags=dict(run.tags),
        params=dict(run.params),
        metrics={
            key if holds_series(run, key) else key.removeprefix(names.SUMMARY_METRICS): last.value for key, last in run.latest.items()
        },
        deleted=run.deleted,
        url=None if server is None else f"{server.rstrip('/')}/#/experiments/{run.experiment.id}/runs/{run.id}",
        version=run.version,
    )


# -- the run's life ---------------------------------------------------------------------------------------------------


def run_started(run: NativeRun, parent: str | None) -> RunStarted:
    """Return the run's first record. Tags that no field or other record holds stay tags, word for word."""
    ours = is_ours(run)
    our_tags = run.tags if ours else {}
    tags = display.without_own(run.tags) if ours else run.tags
    return RunStarted(
        time=started_at(run),
        id=neutral_id(run),
        project=run.experiment.name,
        name=name_of(run),
        parent=parent,
        tags={key: value for key, value in sorted(tags.items()) if not _stands_elsewhere(key, run, parent, ours=ours)},
        notes=run.tags.get(names.TAG_NOTE),
        user=run.user or run.tags.get(names.TAG_USER),
        group=our_tags.get(names.TAG_GROUP),
        job_type=our_tags.get(names.TAG_JOB_TYPE),
        host=our_tags.get(names.TAG_HOST),
        reproduces=our_tags.get(names.TAG_REPRODUCES),
    )


def _stands_elsewhere(key: str, run: NativeRun, parent: str | None, *, ours: bool) -> bool:
    value = run.tags[key]
    if key == names.TAG_RUN_NAME:
        return value == run.name
    if key == names.TAG_USER:
        return not run.user or value == run.user
    if key == names.TAG_PARENT_RUN:
        return parent is not None
    if key in {names.TAG_NOTE, *_CODE_TAGS.values()}:
        return True
    return ours and (key in _OUR_TAGS or key.startswith((names.TAG_SUMMARY, names.TAG_CAPTURE_FAILED)))


def captures_failed(run: NativeRun) -> Iterator[CaptureFailed]:
    """Yield what could not be captured of a run of ours."""
    for key, error in sorted(run.tags.items()):
        if is_ours(run) and key.startswith(names.TAG_CAPTURE_FAILED):
            yield CaptureFailed(time=started_at(run), what=key.removeprefix(names.TAG_CAPTURE_FAILED), error=error)


def run_ending(run: NativeRun) -> Iterator[RunUpdated | RunFinished]:
    """Yield how the run stands: that it goes on, or is among the deleted ones, or how it ended."""
    status = names.STATUS_FROM_MLFLOW.get(run.status, "running")
    end = run.end if run.end is not None else run.start
    last = microseconds(end) or 0
    going_on = status if status in ("running", "scheduled") else None
    if going_on is not None or run.deleted:
        yield RunUpdated(time=last, status=going_on, deleted=run.deleted or None)  # type: ignore[arg-type]
    if going_on is None:
        error = run.tags.get(names.TAG_ERROR) if is_ours(run) else None
        yield RunFinished(time=last, status=status, error=error)  # type: ignore[arg-type]


# -- the five records -------------------------------------------------------------------------------------------------


def code_version(run: NativeRun, written: CodeVersion | None = None) -> CodeVersion | None:
    """Return which code ran: what the tags say, completed from the record that we left there; the tags win."""
    tagged = {field: run.tags[tag] for field, tag in _CODE_TAGS.items() if tag in run.tags}
    if "remote" in tagged:
        tagged["remote"] = strip_credentials(tagged["remote"])
    if written is None:
        if not tagged:
            return None
        written = CodeVersion(time=started_at(run), vcs="git" if tagged.keys() - {"entry_point"} else None)
    return written.model_copy(update=tagged)


def strip_credentials(url: str) -> str:
    """Return a web address without user name and password; any other text as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def data_version(run: NativeRun, used: DatasetInput) -> DataVersion:
    """Return a data set that the run used. `uri` is MLflow's source text, whatever its form."""
    return DataVersion(
        time=started_at(run),
        name=used.name,
        role=used.tags.get(names.TAG_DATA_CONTEXT),
        uri=used.source,
        source_type=used.source_type,
        digest=used.digest,
        data_schema=parse_json(used.schema),
        profile=parse_json(used.profile),
        tags={key: value for key, value in sorted(used.tags.items()) if key != names.TAG_DATA_CONTEXT},
    )


def parse_json(text: str | None) -> ParamValue:
    """Return the object or list that the text describes where `json.dumps` gives exactly this text back; else the text itself."""
    if text is None or not text.startswith(("{", "[")):
        return text
    try:
        value: ParamValue = json.loads(text)
        return value if json.dumps(value) == text else text
    except (ValueError, RecursionError):
        return text


def hyperparameters(run: NativeRun) -> Hyperparameters | None:
    """Return the params: flat, and text, as MLflow holds them."""
    return Hyperparameters(time=started_at(run), values=dict(sorted(run.params.items()))) if run.params else None


def points(column: Column) -> Points:
    """Return a column as a record. It is not validated: the readers' types are known, and there may be millions of points."""
    return Points.model_construct(
        time=column.times[0] * 1000,
        name=column.key,
        steps=column.steps,
        times=[at * 1000 for at in column.times],
        values=column.values,
        source="system" if column.key.startswith(names.SYSTEM_METRICS) else "user",
    )


def holds_series(run: NativeRun, key: str) -> bool:
    """Return whether a metric is a series; those of our summary are not."""
    return not (is_ours(run) and key.startswith(names.SUMMARY_METRICS))


def summary(run: NativeRun) -> Summary | None:
    """Return our summary: numbers from metrics, text from tags."""
    if not is_ours(run):
        return None
    numbers = {key: last for key, last in sorted(run.latest.items()) if not holds_series(run, key)}
    values: dict[str, Value] = {key.removeprefix(names.SUMMARY_METRICS): last.value for key, last in numbers.items()}
    values |= {key.removeprefix(names.TAG_SUMMARY): text for key, text in sorted(run.tags.items()) if key.startswith(names.TAG_SUMMARY)}
    if not values:
        return None
    at = max((last.time * 1000 for last in numbers.values()), default=started_at(run))
    return Summary(time=at, values=values)


# -- logged models ----------------------------------------------------------------------------------------------------


def model_path(model: NativeModel) -> str:
    """Return the folder, among the run's artifacts, that the model's files are listed under."""
    ours = names.TAG_MODEL_ID in model.tags
    return (model.tags.get(names.TAG_MODEL_PATH) if ours else None) or f"models/{model.id}"


def model(run: NativeRun, link: ModelLink, found: NativeModel) -> Model:
    """Return a logged model with the scores that **this** run gave it: those of other runs come with them."""
    ours = names.TAG_MODEL_ID in found.tags
    own_tags = {names.TAG_MODEL_ID, names.TAG_MODEL_PATH, names.TAG_MODEL_NAME} if ours else set()
    return Model(
        time=found.created * 1000,
        name=(found.tags.get(names.TAG_MODEL_NAME) if ours else None) or found.name,
        id=found.tags.get(names.TAG_MODEL_ID) or found.id,
        path=model_path(found),
        role=_role(link),
        type=found.type or None,
        status=found.status,
        status_message=found.status_message or None,
        step=link.step,
        params=dict(sorted(found.params.items())),
        tags={key: value for key, value in sorted(found.tags.items()) if key not in own_tags},
        scores=[
            ModelScore(
                name=score.name,
                time=score.time * 1000,
                value=score.value,
                step=score.step,
                data_name=score.dataset_name,
                data_digest=score.dataset_digest,
            )
            for score in sorted(found.scores, key=lambda s: (s.name, s.time, s.step, repr(s.value)))
            if score.run_id == run.id
        ],
    )


def _role(link: ModelLink) -> Literal["output", "input", "unlisted"]:
    if not link.output:
        return "input"
    return "unlisted" if link.step is None else "output"


# -- our documents ----------------------------------------------------------------------------------------------------


def document(cls: type[RecordType], content: bytes) -> RecordType | None:
    """Return the record that a document holds; None when it holds none, because somebody has changed it."""
    try:
        wire = orjson.loads(content)
        fields = {key: from_wire(value) for key, value in wire.items() if key not in ("kind", "seq")}
        return cls.model_validate(fields, extra="allow")
    except (orjson.JSONDecodeError, AttributeError, RecordError, ValidationError):
        return None


_CONSOLE_LINE = re.compile(r"(\S+) (\w+)(?:\[([^]]*)\])? (.*)", re.DOTALL)


def log_lines(content: bytes) -> list[LogLines] | None:
    """Return the console lines of one of our files, runs of one stream together; None when it is no such file."""
    found: list[LogLines] = []
    try:
        for line in content.decode("utf-8", "surrogatepass").removesuffix("\n").split("\n"):
            found_line = _CONSOLE_LINE.fullmatch(line)
            if found_line is None:
                return None
            when, stream, label, text = found_line.groups()
            at = to_microseconds(when)
            label = None if label is None else unquote(label, errors="surrogatepass")
            if found and (found[-1].stream, found[-1].label) == (stream, label):
                found[-1].times.append(at)
                found[-1].lines.append(text)
            else:
                found.append(LogLines(time=at, stream=stream, label=label, times=[at], lines=[text]))  # type: ignore[arg-type]
    except ValueError:  # a ValidationError is one
        return None
    return found


def to_microseconds(text: str) -> Microseconds:
    """Return an ISO time with its offset as microseconds since the epoch, exactly."""
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

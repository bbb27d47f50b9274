"""From W&B's words to records. Pure: `names` holds the table, a source brings the words, nothing here asks a service.

What is **ours** is a run whose config has `multitrack.run_id`: only there do the key `multitrack`, the column `multitrack/step`
and the descriptions under `multitrack/` mean what the table says. In anybody else's run they are params, metrics and files like others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from multitrack.backend import RESERVED_TAGS, TAG_COMPLETE, TAG_PARENT, RunRef, derive_run_id
from multitrack.errors import RecordError
from multitrack.records import (
    RUN_ID,
    Artifact,
    CaptureFailed,
    CodeVersion,
    DataVersion,
    Environment,
    Gpu,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Microseconds,
    Record,
    RunFinished,
    RunStarted,
    RunStatus,
    RunUpdated,
    Summary,
    decode,
)

from . import names
from .config import params_of, sources_of
from .definitions import read_definitions
from .native import NativeFile, NativeRun
from .summary import shown, summary_of
from .values import clean, read_word, shown_tags

_GOING_ON = ("running", "scheduled")
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")


# -- identity -----------------------------------------------------------------------------------------------------------------


def own_words(run: NativeRun) -> Mapping[str, Any]:
    """Return what multitrack has left in the run's config; nothing in a run that is not ours."""
    own = run.config.get(names.CONFIG)
    return own if isinstance(own, Mapping) and RUN_ID.fullmatch(str(own.get("run_id"))) else {}


def is_ours(run: NativeRun) -> bool:
    """Return whether multitrack wrote the run."""
    return bool(own_words(run))


def neutral_id(run: NativeRun) -> str:
    """Return the run's neutral id: what multitrack left there, else its own id, else one derived from it."""
    own = own_words(run)
    if own:
        return str(own["run_id"])
    return run.id if RUN_ID.fullmatch(run.id) else derive_run_id("wandb", f"{run.entity or ''}/{run.project}", run.id)


def project_of(run: NativeRun) -> str:
    """Return the run's project: the one it was sent from, where W&B has it in another."""
    told = read_word(own_words(run).get(names.PROJECT))
    return run.project if told is None else told


def started_at(run: NativeRun) -> Microseconds:
    """Return when the run started; the epoch where nothing tells."""
    told = own_words(run).get(names.STARTED)
    return int(told) if isinstance(told, int | float) else run.started if run.started is not None else run.ended or 0


def status_of(run: NativeRun) -> RunStatus | None:
    """Return the run's status: what was sent, where W&B's state, which has fewer words, does not contradict it."""
    told = own_words(run).get(names.STATUS)
    state = names.STATUS_FROM_STATE.get(run.state or "")
    bad = ("failed", "killed", "crashed")
    agree = told == state or (told in bad and state in bad) or (told in _GOING_ON and state in _GOING_ON)
    return cast(RunStatus | None, told if told is not None and (state is None or agree) else state)


def ended_at(run: NativeRun) -> Microseconds | None:
    """Return when the run ended; None while it goes on."""
    if status_of(run) in (None, *_GOING_ON):
        return None
    told = own_words(run).get(names.ENDED)
    return int(told) if isinstance(told, int | float) else run.ended if run.ended is not None else started_at(run)


def tags_of(run: NativeRun) -> dict[str, str | None]:
    """Return the run's tags, multitrack's own ones included. What people have added to W&B's tags is there; what they took away is not."""
    own = own_words(run)
    if not own:
        return dict.fromkeys(run.tags)
    told = {name: read_word(value) for name, value in (own.get(names.TAGS) or {}).items()}
    sent = shown_tags(told)
    left = () if sent else own.get(names.TAGS_LEFT) or ()
    gone = set(sent) - set(run.tags)
    kept = {name: value for name, value in told.items() if not gone.intersection(shown_tags({name: value}))}
    words = {name: read_word(value) for name, value in own.items() if name not in names.OWN_KEYS}
    marks = {RESERVED_TAGS + name: value for name, value in words.items() if value is not None}
    if not names.has_ended(run.state, own.get(names.STATUS)):
        marks.pop(TAG_COMPLETE, None)
    return {**kept, **dict.fromkeys(tag for tag in run.tags if tag not in sent and tag not in left), **marks}


def reference(run: NativeRun) -> RunRef:
    """Return the run as a listing shows it."""
    tags = tags_of(run)
    ours = is_ours(run)
    return RunRef(
        id=neutral_id(run),
        native_id=run.id,
        project=project_of(run),
        name=_called(run, "name", run.name),
        status=status_of(run),
        started=started_at(run),
        ended=ended_at(run),
        parent=tags.get(TAG_PARENT),
        tags=tags,
        params=params_of(run.config, ours=ours),
        metrics=shown(run.summary),
        deleted=own_words(run).get(names.DELETED) is True,
        url=run.url,
        version=run.version,
    )


# -- the run's life -----------------------------------------------------------------------------------------------------------


def run_started(run: NativeRun) -> RunStarted:
    """Return the run's first record. Of anybody else's run, a sweep is its group where it has none."""
    own = own_words(run)
    return RunStarted(
        time=started_at(run),
        id=neutral_id(run),
        project=project_of(run),
        name=_called(run, "name", run.name),
        group=_called(run, "group", run.group) if own else run.group or run.sweep or None,
        job_type=_called(run, "job_type", run.job_type),
        notes=_called(run, "notes", run.notes),
        parent=tags_of(run).get(TAG_PARENT),
        tags=tags_of(run),
        user=read_word(own.get(names.USER)) if own else run.user,
        host=read_word(own.get(names.HOST)) if own else run.host,
        reproduces=read_word(own.get(names.REPRODUCES)),
    )


def _called(run: NativeRun, field: str, there: str | None) -> str | None:
    """Return what the run is called there. W&B names every run: one of ours that was sent without a name has none."""
    own = own_words(run)
    if not own:
        return there or None
    told = (own.get(names.CALLED) or {}).get(field)
    if isinstance(told, list):
        return "" if there == clean(read_word(told[0]) or "") else there or ""
    sent = read_word(told)
    if sent is None:
        return None if field == "name" else there or None
    return sent if clean(sent) == (there or "") else there or ""


def captures_failed(run: NativeRun) -> Iterator[CaptureFailed]:
    """Yield what could not be captured of a run of ours."""
    for key, told in (own_words(run).get(names.CAPTURE_FAILED) or {}).items():
        what, error = map(read_word, told if isinstance(told, list) and len(told) == 2 else (key, told))
        yield CaptureFailed(time=started_at(run), what=what or key, error=error or "")


def run_ending(run: NativeRun) -> Iterator[RunUpdated | RunFinished]:
    """Yield how the run stands: that it goes on, or is among the deleted ones, or how it ended."""
    own = own_words(run)
    status = status_of(run) or "running"
    going_on = status if status in _GOING_ON else None
    deleted = own.get(names.DELETED) is True
    last = ended_at(run) or started_at(run)
    if going_on is not None or deleted:
        yield RunUpdated.model_validate({"time": last, "status": going_on, "deleted": deleted or None})
    if going_on is None:
        yield RunFinished.model_validate({"time": last, "status": status, "error": read_word(own.get(names.ERROR))})


# -- what it was made with ----------------------------------------------------------------------------------------------------


def hyperparameters(run: NativeRun) -> Hyperparameters | None:
    """Return the params: nested, as W&B has them."""
    ours = is_ours(run)
    params = params_of(run.config, ours=ours)
    sources = sources_of(run.config) if ours else {}
    return Hyperparameters(time=started_at(run), values=params, sources=sources) if params or sources else None


def code_version(run: NativeRun, written: CodeVersion | None = None, diff: str | None = None) -> CodeVersion | None:
    """Return which code ran: what W&B shows, completed from the record that we left there.

    Args:
        run: the run.
        written: the record; None in anybody else's run.
        diff: the content of `diff.patch`, of which ours holds the same.
    """
    told = {"commit": run.commit or None, "remote": run.remote or None}
    if written is not None:
        sent = {"commit": written.commit, "remote": written.remote}
        changed = {name: value for name, value in told.items() if value is not None and value != clean(sent[name] or "")}
        return written.model_copy(update=changed)
    meta = run.metadata
    program = meta.get("codePath") or meta.get("program")
    found = {
        **told,
        "diff": diff or None,
        "dirty": True if diff else None,
        "entry_point": program or None,
        "root": meta.get("root") or None,
        "command": [program, *meta.get("args", [])] if program and meta.get("args") else None,
    }
    found = {name: value for name, value in found.items() if value is not None}
    if not found:
        return None
    return CodeVersion.model_validate({"time": started_at(run), "vcs": "git" if found.keys() & {"commit", "remote"} else None, **found})


def environment(run: NativeRun, requirements: str | None = None) -> Environment | None:
    """Return the machine and the software of a run that is not ours.

    Args:
        run: the run.
        requirements: the content of `requirements.txt`.
    """
    meta = run.metadata
    lines = map(_REQUIREMENT.fullmatch, map(str.strip, (requirements or "").splitlines()))
    packages = {line[1]: line[2] for line in lines if line is not None}
    gpus = [
        Gpu(name=str(gpu.get("name", "")), memory=_int(gpu.get("memoryTotal")), uuid=gpu.get("uuid") or None)
        for gpu in meta.get("gpu_nvidia") or ()
    ]
    implementation, _, version = str(meta.get("python") or "").rpartition(" ")
    found: dict[str, Any] = {
        "host": meta.get("host") or run.host or None,
        "python": version or None,
        "implementation": implementation or None,
        "os": meta.get("os") or None,
        "executable": meta.get("executable") or None,
        "cpu_count": _int(meta.get("cpu_count_logical")),
        "cpu_physical": _int(meta.get("cpu_count")),
        "memory": _int((meta.get("memory") or {}).get("total")),
        "cuda": meta.get("cudaVersion") or None,
        "image": meta.get("docker") or None,
        "packages": packages,
        "gpus": gpus,
        "scheduler": dict(meta.get("slurm") or {}),
    }
    found = {name: value for name, value in found.items() if value}
    return Environment(time=started_at(run), **found) if found.keys() - {"host"} else None


def _int(value: Any) -> int | None:
    """Return a number; protobuf's JSON has large ones as text."""
    try:
        return int(value) or None
    except (TypeError, ValueError):
        return None


def definitions(run: NativeRun, native: Iterable[MetricDefinition] = ()) -> list[MetricDefinition]:
    """Return how metrics are to be read: of a run of ours what was sent, of any other's what W&B knows."""
    own = own_words(run)
    return list(read_definitions(own.get(names.DEFINITIONS))) if own else list(native)


def summary(run: NativeRun, last: Mapping[str, Any]) -> Summary | None:
    """Return what was set explicitly; `last` are the metrics' last values, as the history has them."""
    values = summary_of(run.summary, last, ours=is_ours(run))
    return Summary(time=started_at(run), values=values) if values else None


# -- descriptions -------------------------------------------------------------------------------------------------------------


class Described:
    """The records in a run's descriptions, by what they are."""

    def __init__(self, descriptions: Iterable[bytes]) -> None:
        """`descriptions`: the content of the files below `multitrack/described/`, in the order of their names."""
        self.code: CodeVersion | None = None
        self.data: list[DataVersion] = []
        self.environments: list[Environment] = []
        self.console: list[LogLines] = []
        self.artifacts: dict[str, Artifact] = {}
        for line in (line for content in descriptions for line in content.splitlines()):
            try:
                self._take(decode(line)[1])
            except RecordError:  # somebody has edited the file
                continue

    def _take(self, record: Record) -> None:
        if isinstance(record, CodeVersion):
            self.code = record
        elif isinstance(record, DataVersion):
            self.data.append(record)
        elif isinstance(record, Environment):
            self.environments.append(record)
        elif isinstance(record, LogLines):
            self.console.append(record)
        elif isinstance(record, Artifact):
            self.artifacts[record.name] = record


def artifacts(run: NativeRun, files: Iterable[NativeFile], described: Described) -> Iterator[Artifact]:
    """Yield the files that the run has, with the details that its descriptions tell, and its references.

    Args:
        run: the run.
        files: the run's files, and those of the artifacts that it logged, under the names that they were given.
        described: what was found in the run's descriptions.
    """
    ours = is_ours(run)
    for file in files:
        if is_wandbs_own(file.name) or (ours and file.name.startswith(names.DESCRIBED_FILES)):
            continue
        known = described.artifacts.get(file.name)
        if known is None or (file.size is not None and known.size is not None and known.size != file.size):
            yield Artifact(time=started_at(run), name=file.name, size=file.size)
        else:
            yield known.model_copy(update={"sha256": None})
    yield from (one for one in described.artifacts.values() if one.sha256 is None)


def is_wandbs_own(name: str) -> bool:
    """Return whether a run file is what W&B itself puts there: its content is in the records."""
    return name in names.WANDB_FILES or name.startswith("logs/")

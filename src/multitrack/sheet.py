"""A run as lines for people: what it is, then its records one after the other. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from .fields import flatten
from .records import ArtifactRef, CodeVersion, DataVersion, Environment, Omission
from .state import RunState, last_values
from .wording import duration

if TYPE_CHECKING:
    from .view import RunView

TAIL = 10
"""Lines of the console that are shown unless all are wanted."""
_LISTED = 8
"""Items of a list, such as files that are not tracked, that are named."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Facts = Iterable[tuple[str, str | None]]


def show_run(view: RunView, *, whole_console: bool = False) -> Iterator[str]:
    """Yield the lines. `whole_console`: everything that was printed, instead of the last lines."""
    state = view.state
    yield f"{view.name or 'run'} ({view.id}) of {view.project}"
    yield from _table(_facts(view))
    yield from _section("code", _code(state.code))
    yield from _section("data", _data(state.data.values()))
    yield from _section("params", _params(state))
    yield from _section("metrics", _metrics(state))
    yield from _resources(state)
    for host, environment in state.environments.items():
        yield from _section("environment" if len(state.environments) == 1 else f"environment of {host}", _environment(environment))
    own = {name for name in state.artifacts if name.startswith(("code/", "data/", "environment/")) and state.artifacts[name].type in _OWN}
    yield from _section("artifacts", ((name, size_text(one.size) or one.uri) for name, one in state.artifacts.items() if name not in own))
    yield from _section("models", ((model.name, f"{model.type or 'model'}, {model.path}") for model in state.models.values()))
    yield from _section("not captured", state.failures.items())
    yield from _console(state, whole=whole_console)


_OWN = frozenset({"code", "data", "environment"})
"""Types of artifacts that belong to a record, which names them."""


# -- layout -----------------------------------------------------------------------------------------------------------


def _section(title: str, rows: Facts) -> Iterator[str]:
    found = [(name, value) for name, value in rows if value not in (None, "")]
    if found:
        yield ""
        yield title
        yield from _table(found)


def _table(rows: Facts) -> Iterator[str]:
    shown = [(name, value) for name, value in rows if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *rest = str(value).splitlines() or [""]
        yield f"  {name.ljust(width)}  {first}".rstrip()
        yield from (f"  {''.ljust(width)}  {line}" for line in rest)


def _several(names: Sequence[str]) -> str | None:
    more = len(names) - _LISTED
    return "\n".join([*names[:_LISTED], *([f"and {more:,} more"] if more > 0 else [])]) or None


def size_text(size: int | None) -> str | None:
    """Return a number of bytes for people; None stays None."""
    if size is None:
        return None
    amount: float = size
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def value_text(value: Any) -> str:
    """Return a value for people: floats to six significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# -- the run ----------------------------------------------------------------------------------------------------------


def _facts(view: RunView) -> Facts:
    state = view.state
    took = duration((view.ended - view.started).total_seconds()) if view.started and view.ended else "-"
    yield "status", (view.status or "unknown") + (" (deleted)" if view.ref.deleted else "")
    yield "started", f"{_moment(view.started)}, by {state.user or '?'} on {state.host or '?'}"
    yield "ended", f"{_moment(view.ended)}, after {took}" if view.ended else None
    yield "error", (state.error or "").strip().rpartition("\n")[2] or None
    yield from (("group", state.group), ("job type", state.job_type), ("parent", state.parent), ("reproduces", state.reproduces))
    yield "tags", ", ".join(name if value is None else f"{name}={value}" for name, value in view.tags.items()) or None
    yield "notes", state.notes
    yield "origin", f"{state.origin.source}, run {state.origin.run}" if state.origin else None
    yield "url", view.url


def _moment(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else "-"


# -- code, data -------------------------------------------------------------------------------------------------------


def _code(code: CodeVersion | None) -> Facts:
    if code is None:
        return
    yield "commit", code.commit or ("none yet" if code.vcs else None)
    yield "branch", code.branch
    yield "remote", code.remote
    yield "changes", _changes(code)
    yield "not tracked", _several([_path(ref) for ref in code.untracked])
    yield (
        "submodules",
        _several([f"{one.path} at {(one.commit or 'no commit')[:12]}{', changed' if one.dirty else ''}" for one in code.submodules]),
    )
    yield "modules", _several([_path(ref) for ref in code.modules])
    yield "notebook", code.notebook.name if code.notebook else None
    yield "left out", _omitted(code.omitted)
    yield "entry point", code.entry_point
    yield "command", shlex.join(code.command) if code.command else None
    yield "in", code.working_dir


def _changes(code: CodeVersion) -> str | None:
    """Return how much was not committed: files, lines added and removed."""
    if not code.diff:
        return None if code.dirty is None or not code.vcs else "some, of which no text was kept" if code.dirty else "none"
    lines = code.diff.splitlines()
    files = sum(line.startswith("diff --git ") for line in lines)
    added, removed = changed_lines(code.diff)
    return f"{_count(files, 'file')}, +{added:,} -{removed:,} lines"


def changed_lines(diff: str) -> tuple[int, int]:
    """Return how many lines a unified diff adds, and how many it removes."""
    added = removed = 0
    inside = False
    for line in diff.splitlines():
        if line.startswith("diff --git "):
            inside = False
        elif line.startswith("@@"):
            inside = True
        elif inside:
            added += line.startswith("+")
            removed += line.startswith("-")
    return added, removed


def _path(ref: ArtifactRef) -> str:
    parts = PurePosixPath(ref.name).parts
    return "/".join(parts[2:]) if parts[:1] == ("code",) and len(parts) > 2 else ref.name


def _omitted(omitted: Sequence[Omission]) -> str | None:
    return _several([f"{one.name}: {one.reason}" for one in omitted])


def _data(versions: Iterable[DataVersion]) -> Facts:
    for one in versions:
        facts = [
            _count(one.rows, "row") if one.rows is not None else None,
            _count(len(one.columns), "column") if one.columns else None,
            size_text(one.size),
            _count(len(one.files), "file") if one.files else None,
            f"{one.algorithm + ' ' if one.algorithm else ''}{one.digest[:12]}" if one.digest else "no digest",
            one.version,
            one.uri,
        ]
        yield f"{one.name} ({one.role})" if one.role else one.name, ", ".join(fact for fact in facts if fact)
        yield "  left out", _omitted(one.omitted)


# -- params, metrics --------------------------------------------------------------------------------------------------


def _params(state: RunState) -> Facts:
    sources = flatten(state.param_sources)
    for name, value in flatten(state.params).items():
        source = sources.get(name)
        yield name, (repr(value) if isinstance(value, str) else str(value)) + (f"  ({source})" if source else "")


def _metrics(state: RunState) -> Facts:
    for name, value in last_values(state).items():
        series = state.metrics.get(name)
        if series is None:
            yield name, f"{value_text(value)}  (summary)"
        elif series.source == "user":
            yield name, f"{value_text(value)}  ({_count(len(series), 'point')})"


def _resources(state: RunState) -> Iterator[str]:
    rows = []
    for name, series in state.metrics.items():
        numbers = [value for value in series.column("values") if isinstance(value, int | float)] if series.source == "system" else []
        if numbers:
            rows.append((name.removeprefix("system/"), *(_amount(one) for one in (sum(numbers) / len(numbers), max(numbers), numbers[-1]))))
    if not rows:
        return
    yield ""
    table = [("resources", "mean", "most", "last"), *((f"  {name}", *values) for name, *values in rows)]
    widths = [max(len(row[place]) for row in table) for place in range(4)]
    for name, *values in table:
        yield "  ".join([name.ljust(widths[0]), *(value.rjust(width) for value, width in zip(values, widths[1:], strict=True))])


def _amount(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


# -- environment, console ---------------------------------------------------------------------------------------------


def _environment(environment: Environment) -> Facts:
    yield "python", ", ".join(part for part in (environment.python, environment.implementation, environment.prefix) if part) or None
    elsewhere = f", {len(environment.sources):,} of them from elsewhere than an index" if environment.sources else ""
    yield "packages", f"{len(environment.packages):,}{elsewhere}"
    yield "lock files", ", ".join(ref.name.removeprefix("environment/") for ref in environment.lock_files) or None
    yield "os", ", ".join(part for part in (environment.distribution, environment.os, environment.libc) if part) or None
    yield "cpu", _cpu(environment)
    limit = f", {size_text(environment.memory_limit)} of them allowed" if environment.memory_limit is not None else ""
    yield "memory", f"{size_text(environment.memory)}{limit}" if environment.memory else None
    yield "gpus", _several([f"{one.name}{f', {size_text(one.memory)}' if one.memory else ''}" for one in environment.gpus])
    yield "driver", " with CUDA ".join(part for part in (environment.driver, environment.cuda) if part) or None
    yield "container", ", ".join(part for part in (environment.container, environment.image) if part) or None
    yield "scheduler", "\n".join(f"{name}: {_words(value)}" for name, value in flatten(environment.scheduler).items()) or None
    yield "variables", "\n".join(f"{name}={value}" for name, value in environment.variables.items()) or None
    yield "left out", _omitted(environment.omitted)


def _cpu(environment: Environment) -> str | None:
    facts = [environment.cpu, _count(environment.cpu_count, "processor") if environment.cpu_count else None]
    facts.append(f"{environment.cpu_limit:g} of them allowed" if environment.cpu_limit is not None else None)
    return ", ".join(fact for fact in facts if fact) or None


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _console(state: RunState, *, whole: bool) -> Iterator[str]:
    lines = sorted(state.console, key=lambda line: line.time)  # those of several processes stand one after the other
    lines = lines if whole else lines[-TAIL:]
    if not lines:
        return
    yield ""
    hidden = len(state.console) - len(lines)
    yield "console" + (f", the last {len(lines)} of {len(state.console):,} lines (--console shows all)" if hidden else "")
    for line in lines:
        label = f" {line.label}:" if line.label else ""
        mark = "!" if line.stream == "stderr" else " "
        at = (_EPOCH + timedelta(microseconds=line.time)).astimezone().strftime("%H:%M:%S")
        yield f"  {at} {mark}{label} {line.text}".rstrip()


# -- for programs -----------------------------------------------------------------------------------------------------


def describe_records(state: RunState, *, whole_console: bool = False) -> Mapping[str, Any]:
    """Return all that is known of a run's records but its points, in terms of the records; see `summary.describe` for the rest."""
    from .records import read_fields

    console = state.console if whole_console else state.console[-TAIL:]
    return {
        "reproduces": state.reproduces,
        "param_sources": state.param_sources,
        "code": {"commit": None, "branch": None, "dirty": None, **read_fields(state.code)} if state.code is not None else None,
        "data": [{"role": None, "digest": None, "uri": None, **read_fields(one)} for one in state.data.values()],
        "environments": [read_fields(one) for one in state.environments.values()],
        "definitions": [read_fields(one) for one in state.definitions.values()],
        "models": [read_fields(one) for one in state.models.values()],
        "failures": state.failures,
        "console": [{"time_us": one.time, "stream": one.stream, "label": one.label, "line": one.text} for one in console],
        "console_lines": len(state.console),
    }

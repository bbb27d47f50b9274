"""`multitrack show`"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from .output import AsJson, print_json
from .runs import show_duration, show_time, show_value

if TYPE_CHECKING:
    from ..read import RunView


def show(
    run: Annotated[str, typer.Argument(help="A run id in the local store, or ADDRESS#ID.")],
    as_recorded: Annotated[
        bool, typer.Option("--as-recorded", help="As it was recorded, not as people changed it at the service.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show everything that is known of a run."""
    from .. import read
    from ..address import Address

    address = Address.parse(run)
    if address.run_id is None:
        raise ConfigError(f"{run!r} names no run: write its id, 32 letters and digits, or ADDRESS#ID; `multitrack runs` lists them")
    with read.open(address, as_recorded=as_recorded) as store:
        view = store.run(address.run_id)
        if as_json:
            print_json(_describe(view))
        else:
            print("\n".join(_lines(view)))


def _describe(view: RunView) -> dict[str, Any]:
    from ..records import to_wire
    from ..summary import describe

    more = {"native_id": view.native_id, "status": view.status, "url": view.url, "deleted": view.ref.deleted}
    return {**to_wire(describe(view.state)), **more}


def _lines(view: RunView) -> Iterator[str]:
    state = view.state
    yield f"{view.name or 'run'} ({view.id}) of {view.project}"
    took = show_duration(view.started, view.ended)
    facts = {
        "status": (view.status or "unknown") + (" (deleted)" if view.ref.deleted else ""),
        "started": f"{show_time(view.started)}, by {state.user or '?'} on {state.host or '?'}",
        "ended": f"{show_time(view.ended)}, after {took}" if view.ended else None,
        "error": (state.error or "").strip().rpartition("\n")[2] or None,
        "group": state.group,
        "job type": state.job_type,
        "parent": state.parent,
        "tags": ", ".join(name if value is None else f"{name}={value}" for name, value in view.tags.items()) or None,
        "notes": state.notes,
        "origin": f"{state.origin.source}, run {state.origin.run}" if state.origin else None,
        "url": view.url,
    }
    yield from _table(facts.items())
    yield from _section("code", _code(view))
    yield from _section("data", ((data.name, _data(data)) for data in view.data))
    yield from _section("params", _flat(view.params))
    yield from _section("metrics", _metrics(view))
    yield from _section("artifacts", ((name, _size(one.size, one.uri)) for name, one in view.artifacts.items()))
    yield from _section("models", ((model.name, f"{model.type or 'model'}, {model.path}") for model in state.models.values()))
    yield from _section("environment", _environment(view))


def _section(title: str, rows: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    found = [(name, value) for name, value in rows if value not in (None, "")]
    if found:
        yield ""
        yield title
        yield from _table(found)


def _table(rows: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    shown = [(name, value) for name, value in rows if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        first, *rest = str(value).splitlines() or [""]
        yield f"  {name.ljust(width)}  {first}"
        yield from (f"  {''.ljust(width)}  {line}" for line in rest)


def _code(view: RunView) -> Iterator[tuple[str, str | None]]:
    if view.code is not None:
        dirty = ", with changes that are not committed" if view.code.dirty else ""
        yield "commit", f"{view.code.commit}{dirty}" if view.code.commit else None
        yield "branch", view.code.branch
        yield "remote", view.code.remote
        yield "entry point", view.code.entry_point
        yield "command", " ".join(view.code.command) if view.code.command else None


def _data(data: Any) -> str:
    parts = [data.role, f"{data.rows:,} rows" if data.rows is not None else None, data.uri, data.digest and data.digest[:12]]
    return ", ".join(str(part) for part in parts if part)


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", repr(value) if isinstance(value, str) else str(value)


def _metrics(view: RunView) -> Iterator[tuple[str, str]]:
    for name, value in view.summary.items():
        count = len(view.metrics(name)) if name in view.state.metrics else 0
        yield name, show_value(value) + (f"  ({count:,} points)" if count else "  (summary)")


def _size(size: int | None, uri: str | None) -> str:
    if size is None:
        return uri or "?"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size = size / 1000  # type: ignore[assignment]
    return ""


def _environment(view: RunView) -> Iterator[tuple[str, str | None]]:
    if (environment := view.environment) is not None:
        yield "python", environment.python
        yield "packages", f"{len(environment.packages):,} distributions"
        yield "os", environment.os
        yield "cpu", f"{environment.cpu or '?'}, {environment.cpu_count or '?'} processors"
        yield "memory", _size(environment.memory, None) if environment.memory else None

"""`multitrack sync`"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from .output import AsJson, print_json
from .status import Directory, describe_progress, open_store

if TYPE_CHECKING:
    from ..sync import LaneProgress, Outcome, SyncReport


def sync(
    runs: Annotated[list[str] | None, typer.Argument(help="The runs' ids; all of the store without any.")] = None,
    target: Annotated[list[str] | None, typer.Option("--target", "-t", help="Only to this target; may be repeated.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="To this target or address, and to no other, whether the runs were meant for it or not.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="From the first record again: the service has lost what it had. Needs runs by their ids.")
    ] = False,
    directory: Directory = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with what comes, until Ctrl-C or the timeout.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", help="Seconds; without it, a target that does not answer for 5 minutes is given up.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Deliver what is still to deliver: after an outage, from a deferred run, to a new service.

    What a service refused before is tried again. Ends with 0 only when everything is delivered.
    """
    from ..errors import ConfigError
    from ..sync import sync as deliver

    if again and not runs:
        raise ConfigError("--again needs the ids of the runs that the service has lost: multitrack sync RUN --again")
    if to and target:
        raise ConfigError("--to names the target already: leave --target out")
    settings, store = open_store(directory)
    chosen = settings.target(to) if to else None
    if chosen is not None and chosen.backend == "local" and chosen.location == str(store.root):
        raise ConfigError(f"{chosen.address} is this store itself: the runs are there already")
    if watch:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # how systemd and Kubernetes end a service
    with _Bars(quiet=as_json) as bars:
        report = deliver(store, runs, target, to=chosen, again=again, watch=watch, timeout=timeout, on_progress=bars.show)
    if as_json:
        print_json(_describe(report))
    else:
        _print(report)
    sys.stdout.flush()
    if report.hanging:
        os._exit(1)  # a thread that waits for a dead service would keep the process
    if not report.ok:
        raise typer.Exit(1)


def _describe(report: SyncReport) -> dict[str, Any]:
    outcomes = [{"run": item.run, "alive": item.alive, "ok": item.ok, **describe_progress(item.progress)} for item in report.outcomes]
    return {"ok": report.ok, "records": report.records, "seconds": round(report.seconds, 3), "deliveries": outcomes}


def _print(report: SyncReport) -> None:
    from ..wording import duration

    if not report.outcomes:
        print("nothing to deliver: every target has all of its runs")
        return
    by_target: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        by_target.setdefault(outcome.progress.target, []).append(outcome)
    for name, outcomes in by_target.items():
        print(_line(name, outcomes))
        for outcome in outcomes:
            if not outcome.ok:
                error = f": {outcome.progress.error}" if outcome.progress.error else ""
                print(f"  {outcome.run}: {outcome.progress.behind:,} records to go{error}")
            elif outcome.progress.rejected:
                print(f"  {outcome.run}: {outcome.progress.rejected:,} records were refused by {name} (multitrack status {outcome.run})")
    print(f"{report.records:,} records delivered in {duration(report.seconds)}")
    if report.left:
        print("what is left is safe in the journal; run `multitrack sync` again once the reason is gone")


def _line(name: str, outcomes: Sequence[Outcome]) -> str:
    done = sum(outcome.progress.done for outcome in outcomes)
    going = sum(outcome.ok and not outcome.progress.done for outcome in outcomes)
    parts = [f"{done:,} of {len(outcomes):,} runs delivered"]
    if going:
        parts.append(f"{going:,} up to date and still going on")
    urls = [outcome.progress.url for outcome in outcomes if outcome.progress.done and outcome.progress.url]
    where = f"  {urls[0]}" if len(urls) == 1 else ""
    return f"{name}: {', '.join(parts)}{where}"


class _Bars:
    """A bar a target where there is a terminal; elsewhere a line a target now and then, so that logs show life."""

    _EVERY = 30.0
    """Seconds between two lines where there is no terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._next_line = time.monotonic() + self._EVERY

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self._quiet:
            self._bars = _make_bars()
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def show(self, lanes: Sequence[LaneProgress]) -> None:
        """Show how the targets stand."""
        if self._bars is not None:
            for lane in lanes:
                if lane.target not in self._tasks:
                    self._tasks[lane.target] = self._bars.add_task(lane.target, runs="", note="")
                runs = f"{lane.delivered_runs:,}/{lane.runs:,} runs"
                self._bars.update(self._tasks[lane.target], total=lane.records, completed=lane.delivered, runs=runs, note=lane.note)
        elif not self._quiet and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + self._EVERY
            for lane in lanes:
                note = f"; {lane.note}" if lane.note else ""
                print(f"{lane.target}: {lane.delivered:,} of {lane.records:,} records{note}", file=sys.stderr, flush=True)


def _make_bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("records"))
    texts = (TextColumn("{task.fields[runs]}", markup=False), TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False))
    return Progress(*columns, *texts, console=Console(stderr=True), transient=True)

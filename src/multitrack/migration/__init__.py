"""Migration: runs from any source to any sink.

    plan.py     which runs, and what the destination has of them     stage.py    from the source into a journal
    execute.py  from the journals to the destination                 report.py   what came of it

A migration may be interrupted at any point and run again: what has arrived is left alone, what has not is gone on with.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..adapt import Adapter, Losses
from ..address import Address
from ..backend import Backend, Entry, RunFilter, Source, entry_points
from ..config import load_settings
from ..config.filters import Filters
from ..errors import ConfigError
from ..journal import FileLock, Store
from ..recall import recall
from ..records import RunStatus
from ..values import to_microseconds
from .execute import Migration
from .plan import Planned, plan
from .report import MigrationReport, Outcome
from .stage import Stage, is_ours

if TYPE_CHECKING:
    from ..config import Target

__all__ = ["MigrationReport", "Outcome", "make_filter", "migrate"]


def migrate(
    source: str | Address,
    destination: str | Address,
    *,
    projects: Sequence[str] | None = None,
    runs: Sequence[str] | None = None,
    tags: Mapping[str, str | None] | None = None,
    statuses: Sequence[RunStatus] | None = None,
    since: datetime | float | None = None,
    until: datetime | float | None = None,
    deleted: bool = False,
    as_recorded: bool = False,
    again: bool = False,
    dry_run: bool = False,
    staging: str | Path | None = None,
    keep_staged: bool = False,
    source_settings: Mapping[str, Any] | None = None,
    on_plan: Callable[[Sequence[object]], None] = lambda _planned: None,
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
) -> MigrationReport:
    """Move runs from one address to another. Nothing is changed at the source.

    Args:
        source, destination: addresses or names of configured targets; a source may name one run, `ADDRESS#ID`.
        projects, runs, tags, statuses: only these; a tag's value may be None for any.
        since, until: only runs that started in between, as datetimes or seconds since 1970.
        deleted: whether deleted runs are moved as well.
        as_recorded: move what was recorded, not what people changed at the source since; for runs that multitrack delivered there.
        again: deliver even what the destination has already.
        dry_run: change nothing; the report tells what would be done and what the destination could not hold.
        staging: a folder for runs on their way; one in the user's cache if left out.
        keep_staged: keep them there afterwards, as an archive.
        source_settings: settings of the source that hold before those of its target, by name; no secrets.
        on_plan, on_outcome: told which runs there are to move, and what became of each.

    Returns:
        A report; `report.ok` tells whether every run arrived. A run that fails ends up there and does not end the others.

    Raises:
        ConfigError: an address or an argument cannot be used.
        BackendError: a service cannot be reached at all.
        MigrationError: another migration between the two is under way.
    """
    settings = load_settings(Path.cwd(), os.environ)
    origin = source if isinstance(source, Address) else Address.parse(source)
    from_target, to_target = settings.target(origin).with_settings(source_settings or {}), settings.target(destination)
    if (from_target.backend, from_target.location) == (to_target.backend, to_target.location):
        raise ConfigError(f"{from_target} and {to_target} are the same place")
    wanted = make_filter(
        projects=projects,
        runs=[origin.run_id] if origin.run_id else runs,
        tags=tags,
        statuses=statuses,
        since=since,
        until=until,
        deleted=deleted,
    )
    report = MigrationReport(str(from_target), str(to_target), dry_run=dry_run)
    from_backend, to_backend = from_target.connect(), to_target.connect()
    if not from_backend.capabilities.reads:
        raise ConfigError(f"{from_target} cannot be read")
    if not to_backend.capabilities.writes:
        raise ConfigError(f"{to_target} can be read, not written to")
    reading = from_backend.source()
    try:
        planned = plan(reading, to_backend, wanted)
        report.notices = tuple(reading.notices())
        if again:
            planned = [Planned(item.run, "changed" if item.standing == "unchanged" else item.standing) for item in planned]
        on_plan(planned)
        if dry_run:
            for item in planned:
                outcome = _foresee(reading, from_backend, to_backend, to_target.filters, item, as_recorded=as_recorded)
                report.add(outcome)
                on_outcome(outcome)
            return report
        to_backend.check()  # a destination that is down or refuses us is told once, not once a run
        root = Path(staging) if staging is not None else _staging_folder(from_target, to_target)
        store = Store(root)
        store.create()
        with FileLock(root / ".lock") as lock:
            if not lock.acquire():
                raise ConfigError(f"another migration from {from_target} to {to_target} is under way (staging in {root})")
            stage = Stage(reading, from_backend.capabilities, from_target.address, store, as_recorded=as_recorded)
            migration = Migration(reading, stage, to_target.name, to_backend, to_target.filters, attach=to_target.attach, keep=keep_staged)
            migration.run(planned, report, on_outcome)
        return report
    finally:
        reading.close()


def make_filter(
    *,
    projects: Sequence[str] | None = None,
    runs: Sequence[str] | None = None,
    tags: Mapping[str, str | None] | None = None,
    statuses: Sequence[RunStatus] | None = None,
    since: datetime | float | None = None,
    until: datetime | float | None = None,
    deleted: bool = False,
) -> RunFilter:
    """Return the filter that these conditions make; None, or an empty list, leaves a condition out.

    Raises:
        TypeError: `since` or `until` is no point in time.
    """
    return RunFilter(
        projects=projects or None,
        ids=runs or None,
        tags=dict(tags or {}),
        statuses=statuses or None,
        since=None if since is None else to_microseconds(since),
        until=None if until is None else to_microseconds(until),
        deleted=deleted,
    )


def _staging_folder(source: Target, destination: Target) -> Path:
    from platformdirs import user_cache_path

    digits = hashlib.sha256(f"{source.address}\0{destination.address}".encode()).hexdigest()[:16]
    return user_cache_path("multitrack") / "migrations" / digits


def _foresee(reading: Source, from_backend: Backend, to_backend: Backend, filters: Filters, item: Planned, *, as_recorded: bool) -> Outcome:
    """Return what moving a run would do, by reading and adapting it."""
    run = item.run
    if item.standing == "unchanged":
        return Outcome(run.id, run.project, run.name, "unchanged", url=run.url)
    losses = Losses()
    adapter = Adapter(to_backend.capabilities)
    records = points = 0
    try:
        if is_ours(run):
            stream = iter(recall(reading, run, from_backend.capabilities, as_recorded=as_recorded).records)
        else:
            stream = reading.read(run)
        for record in stream:
            passed = filters.apply(record)
            if passed is not None:
                losses.extend(adapter.adapt([Entry("", records, passed)]).losses)
                records += 1
                points += sum(1 for _ in entry_points([Entry("", 0, passed)]))
    except Exception as error:  # noqa: BLE001 - as in the migration itself, one bad run does not hide the others
        return Outcome(run.id, run.project, run.name, "failed", error=f"{type(error).__name__}: {error}")
    notices = tuple(reading.notices(run))
    return Outcome(run.id, run.project, run.name, "planned", records=records, points=points, losses=losses, notices=notices)

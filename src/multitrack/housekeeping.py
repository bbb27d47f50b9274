"""Removing runs from a local store: only what is named, or what every target has whole. A run that goes on is never touched.

A run vanishes at once: its folder is moved to `.trash` in the store, and emptied there. What a process leaves that dies in between, the
next `gc` removes.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .delivery import Ledger
from .errors import ConfigError, MultitrackError, RecordError, RunNotFoundError, did_you_mean
from .journal import FileLock, Journal, RunFolder, Store, is_locked
from .journal.write import HEARTBEAT
from .quota import measure, size_of
from .records import RUN_ID, now

_LEFTOVER_AGE = 24 * 3600.0
"""Seconds after which nobody is still writing a temporary file."""


@dataclass(frozen=True)
class Standing:
    """How a run of a store stands, and whether it may go."""

    run: RunFolder
    name: str | None
    project: str
    bytes: int
    ended: int | None
    """Microseconds; None while the run goes on, or if nobody knows."""
    alive: bool
    targets: tuple[str, ...]
    """That were to get it."""
    whole: tuple[str, ...]
    """That have everything, so that it can be restored from there exactly."""
    lacking: dict[str, str] = field(default_factory=dict)
    """Target to what it does not have."""
    unreadable: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether every target has what it takes, and at least one everything."""
        return bool(self.whole) and not self.lacking and self.unreadable is None

    @property
    def only_here(self) -> bool:
        """Whether it was never meant for anywhere else."""
        return not self.targets

    @property
    def reason(self) -> str | None:
        """Why it stays, as a phrase; None if it is delivered."""
        if self.alive:
            return "still going on"
        if self.unreadable is not None:
            return f"cannot be read: {self.unreadable}"
        if self.only_here:
            return "nowhere else"
        if self.lacking:
            return "; ".join(f"{target} {what}" for target, what in self.lacking.items())
        return None if self.whole else f"{', '.join(self.targets)} takes a part only (filters, or attach = false)"


@dataclass
class Removed:
    """What was removed, or would be."""

    runs: list[Standing] = field(default_factory=list)
    kept: list[Standing] = field(default_factory=list)
    leftovers: int = 0
    """Temporary files and half-removed runs of processes that have died."""
    columns: int = 0
    """Side files, see `multitrack.columnar`: they are made again when they are needed."""
    bytes: int = 0


def examine(run: RunFolder) -> Standing:
    """Return how a run stands, by what its targets have acknowledged."""
    journal = Journal(run)
    name, project, ended, unreadable = None, run.path.parent.name, None, None
    alive = _may_live(run)
    try:
        start = journal.started()
        name, project = start.name, start.project
        ended = journal.verdict().ended
    except (RecordError, OSError) as error:
        unreadable = str(error)
    whole, lacking = [], {}
    ledgers = Ledger.of(run)
    for ledger in ledgers:
        try:
            if what := _lacks(ledger):
                lacking[ledger.target] = what
            elif _takes_all(ledger):
                whole.append(ledger.target)
        except (MultitrackError, OSError, ValueError) as error:
            lacking[ledger.target] = f"may lack some of it ({error})"
    targets = tuple(ledger.target for ledger in ledgers)
    return Standing(run, name, project, size_of(run.path), ended, alive, targets, tuple(whole), lacking, unreadable)


def _may_live(run: RunFolder) -> bool:
    """Return whether somebody writes to the run; where its files cannot be read, by its locks and their signs of life alone."""
    try:
        return Journal(run).is_alive()
    except (RecordError, OSError):
        locks = list(run.records.glob("*.lock"))
        return any(is_locked(lock) or time.time() - lock.stat().st_mtime < 3 * HEARTBEAT for lock in locks)


def _lacks(ledger: Ledger) -> str | None:
    progress = ledger.progress()
    if progress.behind:
        return f"lacks {progress.behind:,} record{'' if progress.behind == 1 else 's'}"
    if not progress.done:
        return "lacks its end"
    return f"refused {progress.rejected:,} of its records" if progress.rejected else None


def _takes_all(ledger: Ledger) -> bool:
    public = ledger.read_target()
    return bool(public.get("attach", True)) and not public.get("filters")


# -- delete


def find_runs(store: Store, ids: Sequence[str]) -> list[RunFolder]:
    """Return the runs of these ids, each once.

    Raises:
        ConfigError: a text is no run id.
        RunNotFoundError: the store has no such run; the message names the nearest.
    """
    found = {}
    for run_id in ids:
        if "#" in run_id or ":" in run_id:
            raise ConfigError(f"{run_id!r} is at a service, and only runs of the local store can be removed: write a run id")
        run = store.find(run_id)
        if run is None:
            near = did_you_mean(run_id, [run.id for run in store.runs()])
            what = "" if RUN_ID.fullmatch(run_id) else "; an id has 32 lowercase letters and digits"
            raise RunNotFoundError(f"no run {run_id!r} in {store.root}{what}.{near} `multitrack runs` lists those there are")
        found[run.id] = run
    return list(found.values())


def refusals(standings: Iterable[Standing], *, force: bool) -> list[str]:
    """Return a line for each of the runs that must not be deleted. `force` is for runs that targets lack, never for one that goes on."""
    lines = []
    for one in standings:
        if one.alive:
            lines.append(f"run {one.run.id} goes on: end it first")
        elif not force and (one.lacking or one.unreadable):
            lines.append(f"run {one.run.id} would be lost ({one.reason}): `multitrack sync {one.run.id}` first, or --force")
    return lines


def delete(store: Store, runs: Iterable[Standing]) -> Removed:
    """Remove runs from a store, whatever their targets have.

    Raises:
        ConfigError: one of them has just been gone on with; it, and those after it, are still there.
        OSError: the disk refuses.
    """
    done = Removed()
    for one in runs:
        _remove(store, one.run)
        done.runs.append(one)
        done.bytes += one.bytes
    if done.runs:
        measure(store)
    return done


def _remove(store: Store, run: RunFolder) -> None:
    with ExitStack() as stack:
        claim = FileLock(run.path / ".claim")  # held by whoever is just going on with the run
        if not claim.acquire():
            raise ConfigError(f"run {run.id} is being gone on with by another process")
        stack.enter_context(claim)
        if _may_live(run):
            raise ConfigError(f"run {run.id} goes on: end it first")
        gone = _to_trash(store, run)
        for note in store.root.glob(f".pending/*/{run.id}"):
            note.unlink(missing_ok=True)
    _empty(gone)
    with contextlib.suppress(OSError):  # somebody else is removing as well
        gone.parent.rmdir()


def _to_trash(store: Store, run: RunFolder) -> Path:
    trash = store.root / ".trash"
    gone = trash / f"{run.id}-{secrets.token_hex(4)}"
    while True:
        trash.mkdir(exist_ok=True)
        try:
            return run.path.rename(gone)
        except FileNotFoundError:  # somebody else has just tidied the trash away, or has removed the run
            if not run.path.exists():
                raise


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # somebody else may be emptying it as well
    if folder.exists():
        shutil.rmtree(folder)


# -- gc


def prune(store: Store, *, delivered: bool, older_than: float = 0.0, columns: bool = False, dry_run: bool = False) -> Removed:
    """Remove leftovers and, with `delivered`, the runs that have ended and that every target has whole.

    Args:
        delivered: whether runs go at all.
        older_than: seconds since their end; younger ones stay.
        columns: whether the side files of runs that stay go.
        dry_run: remove nothing, and tell what would go.

    Raises:
        OSError: the disk refuses.
    """
    done = Removed()
    for run in list(store.runs()) if delivered else ():
        one = examine(run)
        if one.reason is not None or one.ended is None or now() - one.ended < older_than * 1_000_000:
            done.kept.append(one)
            continue
        if not dry_run:
            try:
                _remove(store, run)
            except (ConfigError, FileNotFoundError):  # gone on with since, or removed by somebody else
                done.kept.append(one)
                continue
        done.runs.append(one)
        done.bytes += one.bytes
    for path in list(_leftovers(store)):
        done.leftovers += 1
        done.bytes += size_of(path) if path.is_dir() else path.lstat().st_blocks * 512
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    if columns:
        _remove_columns(store, done, dry_run=dry_run)
    if not dry_run:
        measure(store)
    return done


def _remove_columns(store: Store, done: Removed, *, dry_run: bool) -> None:
    going = {one.run.path for one in done.runs}
    for path in (path for run in store.runs() if run.path not in going for path in run.path.glob("columns/[!.]*.parquet")):
        with contextlib.suppress(FileNotFoundError):  # replaced or removed meanwhile
            size = path.lstat().st_blocks * 512
            if not dry_run:
                path.unlink()
            done.columns += 1
            done.bytes += size


def _leftovers(store: Store) -> Iterator[Path]:
    """Yield what processes left that died while they wrote, or removed, something."""
    latest = time.time() - _LEFTOVER_AGE
    yield from store.root.glob(".trash/*")
    for run in store.runs():
        for pattern in (".run.json.*", ".complete.json.*", "delivery/.*.json.*", "artifacts/.incoming-*", "columns/.*.parquet"):
            for path in run.path.glob(pattern):
                with contextlib.suppress(FileNotFoundError):
                    if path.lstat().st_mtime < latest:
                        yield path

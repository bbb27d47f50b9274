"""The local store, and what is still to deliver from it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from ..config import Settings
from ..delivery import Ledger, Progress
from ..errors import MultitrackError, RecordError
from ..journal import FileLock, Journal, RunFolder, Store, is_locked
from ..quota import in_words, measure
from .finding import Finding, Level

_NETWORK = ("nfs", "cifs", "smb", "9p", "lustre", "beegfs", "gpfs", "ceph", "afs", "fuse.")
_MEMORY = ("tmpfs", "ramfs")
_CONTAINER = ("overlay", "aufs")
_LITTLE, _TOO_LITTLE = 1_000_000_000, 50_000_000
"""Bytes of free disk."""
_SKEW = 10.0
"""Seconds. Who is alive on another host is told by the times of files."""


def check_store(settings: Settings, *, deep: bool) -> Iterator[Finding]:
    """Yield how the store is: where, on which disk, whether it can be written to, how large, and whether its journals are whole."""
    root = settings.dir
    if not root.is_dir():
        yield Finding("store", "place", "ok", f"{root} (from {settings.origins['dir']}); the first run makes it")
        ancestor = next(folder for folder in root.parents if folder.is_dir())
        yield from _check_disk(ancestor)
        return
    yield Finding("store", "place", "ok", f"{root} (from {settings.origins['dir']})")
    yield from _check_disk(root)
    yield _check_writing(root)
    store = Store(root)
    yield _check_size(store, settings.quota)
    yield from _check_runs(store, deep=deep)


def _check_disk(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    if free < _LITTLE:
        level: Level = "fail" if free < _TOO_LITTLE else "warn"
        remedy = "make room (`multitrack gc --delivered`), or put the store elsewhere (MULTITRACK_DIR)"
        yield Finding("store", "free disk", level, f"only {in_words(free)}: what the disk refuses is lost", remedy)
    else:
        yield Finding("store", "free disk", "ok", in_words(free))
    kind = file_system_of(folder)
    text, advice = _judge(kind)
    yield Finding("store", "file system", "ok" if advice is None else "warn", text, advice)


def file_system_of(folder: Path) -> str:
    """Return the kind of file system that a folder is on, as the system calls it; `unknown` where it does not tell."""
    path = folder.resolve()
    kind, depth = "unknown", -1
    with contextlib.suppress(OSError):
        for partition in psutil.disk_partitions(all=True):
            mount = Path(partition.mountpoint)
            if path.is_relative_to(mount) and len(mount.parts) >= depth:  # of two mounts at one place the later one is seen
                kind, depth = partition.fstype.lower(), len(mount.parts)
    return kind


def _judge(kind: str) -> tuple[str, str | None]:
    if kind.startswith(_NETWORK):
        remedy = "keep it if several hosts write to one store, else use a local disk (MULTITRACK_DIR) and `multitrack sync`"
        return f"{kind}, shared by the network: slower, and who is alive on other hosts is told by heartbeat", remedy
    if kind in _MEMORY:
        return f"{kind}: what is not delivered is gone after a restart", "put the store on a disk (MULTITRACK_DIR)"
    if kind in _CONTAINER:
        return f"{kind}: what is not delivered goes with the container", "mount a volume for the store (MULTITRACK_DIR)"
    return kind, None


def _check_writing(root: Path) -> Finding:
    """Write, lock, and look at the file's time, which on a network is the server's."""
    path = root / f".doctor-{secrets.token_hex(4)}"
    remedy = "give yourself the right to write there, or name another store (MULTITRACK_DIR)"
    try:
        path.write_bytes(b"x" * 4096)
    except OSError as error:
        return Finding("store", "writing", "fail", f"{root}: {error.strerror or error}", remedy)
    try:
        skew = path.stat().st_mtime - time.time()
        with FileLock(path) as lock:
            lock.acquire()
    except OSError as error:
        text = f"{root}: locks do not work there ({error.strerror or error})"
        return Finding("store", "writing", "fail", text, "mount it with flock (Lustre: -o flock), or name another store (MULTITRACK_DIR)")
    finally:
        path.unlink(missing_ok=True)
    if abs(skew) > _SKEW:
        text = f"its clock and this machine's differ by {abs(skew):,.0f} s: runs of other hosts may look dead"
        return Finding("store", "writing", "warn", text, "set both clocks (NTP)")
    return Finding("store", "writing", "ok", "files can be written and locked")


def _check_size(store: Store, quota: int | None) -> Finding:
    size = measure(store)
    if quota is None:
        return Finding("store", "size", "ok", f"{in_words(size.bytes)} (no quota)")
    text = f"{in_words(size.bytes)} of a quota of {in_words(quota)}"
    if size.bytes <= quota:
        return Finding("store", "size", "ok", text)
    return Finding("store", "size", "warn", text, "multitrack gc --delivered")


def _check_runs(store: Store, *, deep: bool) -> Iterator[Finding]:
    count = alive = 0
    damaged: list[tuple[RunFolder, str]] = []
    for run in store.runs():
        count += 1
        try:
            journal = Journal(run)
            alive += journal.is_alive()
            journal.started()
            if deep and (lines := _damaged_lines(journal)):
                damaged.append((run, f"damaged lines: {len(lines):,}, the first: {lines[0]}"))
        except (RecordError, OSError) as error:
            damaged.append((run, str(error)))
    looked = "every record was read" if deep else "--deep reads every record"
    if not damaged:
        yield Finding("store", "journals", "ok", f"{count:,} runs, {alive:,} of them going on; none is damaged ({looked})")
        return
    yield Finding(
        "store", "journals", "warn", f"{len(damaged):,} of {count:,} runs are damaged ({looked})", "see below; the rest is readable"
    )
    for run, reason in damaged[:5]:
        yield Finding("store", run.id, "warn", reason, f"if it is of no use: multitrack delete {run.id} --force")


def _damaged_lines(journal: Journal) -> list[str]:
    lines: list[str] = []
    for _ in journal.entries(lines):
        pass
    return lines


def check_deliveries(settings: Settings) -> Iterator[Finding]:
    """Yield, for each target that lacks runs of the store, how many, why, and what to do."""
    store = Store(settings.dir)
    behind: dict[str, list[Progress]] = {}
    for progress in _pending(store):
        behind.setdefault(progress.target, []).append(progress)
    if not behind:
        yield Finding("deliveries", "targets", "ok", "nothing is left to deliver")
    for target, items in behind.items():
        yield _judge_delivery(store, target, items)


def _pending(store: Store) -> Iterator[Progress]:
    for folder in sorted(store.root.glob(".pending/*")):
        for run in store.pending(folder.name):
            with contextlib.suppress(MultitrackError, OSError, ValueError):  # a damaged run is told of with the store
                yield from (item for ledger in Ledger.of(run) if _is_of(ledger, folder) and not (item := ledger.progress()).done)


def _is_of(ledger: Ledger, folder: Path) -> bool:
    """Return whether a ledger is that of the target whose pending runs a folder lists."""
    from ..journal.layout import folder_name

    return folder_name(ledger.target) == folder.name


def _judge_delivery(store: Store, target: str, items: list[Progress]) -> Finding:
    records = sum(item.behind for item in items)
    text = f"{len(items):,} run{'' if len(items) == 1 else 's'} and {records:,} records to go"
    errors = list(dict.fromkeys(item.error for item in items if item.error))
    if errors:
        text += f"; {errors[0]}" + (f" (and {len(errors) - 1:,} more reasons)" if len(errors) > 1 else "")
    if any(item.state == "stopped" for item in items):
        return Finding("deliveries", target, "warn", text, "remove the reason, then: multitrack sync")
    if is_locked(store.courier_lock(target)):
        return Finding("deliveries", target, "ok", f"{text}; its courier is at work")
    return Finding("deliveries", target, "warn", f"{text}; nobody is delivering", "multitrack sync")

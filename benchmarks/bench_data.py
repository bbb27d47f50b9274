"""Data: hashing a folder, the first time and again, beside reading and hashing the same bytes one file after the other."""

from __future__ import annotations

import hashlib
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import show

from multitrack.data.cache import HashCache
from multitrack.data.describe import find
from multitrack.data.found import Found, Inquiry

_MIB = 1 << 20
_FILES = 64


def run(full: bool) -> None:
    sparse, real, rounds = (10_240, 1_024, 3) if full else (512, 128, 3)
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-", ignore_cleanup_errors=True) as place:
        folder = make_folder(Path(place) / "data", sparse * _MIB, real * _MIB)
        cache = Path(place) / "hashes.sqlite"
        cases: dict[str, Callable[[], object]] = {
            "plain SHA-256, one file after the other": lambda: plain(folder),
            "`log_data`, nothing known": lambda: describe(folder, cache, fresh=True),
            "`log_data`, all known": lambda: describe(folder, cache, fresh=False),
        }
        kept: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, case in cases.items():
                start = time.perf_counter()
                case()
                kept[name].append(time.perf_counter() - start)
    floor = statistics.median(kept["plain SHA-256, one file after the other"])
    rows = [(name, f"{(best := statistics.median(times)):.3f} s", best / floor) for name, times in kept.items()]
    title = f"data: {sparse:,} MiB in a sparse file, {real:,} MiB of real bytes in {_FILES} files, {os.cpu_count()} cores"
    show(title, ("", "median", "to plain"), rows)


def make_folder(folder: Path, sparse: int, real: int) -> Path:
    folder.mkdir()
    with (folder / "sparse.bin").open("wb") as file:
        file.truncate(sparse)
    for number in range(_FILES):
        (folder / f"{number}.bin").write_bytes(random.Random(number).randbytes(real // _FILES))
    return folder


def plain(folder: Path) -> list[str]:
    found = []
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found


def describe(folder: Path, cache: Path, *, fresh: bool) -> Found:
    if fresh:
        cache.unlink(missing_ok=True)
    return find(folder)(Inquiry(root=folder, cache=HashCache(cache, settled=-5)))

"""Timing: measured code and its floor take turns in one process, so that what else the machine does hits both alike."""

from __future__ import annotations

import gc
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("multitrack", "orjson", "pydantic", "mlflow", "numpy", "torch")


def machine() -> str:
    """Return what a number means nothing without: processor, cores, Python, versions, how busy the machine is, and the date."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return (
        f"{when}, {_processor()}, {os.cpu_count()} cores{busy}, {platform.system()} {platform.release()}, {python}, {', '.join(versions)}"
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Timing:
    """What one of several that took turns needed, in seconds a call."""

    p50: float
    p99: float
    ratio: float
    """To the floor: the median, over the rounds, of the ratio of the medians of one round."""
    ratio_p99: float
    calls: int


def take_turns(cases: Mapping[str, Callable[[], object]], *, floor: str, calls: int, rounds: int = 15) -> dict[str, Timing]:
    """Time each call of each case: `rounds` times `calls` calls of each, one case after the other, after a round to warm up."""
    kept: dict[str, list[list[int]]] = {name: [] for name in cases}
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds + 1):
            for name, call in cases.items():
                times = _time(call, calls)
                if number:
                    kept[name].append(times)
    finally:
        gc.enable()
    return {name: _timing(rounds_of, kept[floor]) for name, rounds_of in kept.items()}


def _time(call: Callable[[], object], calls: int) -> list[int]:
    clock, times = time.perf_counter_ns, []
    for _ in range(calls):
        start = clock()
        call()
        times.append(clock() - start)
    return times


def _timing(rounds: Sequence[Sequence[int]], floor: Sequence[Sequence[int]]) -> Timing:
    every = sorted(nanoseconds for times in rounds for nanoseconds in times)
    pairs = list(zip(rounds, floor, strict=True))
    return Timing(
        p50=every[len(every) // 2] / 1e9,
        p99=every[len(every) * 99 // 100] / 1e9,
        ratio=statistics.median(statistics.median(own) / statistics.median(low) for own, low in pairs),
        ratio_p99=statistics.median(_p99(own) / _p99(low) for own, low in pairs),
        calls=len(every),
    )


def _p99(times: Sequence[int]) -> int:
    return sorted(times)[len(times) * 99 // 100]


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, in Markdown, since that is what the documentation takes."""
    cells = [list(columns), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    print(f"\n{title}\n", lines[0], rule, *lines[1:], sep="\n", flush=True)


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} us"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def rate(number: float, seconds: float) -> str:
    return f"{number / seconds:,.0f}/s"


# -- processes of their own


def fresh(code: str, *, cwd: str | Path | None = None, env: Mapping[str, str] | None = None, options: Sequence[str] = ()) -> str:
    """Run code in a fresh interpreter, as an installed package would be: with its bytecode at hand. Return what it printed."""
    done = subprocess.run(
        [sys.executable, *options, "-c", code],
        cwd=cwd,
        env={**environment(), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-2000:])
    return done.stdout


def environment() -> dict[str, str]:
    """Return this process's variables without those that change what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MULTITRACK_", "MLFLOW_", "PYTHON"))}
    return {
        **kept,
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "multitrack-bench-bytecode"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }

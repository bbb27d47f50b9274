"""What `import multitrack` costs, in fresh processes, beside what it cannot do without; and what SDKs cost."""

from __future__ import annotations

import statistics
import tempfile
from importlib.util import find_spec

from measure import fresh, milliseconds, show

# -- the floor: the two libraries that records rest on, and one model

FLOOR = "from pydantic import BaseModel; import orjson"
FLOOR_WITH_A_MODEL = f"{FLOOR}\nclass One(BaseModel):\n    x: int"

CASES = {
    FLOOR: FLOOR,
    "the same and one model with a field": FLOOR_WITH_A_MODEL,
    "import multitrack": "import multitrack",
    "... and all that `init` needs": "import multitrack; multitrack.init",
}
SDKS = ("mlflow", "wandb", "comet_ml", "neptune", "trackio")
CLOCK = """
import time
wall, cpu = time.perf_counter(), time.process_time()
{}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def run(full: bool) -> None:
    sdks = {f"import {name}": f"import {name}" for name in SDKS if find_spec(name) is not None}
    rounds = 21 if full else 9
    kept: dict[str, list[tuple[float, float]]] = {name: [] for name in (*CASES, *sdks)}
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as folder:
        for number in range(rounds + 1):
            for name, code in {**CASES, **(sdks if number < 4 else {})}.items():
                wall, cpu = map(float, fresh(CLOCK.format(code), cwd=folder).split()[-2:])
                if number:  # the first one writes the bytecode
                    kept[name].append((wall, cpu))
    rows = [(name, *_row(times, kept[FLOOR])) for name, times in kept.items()]
    show("imports in a fresh process", ("", "wall, median", "CPU, median", "wall / floor", "CPU / floor"), rows)


def _row(times: list[tuple[float, float]], floor: list[tuple[float, float]]) -> tuple[object, ...]:
    pairs = list(zip(times, floor, strict=False))
    return (
        milliseconds(statistics.median(wall for wall, _ in times)),
        milliseconds(statistics.median(cpu for _, cpu in times)),
        statistics.median(own[0] / low[0] for own, low in pairs),
        statistics.median(own[1] / low[1] for own, low in pairs),
    )

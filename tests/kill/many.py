"""Kill many processes, and see whether anything is lost or doubled:

    python tests/kill/many.py couriers 1000
    python tests/kill/many.py trainings 500 --seed 42
    python tests/kill/many.py migrations 100

The suite does the same with fewer. What a seed brings is the order of the dice; when exactly a process is hit, the machine decides.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.kills import couriers, migrations, trainings
from support.kills.workers import Tally

KINDS = {"couriers": couriers.kill, "trainings": trainings.kill, "migrations": migrations.kill}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=KINDS)
    parser.add_argument("times", type=int)
    parser.add_argument("--seed", type=int, default=None, help="drawn if left out, and printed")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        del os.environ[name]
    tally, began = Tally(random.Random(seed)), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        os.environ.update(HOME=folder, XDG_CONFIG_HOME=folder, XDG_CACHE_HOME=f"{folder}/cache", MLFLOW_DISABLE_TELEMETRY="true")
        os.chdir(folder)
        KINDS[given.what](given.times, tally, Path(folder))
    print(f"{tally}; nothing lost, nothing twice; {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()

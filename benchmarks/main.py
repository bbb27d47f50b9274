"""Measure speed, each thing beside its floor in one run: `make bench`, or `python benchmarks/main.py log read --full`.

Numbers are for reading: nothing here fails because a machine is slow or busy.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
import traceback

from measure import machine

NAMES = (
    "log", "import", "init", "capture", "console", "step", "system", "delivery", "read", "migrate", "neptune", "comet", "wandb", "data",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; all if left out")
    parser.add_argument("--full", action="store_true", help="the sizes of docs/performance.md: minutes each, and gigabytes on the disk")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers and folders are cleaned up
    print(machine(), flush=True)
    for name in asked.names or NAMES:
        start = time.monotonic()
        print(f"\n== {name}: {importlib.import_module(f'bench_{name}').__doc__}", flush=True)
        try:
            importlib.import_module(f"bench_{name}").run(asked.full)
        except Exception:  # noqa: BLE001 - the others can still be measured
            traceback.print_exc()
        print(f"({time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()

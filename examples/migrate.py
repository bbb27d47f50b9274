"""Move runs from one place to another, and verify that they are there.

    python examples/migrate.py                                                       a run of its own, from ./.multitrack to a sqlite file
    python examples/migrate.py mlflow:http://127.0.0.1:5000 mlflow:sqlite:///copy.db    all runs of a server

On the command line, the same is `multitrack migrate SOURCE DESTINATION` and `multitrack verify SOURCE DESTINATION`.
"""

import sys

import multitrack as mt

if len(sys.argv) == 3:
    source, destination = sys.argv[1:]
else:
    source, destination = "local", "mlflow:sqlite:///copy.db"
    with mt.init(project="migrate", params={"lr": 0.1, "layers": [64, 32]}, backends="local") as run:
        for step in range(100):
            run.log({"loss": 1 / (step + 1)}, step=step)

plan = mt.migrate(source, destination, dry_run=True)
print(plan)

report = mt.migrate(source, destination)
print(report)

verified = mt.verify(source, destination)
print(verified)
sys.exit(0 if report.ok and verified.ok else 1)

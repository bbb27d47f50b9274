"""Record on a machine without a network, and deliver later.

    python examples/deferred.py
    multitrack sync            later, where the services can be reached; `multitrack status` tells what is waiting

Without code, the same is `MULTITRACK_MODE=deferred`.
"""

import multitrack as mt

with mt.init(project="deferred", backends="mlflow:sqlite:///later.db", mode="deferred") as run:
    for step in range(100):
        run.log({"loss": 1 / (step + 1)}, step=step)

print(run)  # the target has nothing yet; all records are still to deliver

"""Mirror one run to two MLflow stores at once, and show where it is.

    python examples/mirror.py                                                    two sqlite files, made here
    python examples/mirror.py mlflow:http://127.0.0.1:5000 mlflow:sqlite:///b.db    wherever you like

Without code, the same is `MULTITRACK_BACKENDS=mlflow:http://127.0.0.1:5000,mlflow:sqlite:///b.db python train.py`.
"""

import sys

import multitrack as mt

targets = sys.argv[1:] or ["mlflow:sqlite:///first.db", "mlflow:sqlite:///second.db"]

with mt.init(project="mirror", name="twice", params={"lr": 0.01}, backends=targets) as run:
    for step in range(100):
        run.log({"loss": 1 / (step + 1)}, step=step)

print(run)  # what each target has got
for target in targets:
    with mt.open(target) as store:
        view = store.run(run.id)
        print(f"{target}: {view.status}, {len(view.metrics('loss'))} points, MLflow's id {view.native_id}")

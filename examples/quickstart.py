"""Record a run, and read it back. Nothing has to be configured or running: the run goes to ./.multitrack.

python examples/quickstart.py
"""

import math
from pathlib import Path

import multitrack as mt

with mt.init(project="quickstart", name="first", params={"model": {"depth": 3}, "lr": 0.1}, tags=["example"]) as run:
    run.define_metric("val/accuracy", goal="max", summary="max")
    for epoch in range(1, 11):
        run.log({"train/loss": math.exp(-0.3 * epoch), "val/accuracy": 1 - 0.5 / epoch}, step=epoch)
    Path("notes.txt").write_text("what the model is for\n")
    run.log_artifact("notes.txt")
    run.summary["epochs"] = 10

with mt.open("local") as store:
    view = store.run(run.id)
    print(f"{view.name}: {view.status}, depth {view.params['model']['depth']}, best accuracy {view.summary['val/accuracy']:.2f}")
    print("losses:", [round(value, 3) for value in view.metrics("train/loss")["value"]])

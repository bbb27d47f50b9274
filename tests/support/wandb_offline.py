"""Offline folders as the real W&B SDK writes them, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROWS = 3000

SCRIPT = f"""
import math, os, signal, sys
import wandb

how = sys.argv[1]
run = wandb.init(
    project="digits", name="svc", id=f"run-{{how}}", group="sweep", job_type="train", tags=["base", "vision"], notes="# Notes",
    config={{"lr": 0.1, "model": {{"depth": 3}}, "betas": [0.9, 1.0]}}, settings=wandb.Settings(x_stats_sampling_interval=0.2),
)
run.define_metric("val/*", step_metric="epoch", summary="max")
print("the first line")
for step in range({ROWS}):
    run.log({{"loss": 1 / (step + 1), "val/acc": step / {ROWS}, "epoch": step // 10, "nested": {{"deep": step}}}})
    if how == "killed" and step == {ROWS} - 1:
        import time
        time.sleep(2)  # until wandb-core has written most of it
        os.kill(os.getpid(), signal.SIGKILL)
run.log({{"hist": wandb.Histogram([1, 2, 3]), "nan": math.nan, "text": "words", "table": wandb.Table(columns=["a"], data=[[1]])}})
run.log({{"late": 1.5}}, step={ROWS} + 100)
run.summary["best"] = 0.97
with open("saved.txt", "w") as file:
    file.write("saved")
run.save("saved.txt", base_path=".")
model = wandb.Artifact("model", "model", metadata={{"layers": 3}})
model.add_file("saved.txt", "weights.bin")
model.add_reference("https://example.org/data.csv", "data.csv", checksum=False)
run.log_artifact(model)
print("the last line", file=sys.stderr)
run.finish(exit_code=1 if how == "failed" else 0)
wandb.teardown()
"""


def write_offline_run(folder: Path, how: str) -> Path:
    """Have the SDK write a run into `folder`/wandb, and return its transaction log. `how`: finished, failed or killed."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how],
        cwd=folder,
        env={**kept, **own, "WANDB_DIR": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode == 0) == (how != "killed"), done.stderr
    (log,) = folder.glob(f"wandb/offline-run-*-run-{how}/run-run-{how}.wandb")
    return log

"""A run as people write one with W&B's own SDK. A program: it talks to the server of its environment.

python foreign_wandb.py FOLDER RUN_ID
"""

from __future__ import annotations

import sys
from pathlib import Path

import wandb

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000 3a7e9b55".replace(" ", "")
    + "0000000a49444154789c6360000000020001 48afa471".replace(" ", "")
    + "0000000049454e44ae426082"
)
"""A black dot."""


def main(folder: Path, run_id: str) -> None:
    """Write a run with something of everything."""
    run = wandb.init(
        entity="team", project="vision", id=run_id, name="resnet", group="night", job_type="train", tags=["base", "v2"],
        notes="# Notes", config={"lr": 0.1, "model": {"depth": 3, "name": "r18"}, "seeds": [1, 2]}, dir=folder,
        settings=wandb.Settings(x_disable_stats=True, silent=True),
    )  # fmt: skip
    run.define_metric("val/*", step_metric="epoch", summary="max")
    run.define_metric("loss", summary="min")
    image = folder / "dot.png"
    image.write_bytes(PNG)
    for step in range(20):
        row = {"loss": 1 / (step + 1), "count": step, "nested": {"a": step * 0.5}}
        if step % 5 == 0:
            row |= {"epoch": step // 5, "val/acc": step / 20}
        run.log(row, step=step * 10)
    run.log({"dot": wandb.Image(str(image)), "weights": wandb.Histogram([1, 2, 3, 4]), "note": "done"}, step=500)
    print("epoch 1 done")
    print("careful", file=sys.stderr)
    for version in range(2):
        (folder / "model.bin").write_bytes(bytes([version]) * 100)
        model = wandb.Artifact("net", type="model", metadata={"depth": 3})
        model.add_file(str(folder / "model.bin"), name="weights/model.bin")
        if version:
            model.add_reference("s3://bucket/far.bin", checksum=False)
        run.log_artifact(model)
    run.summary["best"] = 0.97
    (Path(run.dir) / "notes.txt").write_text("some notes")
    run.save(str(Path(run.dir) / "notes.txt"), base_path=run.dir)
    run.finish()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

"""An experiment as people make one with MLflow's own client, with everything in it that is hard to carry over."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

START = 1_546_300_800_123
"""Milliseconds: 2019-01-01T00:00:00.123Z."""
LONG = "x" * 5_999 + "é"
SCHEMA = '{"mlflow_colspec": [{"type": "double", "name": "caf\\u00e9", "required": true}]}'
PROFILE = '{"rows":  3, "note": "two spaces: json.dumps does not write it so"}'
FILES = {
    "notes.txt": b"plain",
    "a folder/with spaces/r\u00e9sum\u00e9 \u6a21\u578b.txt": b"accents",
    "a folder/empty": b"",
    "binary.bin": bytes(range(256)) * 300,
    "really?.txt": b"a question",
}
POINTS = [
    # (key, value, time in milliseconds after START, step)
    ("loss", 0.5, 0, 0),
    ("loss", 0.1 + 0.2, 10, 1),
    ("loss", math.nan, 20, 2),
    ("loss", 0.0, 20, 2),
    ("loss", math.inf, 30, 3),
    ("loss", -math.inf, 40, 4),
    ("loss", 0.25, 5, 7),  # earlier than its neighbours, later in steps
    ("steps", 1.0, 0, -5),
    ("steps", 2.0, 0, 2**62),
    ("steps", 5e-324, 0, -(2**62)),
    ("twice", 2.0, 100, 1),
    ("twice", 1.0, 100, 1),
    ("m\u00e9trique/\u640d\u5931 v1.0", 1e300, 0, 0),
    ("system/cpu_utilization_percentage", 12.5, 0, 0),
    ("summary/of mine", 3.0, 0, 0),
]


def build(client: Any, project: str, folder: Path, *, question_mark: bool = True) -> dict[str, str]:
    """Make the experiment; return the ids of its runs and models by what they stand for.

    `folder` is for files on their way. `question_mark`: MLflow's client cannot send a file with one in its name to a server.
    """
    from mlflow.entities import Metric, Param, RunTag

    experiment = client.create_experiment(project)
    ids: dict[str, str] = {}

    def start(what: str, at: int, **tags: str) -> str:
        tags = {"mlflow.user": "ann\u00e9", "mlflow.source.type": "LOCAL", **{k.replace("__", "."): v for k, v in tags.items()}}
        ids[what] = client.create_run(experiment, start_time=at, tags=tags, run_name=f"the {what}").info.run_id
        return ids[what]

    rich = start(
        "rich", START, mlflow__source__name="train.py", mlflow__source__git__commit="c0ffee", mlflow__note__content="# Notes\n\u00e9"
    )
    client.log_batch(rich, metrics=[Metric(key, value, START + at, step) for key, value, at, step in POINTS])
    client.log_batch(rich, params=[Param("lr", "0.1"), Param("\u00e9t\u00e9/x y", "None"), Param("long", LONG), Param("empty", "")])
    client.log_batch(
        rich, tags=[RunTag("empty", ""), RunTag("multitrack.odd", "mine"), RunTag("long", "y" * 7_999), RunTag("k/l m", "{'a': 1}")]
    )
    log_datasets(client, rich)
    log_files(client, rich, folder, question_mark=question_mark)
    log_models(client, experiment, rich, folder, ids)
    client.set_terminated(rich, "FINISHED", end_time=START + 3_600_000)

    failed = start("failed", START + 1, mlflow__parentRunId=rich)
    client.set_terminated(failed, "FAILED", end_time=START + 2)
    killed = start("killed", START + 2, mlflow__parentRunId=failed)
    client.set_terminated(killed, "KILLED", end_time=START + 3)
    start("running", START + 3, mlflow__parentRunId="f" * 32)
    start("orphan", START + 4, mlflow__parentRunId="no such run")
    client.update_run(start("scheduled", START + 5), status="SCHEDULED")
    deleted = start("deleted", START + 6)
    client.log_metric(deleted, "loss", 1.5, timestamp=START, step=1)
    client.set_terminated(deleted, "FINISHED", end_time=START + 7)
    client.delete_run(deleted)
    return ids


def log_datasets(client: Any, run: str) -> None:
    """Log two data sets: one with schema, profile and several tags, one with as little as MLflow takes."""
    # Without a space in the name: a file store cannot read a score of a model on such a data set again.
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = '{"uri": "s3://bucket/a b.csv"}'
    train = Dataset("train-set", "0123abcd", "s3", source, schema=SCHEMA, profile=PROFILE)
    tags = [InputTag("mlflow.data.context", "training"), InputTag("fold", "1"), InputTag("a tag", "\u00e9")]
    client.log_inputs(run, [DatasetInput(train, tags), DatasetInput(Dataset("bare", "ffff", "local", "nowhere"), [])])


def log_files(client: Any, run: str, folder: Path, *, question_mark: bool) -> None:
    """Log the files of `FILES`."""
    for name, content in FILES.items():
        if "?" in name and not question_mark:
            continue
        file = folder / Path(name).name
        file.write_bytes(content)
        client.log_artifact(run, str(file), str(Path(name).parent) if "/" in name else None)


def log_models(client: Any, experiment: str, run: str, folder: Path, ids: dict[str, str]) -> None:
    """Make a model that the run produced, linked and scored, with files; and one that only names the run as its source."""
    from mlflow.entities import LoggedModelOutput

    model = client.create_logged_model(experiment, "forest", run, tags={"stage": "\u00e9"}, params={"trees": "10"}, model_type="classifier")
    ids["model"] = model.model_id
    client.log_outputs(run, [LoggedModelOutput(model.model_id, step=3)])
    client.log_metric(
        run, "accuracy", 0.75, timestamp=START + 9, step=3, model_id=model.model_id, dataset_name="train-set", dataset_digest="0123abcd"
    )
    (folder / "model files" / "inner").mkdir(parents=True)
    (folder / "model files" / "MLmodel").write_bytes(b"flavors: {}\n")
    (folder / "model files" / "inner" / "weights.bin").write_bytes(b"\0\1\2")
    client.log_model_artifacts(model.model_id, str(folder / "model files"))
    client.finalize_logged_model(model.model_id, "READY")
    ids["failed model"] = client.create_logged_model(experiment, "broken", run).model_id
    client.finalize_logged_model(ids["failed model"], "FAILED")

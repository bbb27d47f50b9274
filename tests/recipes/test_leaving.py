"""An afternoon's migration: the page's commands, in its order, between real MLflow stores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import foreign_mlflow
from support.recipes import following

pytestmark = pytest.mark.slow


def test_everything_is_somewhere_else_by_the_evening(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    old, new = f"sqlite:///{tmp_path / 'old.db'}", f"sqlite:///{tmp_path / 'new.db'}"
    foreign_mlflow.build(MlflowClient(old), "digits", tmp_path)
    with following("leaving", tmp_path / "afternoon") as recipe:
        recipe.write("multitrack.toml", "")
        env = {**recipe.env, "MLFLOW_DISABLE_TELEMETRY": "true"}
        for command in recipe.commands():
            line = command.replace("http://old.example.org:5000", old).replace("http://new.example.org:5000", new)
            recipe.shell(line, env=env)  # ends with 0, or the command fails
            if "archive-verified" in line:
                (tmp_path / "old.db").rename(tmp_path / "switched-off.db")  # from here on, the archive is all there is

        reports = {path.stem: json.loads(path.read_text()) for path in recipe.folder.glob("*.json")}
        assert set(reports) == {"plan", "archived", "archive-verified", "moved", "moved-verified"}
        assert all(report["ok"] for report in reports.values())
    moved = MlflowClient(new)
    (experiment,) = [found for found in moved.search_experiments() if found.name == "digits"]
    rich = next(run for run in moved.search_runs([experiment.experiment_id]) if run.info.run_name == "the rich")
    assert rich.info.start_time == foreign_mlflow.START
    assert len(moved.get_metric_history(rich.info.run_id, "loss")) == len([key for key, *_ in foreign_mlflow.POINTS if key == "loss"])

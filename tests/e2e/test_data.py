"""Data from `log_data` to what people see: `multitrack data diff`, and MLflow's own pages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import multitrack as mt
from multitrack.data import record as data_record
from multitrack.data import verify_data
from multitrack.records import DataVersion

CLI = [sys.executable, "-m", "multitrack.cli"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("MULTITRACK_"):
            monkeypatch.delenv(name)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    (root / "multitrack.toml").touch()
    monkeypatch.chdir(root)
    return root


def write(count: int, content: str = "") -> None:
    for number in range(count):
        Path(f"data/{number}.csv").write_text(f"{number}{content}")


def diff(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, "data", "diff", *arguments], capture_output=True, text=True, check=False)


def record_run() -> str:
    with mt.init(project="p", quiet=True, capture=mt.Capture(code=False, environment=False, system=False, console=False)) as run:
        run.log_data("digits", "data", role="train")
    return run.id


def test_diff_names_the_files(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(3)
    one, again = record_run(), record_run()
    same = diff(one, again)
    assert (same.returncode, same.stdout, same.stderr) == (0, "the data is the same\n", "")
    Path("data/1.csv").write_text("edited")
    Path("data/2.csv").unlink()
    other = record_run()
    told = diff(one, other)
    assert told.returncode == 1
    header, first, second = (line.split() for line in told.stdout.splitlines())
    assert header == ["data", "change", "what", "name", "before", "after"]
    assert first[:5] == ["digits", "(train)", "changed", "file", "1.csv"]
    assert second[:5] == ["digits", "(train)", "removed", "file", "2.csv"]


def test_diff_reads_lists_that_lie_beside_the_record(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_record, "MOST_FILES", 2)
    write(3)
    one = record_run()
    Path("data/1.csv").write_text("edited")
    found = json.loads(diff(one, record_run(), "--json").stdout)
    assert [(item["what"], item["name"], item["change"]) for item in found] == [("file", "1.csv", "changed")]


def test_diff_of_what_is_no_run(project: Path) -> None:
    done = diff("nothing", "here")
    assert done.returncode == 1
    assert "names no run" in done.stderr or "nothing" in done.stderr


@pytest.mark.slow
def test_data_at_mlflow(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything comes back, and MLflow's own client shows a digest, where the data is, its columns and its counts."""
    import pandas as pd

    monkeypatch.setattr(data_record, "MOST_FILES", 2)
    write(3)
    uri = f"sqlite:///{project / 'mlflow.db'}"
    nothing = mt.Capture(code=False, environment=False, system=False, console=False)
    with mt.init(project="p", quiet=True, mode="inline", backends=f"mlflow:{uri}", capture=nothing) as run:
        run.log_data("digits", "data", role="train")
        run.log_data("table", pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}), role="test")
    with mt.open("local") as here, mt.open(f"mlflow:{uri}") as there:
        recorded, arrived = here.run(run.id).data, there.run(run.id).data
        files = data_record.read_files(there.run(run.id).content(recorded[0].file_list.name))
    assert sorted(arrived, key=lambda one: one.name) == sorted(recorded, key=lambda one: one.name)
    assert [file.path for file in files] == ["0.csv", "1.csv", "2.csv"]
    assert verify_data(arrived[0] if arrived[0].name == "digits" else arrived[1], [project]) == []
    shown = shown_by_mlflow(uri)
    digits, table = shown["digits"], shown["table"]
    assert (digits["role"], digits["digest"]) == ("train", digest_of(recorded, "digits")[:36])
    assert digits["source"] == {"uri": (project / "data").as_uri()}
    assert digits["profile"] == {"size": 3}
    assert [column["name"] for column in table["schema"]["mlflow_colspec"]] == ["x", "y"]
    assert table["profile"] == {"num_rows": 2, "num_elements": 4}


def digest_of(versions: list[DataVersion], name: str) -> str:
    return next(version.digest or "" for version in versions if version.name == name)


def shown_by_mlflow(uri: str) -> dict[str, dict[str, object]]:
    """Return the data sets as MLflow's client tells them, asked in a process of its own."""
    program = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
[run] = client.search_runs([one.experiment_id for one in client.search_experiments() if one.name == "p"])
parse = lambda text: json.loads(text) if text else None
print(json.dumps({used.dataset.name: {
    "digest": used.dataset.digest,
    "source": parse(used.dataset.source) if used.dataset.source.startswith("{") else None,
    "schema": parse(used.dataset.schema),
    "profile": parse(used.dataset.profile), "role": {tag.key: tag.value for tag in used.tags}.get("mlflow.data.context"),
} for used in run.inputs.dataset_inputs}, default=str))
"""
    done = subprocess.run([sys.executable, "-c", program, uri], capture_output=True, text=True, check=True)
    found: dict[str, dict[str, object]] = json.loads(done.stdout.splitlines()[-1])
    return found

"""Leaving Neptune, as a user does it: an export, the command line, other stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import multitrack as mt
from multitrack.errors import ConfigError
from support.neptune_exports import CREATED, Export, decimal, file, point, scalar, sys_2x, sys_3x

pytestmark = pytest.mark.slow

SAMPLE = Path(__file__).parents[1] / "backends" / "neptune" / "data" / "export-2x"
T = CREATED + timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        monkeypatch.delenv(name)


def cli(*words: str, code: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "multitrack.cli", *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(root: Path) -> Export:
    """Export two projects: runs of both generations, a fork, every type, and a run that is damaged."""
    vision = Export(root)
    vision.content("acme/vision/VIS-2/model", b"weights")
    params = [scalar("p/lr", 0.1), scalar("p/n", 3), scalar("p/when", CREATED), scalar("sys/tags", ["t"])]
    series = [point(f"m/{name}", step, T + timedelta(seconds=step), step / 7) for name in "abc" for step in range(500)]
    out = [point("monitoring/0a1b2c3d/stdout", step, T, f"line {step}\n", "string_series") for step in range(20)]
    usage = [point("monitoring/0a1b2c3d/cpu", step, T, 50.0) for step in range(20)]
    files = [file("model", "acme/vision/VIS-2/model")]
    vision.run("VIS-2", [sys_2x("VIS-2", name="second") + params, series], [usage, out, files])
    vision.run("VIS-3", [sys_2x("VIS-3", failed=True) + params, series])
    scale = Export(root, "acme/scale")
    histogram = {"type": "COUNTING", "edges": [0.0, 1.0], "values": [3.0]}
    scale.run("root run", [sys_3x("root run"), [point("loss", 0.5 * step, T, float(step)) for step in range(40)]])
    forking = [scalar("sys/forking/parent", "root run"), scalar("sys/forking/step", 9.5)]
    own = [*(point("loss", 10 + step, T, -1.0) for step in range(5)), point("h", 1, T, histogram, "histogram_series")]
    scale.run("fork_part_0", [sys_3x("fork_part_0") + forking, own])
    return vision


def test_the_command_line(tmp_path: Path) -> None:
    where = f"neptune:{SAMPLE}"
    assert "exp-a" in cli("runs", where)
    shown = cli("show", f"{where}#VIS-1")
    assert "params.lr    0.1" in shown
    plan = cli("migrate", where, "local:./out", "--dry-run")
    assert "-05:00 hours from its creation" in plan
    assert "--source-tz" in plan
    moved = cli("migrate", where, "local:./out", "--source-tz", "America/New_York")
    assert "1 migrated; 6 points" in moved
    assert "--source-tz America/New_York" in moved.splitlines()[-1]
    assert "1 identical" in cli("verify", where, "local:./out", "--source-tz", "America/New_York")
    assert "different" in cli("verify", where, "local:./out", code=1)  # the zone counts
    assert "1 unchanged" in cli("migrate", where, "local:./out", "--source-setting", "source_tz=America/New_York")
    assert "the name of a time zone, such as Europe/Warsaw, not 'Mars/Olympus'" in cli(
        "migrate", where, "local:./out", "--source-tz", "Mars/Olympus", code=1
    )
    assert "no setting 'source_zone'" in cli("migrate", where, "local:./out", "--source-setting", "source_zone=x", code=1)
    assert "is a secret" in cli("migrate", where, "local:./out", "--source-setting", "api_token=x", code=1)


def test_two_projects_into_the_local_store(tmp_path: Path) -> None:
    build(tmp_path / "exports")
    report = mt.migrate("neptune:./exports", "local:./out")

    assert report.ok
    assert report.counts == {"migrated": 4}
    again = mt.open("local:./out")
    assert sorted(again.projects()) == ["acme/scale", "acme/vision"]
    views = {view.origin.run: view for view in again.runs() if view.origin is not None}
    fork = views["fork_part_0"].metrics("loss")
    assert list(fork["step"]) == [step / 2 for step in range(20)] + list(range(10, 15))
    assert views["VIS-3"].status == "failed"
    assert views["VIS-2"].params == {"p": {"lr": 0.1, "n": 3, "when": "2025-07-01T12:00:00+00:00"}}
    verified = cli("verify", "neptune:./exports", "local:./out")
    assert "4 identical" in verified
    assert mt.migrate("neptune:./exports", "local:./out").counts == {"unchanged": 4}


def test_a_run_that_was_exported_again_is_moved_again(tmp_path: Path) -> None:
    export = build(tmp_path / "exports")
    mt.migrate("neptune:./exports", "local:./out")
    export.run("VIS-3", [sys_2x("VIS-3", failed=True), [point("m/a", step, T, 1.0) for step in range(501)]])

    assert mt.migrate("neptune:./exports", "local:./out").counts == {"unchanged": 3, "updated": 1}


def test_into_mlflow_and_back(tmp_path: Path) -> None:
    build(tmp_path / "exports")
    report = mt.migrate("neptune:./exports", "mlflow:sqlite:///mlflow.db")
    assert report.ok, str(report)
    assert report.counts == {"migrated": 4}
    verified = cli("verify", "neptune:./exports", "mlflow:sqlite:///mlflow.db")
    assert "4 identical but for declared losses" in verified
    assert "4 are restored exactly" in verified

    from mlflow import MlflowClient

    client = MlflowClient("sqlite:///mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'acme/vision'")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    second = runs["second"]
    assert (second.info.status, second.info.start_time) == ("FINISHED", round(CREATED.timestamp() * 1000))
    assert second.info.end_time == round((CREATED + timedelta(seconds=60)).timestamp() * 1000)
    assert second.data.params["p.n"] == "3"
    history = client.get_metric_history(second.info.run_id, "m/a")
    assert [(point.step, point.value) for point in history] == [(step, step / 7) for step in range(500)]
    assert history[7].timestamp == round((T + timedelta(seconds=7)).timestamp() * 1000)
    assert [file.path for file in client.list_artifacts(second.info.run_id) if not file.is_dir] == ["model"]
    assert runs["VIS-3"].info.status == "FAILED"

    mt.migrate("mlflow:sqlite:///mlflow.db", "local:./back")
    assert "4 identical" in cli("verify", "neptune:./exports", "local:./back")


def test_what_is_damaged_is_told_and_the_rest_moves(tmp_path: Path) -> None:
    export = build(tmp_path / "exports")
    paths = export.run("BAD", [sys_2x("BAD")], [[point("m", 0, T, 1.0)]])
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    export.run("LOST", [[*sys_2x("LOST"), file("gone", "acme/vision/LOST/gone"), file("evil", "../../../etc/passwd")]])
    entry = {
        "project_id": export.project,
        "run_id": "VIS-2",
        "attribute_path": "m/d",
        "attribute_type": None,
        "exception": "NeptuneException",
    }
    Path("neptune_exporter_errors.jsonl").write_text(json.dumps(entry) + "\n" + json.dumps({**entry, "run_id": "VIS-9"}) + "\n")

    told = cli("migrate", "neptune:./exports", "local:./out", "--report", "report.json", code=1)
    assert "1 failed, 5 migrated" in told
    (failed,) = [line for line in told.splitlines() if "failed:" in line]
    assert "BAD" in failed
    assert "part_1.parquet cannot be read" in failed
    assert "lost at the source: artifact 'gone'" in told
    assert "lost at the source: artifact 'evil': '../../../etc/passwd' leads out of the export's folder" in told
    assert "second" in told
    assert "neptune-exporter could not fetch 'm/d' (NeptuneException)" in told
    assert "'VIS-9' of 'acme/vision', which is not in this export" in told
    report = json.loads(Path("report.json").read_text())
    assert any("VIS-9" in notice for notice in report["notices"])

    listed = cli("runs", "neptune:./exports")
    assert "second" in listed
    assert "BAD" in listed
    assert "cannot be read" in cli("show", "neptune:./exports#BAD", code=1)
    assert "can be read, not written to" in cli("migrate", "local:./out", "neptune:./exports", code=1)

    partial = cli("migrate", "neptune:./exports", "local:./out", "--source-setting", "partial=true")
    assert "part_1.parquet cannot be read" in partial


def test_an_export_needs_no_neptune_client(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['neptune'] = None; import multitrack as mt; "
    code = blocked + f"print(mt.migrate('neptune:{SAMPLE}', 'local:./out').counts); mt.open('neptune:workspace/project')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "{'migrated': 1}" in done.stdout
    assert "MissingExtraError" in done.stderr
    assert "pip install 'multitrack[neptune]'" in done.stderr


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    told = cli("runs", "neptune:./photos", code=1)
    assert len(told.strip().splitlines()) == 1


def test_memory_is_a_batchs_not_the_runs(tmp_path: Path) -> None:
    """Two exports, one ten times the other: reading the longer takes hardly more memory."""
    peaks = []
    for points in (200_000, 2_000_000):
        folder = tmp_path / f"export-{points}"
        write_long(folder, points)
        code = (
            "import resource, sys; from multitrack_neptune import *; from multitrack.backend import RunFilter\n"
            f"source = NeptuneBackend({str(folder)!r}).source()\n"
            "runs = source.runs(RunFilter())\n"
            "print(sum(len(r.values) for run in runs for r in source.read(run) if r.kind == 'points'))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        count, peak = map(int, done.stdout.split())
        assert count == points
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 40, peaks


def write_long(folder: Path, points: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from support.neptune_exports import SCHEMA

    export = Export(folder)
    (path,) = export.run("R-1", [sys_2x("R-1")])
    path = path.with_name(path.name.replace("part_0", "part_1"))
    size = 100_000
    with pq.ParquetWriter(path, SCHEMA, compression="snappy") as writer:
        for start in range(0, points, size):
            columns = {
                "project_id": [export.project] * size, "run_id": ["R-1"] * size,
                "attribute_path": [f"m/{number % 20}" for number in range(size)], "attribute_type": ["float_series"] * size,
                "step": [decimal(start + number) for number in range(size)], "timestamp": [T] * size,
                "float_value": [number / 3 for number in range(start, start + size)],
            }  # fmt: skip
            arrays = [pa.array(columns.get(field.name, [None] * size), field.type) for field in SCHEMA]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))


def test_a_zone_may_stand_in_the_configuration(tmp_path: Path) -> None:
    Path("multitrack.toml").write_text(f'[targets.old]\nbackend = "neptune"\nlocation = "{SAMPLE}"\nsource_tz = "America/New_York"\n')
    (view,) = mt.open("old").runs()
    assert next(iter(view.metrics("metrics/loss")["time"])).astimezone(UTC) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    with pytest.raises(ConfigError, match="is a secret"):
        mt.migrate("old", "local:./out", source_settings={"api_token": "x"})

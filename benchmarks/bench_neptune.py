"""An export of neptune-exporter into the local store, and a tenth of it into an MLflow database, beside a bare scan of the same files."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from measure import fresh, rate, show
from servers import has_mlflow

METRICS = 10
START = 1_751_371_200_000
PROJECTS = ("acme/most", "acme/tenth")

PEAK = """
import json, resource, sys, time
started = time.perf_counter()
{work}
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({{"seconds": time.perf_counter() - started, "points": points, "peak": peak * (1 if sys.platform == "darwin" else 1024)}}))
"""
SCAN = """
import pyarrow.parquet as pq
from pathlib import Path
points = 0
for path in sorted(Path({export!r}).rglob("*.parquet")):
    file = pq.ParquetFile(path)
    columns = ["attribute_path", "attribute_type", "step", "timestamp", "float_value"]
    for batch in file.iter_batches(131_072, columns=columns):
        points += len(batch) - batch.column("float_value").null_count
"""
READ = """
from multitrack.backend import RunFilter
from multitrack_neptune import NeptuneBackend
source = NeptuneBackend({export!r}).source()
points = sum(len(record.values) for run in source.runs(RunFilter()) for record in source.read(run) if record.kind == "points")
"""
MIGRATE = """
import multitrack as mt
report = mt.migrate("neptune:{export}", {destination!r}, projects={projects!r}, staging={staging!r})
assert report.ok, report
points = sum(outcome.points for outcome in report.outcomes)
"""


def write(root: Path, runs: int, steps: int) -> None:
    """Write runs of both projects as the exporter does: each batch of rows a stretch of the file, one metric behind the other."""
    for number in range(runs):
        _write_run(root, PROJECTS[number % 10 == 9], f"RUN-{number}", steps)


def _write_run(root: Path, project: str, run: str, steps: int) -> None:
    import pyarrow.parquet as pq

    folder = root / "data" / _sanitize(project)
    folder.mkdir(parents=True, exist_ok=True)
    schema = _schema()
    with pq.ParquetWriter(folder / f"{_sanitize(run)}_part_0.parquet", schema, compression="snappy") as writer:
        created = datetime.fromtimestamp(START / 1000, UTC)
        told: list[dict[str, Any]] = [
            {"attribute_path": "sys/id", "attribute_type": "string", "string_value": run},
            {"attribute_path": "sys/creation_time", "attribute_type": "datetime", "datetime_value": created},
            {"attribute_path": "params/lr", "attribute_type": "float", "float_value": 0.1},
        ]
        writer.write_batch(_batch(schema, [{"project_id": project, "run_id": run, **row} for row in told]))
        for metric in range(METRICS):
            writer.write_batch(_series(schema, project, run, f"metrics/m{metric}", steps))


def _schema() -> Any:
    import pyarrow as pa

    text, time = pa.string(), pa.timestamp("ms", tz="UTC")
    histogram = pa.struct([("type", text), ("edges", pa.list_(pa.float64())), ("values", pa.list_(pa.float64()))])
    names = {
        "project_id": text, "run_id": text, "attribute_path": text, "attribute_type": text, "step": pa.decimal128(18, 6), "timestamp": time,
        "int_value": pa.int64(), "float_value": pa.float64(), "string_value": text, "bool_value": pa.bool_(), "datetime_value": time,
        "string_set_value": pa.list_(text), "file_value": pa.struct([("path", text)]), "histogram_value": histogram,
    }  # fmt: skip
    return pa.schema(list(names.items()))


def _batch(schema: Any, rows: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.RecordBatch.from_pylist(rows, schema=schema)


def _series(schema: Any, project: str, run: str, path: str, steps: int) -> Any:
    import pyarrow as pa

    texts = {"project_id": project, "run_id": run, "attribute_path": path, "attribute_type": "float_series"}
    given: dict[str, Any] = {name: pa.repeat(text, steps) for name, text in texts.items()}
    given["step"] = pa.array(range(steps), pa.int32()).cast(pa.decimal128(18, 6))
    given["timestamp"] = pa.array(range(START, START + 1000 * steps, 1000), pa.int64()).cast(pa.timestamp("ms", tz="UTC"))
    given["float_value"] = pa.array([(step * 7919 % 10_007) / 7 for step in range(steps)], pa.float64())
    arrays = [given.get(field.name, pa.nulls(steps, field.type)) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _sanitize(name: str) -> str:
    clean = "".join(char if char.isalnum() or char in "_-" else "_" for char in name)
    return f"{clean}-{blake2b(name.encode(), digest_size=8).hexdigest()}"


def run(full: bool) -> None:
    runs, steps = (300, 10_000) if full else (20, 2_000)
    with tempfile.TemporaryDirectory(prefix="multitrack-bench-") as text:
        folder = Path(text)
        export = str(folder / "export")
        write(Path(export), runs, steps)
        size = sum(path.stat().st_size for path in Path(export).rglob("*.parquet"))
        works = {
            "bare pyarrow scan": SCAN.format(export=export),
            "read as records": READ.format(export=export),
            "into the local store": _migration(export, f"local:{folder}/local", PROJECTS, folder),
        }
        if has_mlflow():
            works["a tenth into MLflow's sqlite"] = _migration(export, f"mlflow:sqlite:///{folder}/mlflow.db", PROJECTS[1:], folder)
        rows = []
        for name, work in works.items():
            done = json.loads(fresh(PEAK.format(work=work), cwd=folder).splitlines()[-1])
            speed = rate(done["points"], done["seconds"])
            rows.append((name, f"{done['points']:,}", f"{done['seconds']:.1f} s", speed, f"{done['peak'] / 2**20:.0f} MiB"))
    show(
        f"{runs} runs x {METRICS} metrics x {steps:,} steps, {size / 1e6:.0f} MB",
        ("", "points", "time", "points a second", "peak memory"),
        rows,
    )


def _migration(export: str, destination: str, projects: tuple[str, ...], folder: Path) -> str:
    return MIGRATE.format(export=export, destination=destination, projects=list(projects), staging=str(folder / "staging"))

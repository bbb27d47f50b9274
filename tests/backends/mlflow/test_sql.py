"""Reading MLflow's database: which ones we know, that nothing is written or blocked, and that all of it comes."""

from __future__ import annotations

import logging
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from multitrack.backend import RunFilter
from multitrack.errors import PermanentError, TransientError
from multitrack.records import Points
from multitrack_mlflow import MLflowBackend
from multitrack_mlflow.client import connect
from multitrack_mlflow.database import _TOO_OLD, REVISIONS
from multitrack_mlflow.location import sqlite_file
from multitrack_mlflow.rest import ClientReader
from multitrack_mlflow.settings import MLflowSettings
from multitrack_mlflow.source import MLflowSource
from multitrack_mlflow.sql import SQLReader
from support.mlflow_server import MLflowServer

START = 1_546_300_800_000


def fill(location: str, metrics: dict[str, int], project: str = "big") -> str:
    """Make a run with so many points of each metric, straight into the table: MLflow's own road takes minutes. Return its id."""
    client = connect(location, MLflowSettings())
    run = client.create_run(client.create_experiment(project), start_time=START).info.run_id
    file = sqlite_file(location)
    assert file is not None
    with closing(sqlite3.connect(file)) as database, database:
        for key, count in metrics.items():
            rows = ((key, i * 0.5, START + i // 3, run, i, 0) for i in range(count))
            database.executemany("INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, ?)", rows)
            last = (key, (count - 1) * 0.5, START + (count - 1) // 3, count - 1, 0, run)
            database.execute("INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)", last)
    return str(run)


def points_of(source: MLflowSource, run: str) -> Iterator[Points]:
    """Yield a run's chunks of points."""
    (ref,) = source.runs(RunFilter(ids=[run]))
    return (record for record in source.read(ref) if isinstance(record, Points))


# -- schemas ----------------------------------------------------------------------------------------------------------


def test_the_known_revisions_are_mlflows_own_in_order() -> None:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    script = ScriptDirectory.from_config(_get_alembic_config("sqlite://"))
    chain = [revision.revision for revision in script.walk_revisions()][::-1]

    assert tuple(chain[-len(REVISIONS) :]) == REVISIONS
    assert frozenset(chain[: -len(REVISIONS)]) == _TOO_OLD


@pytest.mark.slow
@pytest.mark.parametrize("revision", [REVISIONS[0], "0584bdc529eb", "400f98739977", "6953534de441", "1b5f0d9ad7c1"])
def test_older_schemas_are_read(tmp_path: Path, revision: str) -> None:
    location = f"sqlite:///{tmp_path / 'old.db'}"
    with closing(_at_revision(tmp_path / "old.db", revision)) as database, database:
        database.execute("INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (1, 'old', 'active')")
        database.execute(
            "INSERT INTO runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, artifact_uri, experiment_id, source_type)"
            f" VALUES ('{'a' * 32}', 'n', 'FINISHED', 1, 2, 'active', '{tmp_path}', 1, 'LOCAL')"
        )
        database.execute(f"INSERT INTO metrics VALUES ('loss', 0.5, 7, '{'a' * 32}', 3, 0)")
        database.execute(
            f"INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES ('loss', 0.5, 7, 3, 0, '{'a' * 32}')"
        )
    source = MLflowSource(MLflowBackend(location))

    assert isinstance(source._reader, SQLReader)
    assert list(source.projects()) == ["old"]
    assert [(p.steps, p.times, p.values) for p in points_of(source, "a" * 32)] == [([3], [7_000], [0.5])]


def _at_revision(file: Path, revision: str) -> sqlite3.Connection:
    """Make a database as MLflow had it at that revision."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{file}")
    Base.metadata.create_all(engine)
    engine.dispose()
    command.upgrade(_get_alembic_config(f"sqlite:///{file}"), revision)
    return sqlite3.connect(file)


def test_an_unknown_revision_is_left_to_the_client_with_one_notice(sqlite_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    _set_revision(sqlite_uri, "feedfacecafe")

    with caplog.at_level(logging.WARNING, "multitrack_mlflow"), pytest.raises(PermanentError, match="out-of-date"):
        MLflowSource(MLflowBackend(sqlite_uri))  # MLflow's client says no as well: it does not know the revision either
    (notice,) = [r for r in caplog.records if r.name.startswith("multitrack_mlflow")]
    assert "feedfacecafe" in notice.getMessage()
    assert "MLflow's client" in notice.getMessage()


@pytest.mark.slow
def test_an_unknown_revision_that_the_client_knows_is_read(
    sqlite_uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = fill(sqlite_uri, {"loss": 10})
    monkeypatch.setattr("multitrack_mlflow.database.REVISIONS", REVISIONS[:-1])
    source = MLflowSource(MLflowBackend(sqlite_uri))

    assert isinstance(source._reader, ClientReader)
    assert sum(len(p.times) for p in points_of(source, run)) == 10
    assert len([r for r in caplog.records if r.name.startswith("multitrack_mlflow")]) == 1


def test_a_database_too_old_is_not_touched(sqlite_uri: str) -> None:
    _set_revision(sqlite_uri, sorted(_TOO_OLD)[0])

    with pytest.raises(PermanentError, match="mlflow db upgrade"):
        MLflowSource(MLflowBackend(sqlite_uri))
    assert _revision(sqlite_uri) == sorted(_TOO_OLD)[0]


@pytest.mark.parametrize("content", [b"", b"this is no database, however long it may be" * 100])
def test_a_file_that_is_no_database_of_mlflows(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other.db"
    file.write_bytes(content)

    with pytest.raises(PermanentError):
        MLflowSource(MLflowBackend(f"sqlite:///{file}"))
    assert file.read_bytes() == content


def test_several_workspaces_are_left_to_the_client(sqlite_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    file = sqlite_file(sqlite_uri)
    assert file is not None
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace) VALUES (9, 'x', 'active', 'team')")

    with pytest.raises(PermanentError, match=r"(?i)workspace"):
        MLflowSource(MLflowBackend(sqlite_uri))
    assert "several workspaces" in caplog.text


def _set_revision(location: str, revision: str) -> None:
    with closing(sqlite3.connect(str(sqlite_file(location)))) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", [revision])


def _revision(location: str) -> Any:
    with closing(sqlite3.connect(str(sqlite_file(location)))) as database:
        return database.execute("SELECT version_num FROM alembic_version").fetchone()[0]


# -- all of it --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_million_points_stream_in_little_memory(sqlite_uri: str) -> None:
    run = fill(sqlite_uri, {"loss": 1_000_000})
    source = MLflowSource(MLflowBackend(sqlite_uri))
    count, last = 0, -1
    tracemalloc.start()
    for chunk in points_of(source, run):
        assert len(chunk.times) <= 10_000
        assert chunk.steps == list(range(last + 1, last + 1 + len(chunk.times)))
        count, last = count + len(chunk.times), count + len(chunk.times) - 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 1_000_000
    assert peak < 40_000_000, "bytes; a million points at once would take 200 million"


@pytest.mark.slow
@pytest.mark.parametrize("by_client", [False, True])
def test_300_metrics_come_whole(sqlite_uri: str, *, by_client: bool) -> None:
    run = fill(sqlite_uri, {f"metric {i}": 7 for i in range(300)})
    source = MLflowSource(MLflowBackend(sqlite_uri))
    if by_client:
        source._reader = ClientReader(connect(sqlite_uri, MLflowSettings()))
    found = {chunk.name: chunk.values for chunk in points_of(source, run)}

    assert found == {f"metric {i}": [j * 0.5 for j in range(7)] for i in range(300)}


@pytest.mark.slow
def test_30000_points_of_one_metric_come_whole_from_a_server(mlflow_server: MLflowServer) -> None:
    """More than one page of MLflow's own, and more than its own bulk route tells of."""
    run = fill(mlflow_server.backend_store, {"loss": 30_000}, project="30,000 points")
    chunks = list(points_of(MLflowSource(MLflowBackend(mlflow_server.url)), run))

    assert [len(chunk.times) for chunk in chunks] == [10_000] * 3
    assert [step for chunk in chunks for step in chunk.steps or []] == list(range(30_000))


@pytest.mark.parametrize("block", [1, 2, 3, 7, 10, 100])
def test_the_size_of_a_query_changes_nothing(sqlite_uri: str, block: int) -> None:
    counts = {"accuracy": 4, "loss": 10, "\u00e9": 3}
    run = fill(sqlite_uri, counts)
    source = MLflowSource(MLflowBackend(sqlite_uri), history_page=block)

    assert [(p.name, p.steps, p.values) for p in points_of(source, run)] == [
        (key, list(range(count)), [i * 0.5 for i in range(count)]) for key, count in counts.items()
    ]


def test_a_history_that_lacks_its_last_point_is_not_passed_on(sqlite_uri: str) -> None:
    run = fill(sqlite_uri, {"loss": 10})
    with closing(sqlite3.connect(str(sqlite_file(sqlite_uri)))) as database, database:
        database.execute("DELETE FROM metrics WHERE step = 9")
    source = MLflowSource(MLflowBackend(sqlite_uri))
    source._reader = ClientReader(connect(sqlite_uri, MLflowSettings()))

    with pytest.raises(TransientError, match="lacks its last point"):
        list(points_of(source, run))


# -- beside others ----------------------------------------------------------------------------------------------------


def test_a_reader_keeps_nobody_from_writing(sqlite_uri: str) -> None:
    run = fill(sqlite_uri, {"loss": 50, "more": 50})
    reading = points_of(MLflowSource(MLflowBackend(sqlite_uri), history_page=10), run)
    next(reading)

    with closing(sqlite3.connect(str(sqlite_file(sqlite_uri)), timeout=0)) as database, database:
        database.execute("INSERT INTO tags (key, value, run_uuid) VALUES ('meanwhile', '', ?)", [run])
    assert [len(chunk.times) for chunk in reading] == [50]


def test_nothing_is_written(sqlite_uri: str) -> None:
    run = fill(sqlite_uri, {"loss": 50})
    file = sqlite_file(sqlite_uri)
    assert file is not None
    before, names = file.read_bytes(), sorted(path.name for path in file.parent.iterdir())
    file.chmod(0o444)
    list(points_of(MLflowSource(MLflowBackend(sqlite_uri)), run))

    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == names


def test_a_changed_run_has_another_version(sqlite_uri: str) -> None:
    run = fill(sqlite_uri, {"loss": 10})
    source, client = MLflowSource(MLflowBackend(sqlite_uri)), connect(sqlite_uri, MLflowSettings())

    def version() -> str | None:
        (ref,) = source.runs(RunFilter(ids=[run]))
        return ref.version

    versions = [version()]
    for change in (
        lambda: client.log_metric(run, "loss", 1.0, step=99),
        lambda: client.set_tag(run, "a", "b"),
        lambda: client.log_param(run, "p", "1"),
        lambda: client.set_terminated(run),
        lambda: client.delete_run(run),
    ):
        change()
        found = [ref.version for ref in source.runs(RunFilter(ids=[run], deleted=True))]
        versions.append(found[0])
    assert all(before != after for before, after in pairwise(versions))
    assert len(set(versions)) == 6

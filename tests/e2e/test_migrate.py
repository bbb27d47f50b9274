"""Moving runs between real stores: MLflow's own databases and folders of journals."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from support import foreign_mlflow

pytestmark = pytest.mark.slow

Database = Callable[[str], str]
QUICK = mt.Capture(code=False, environment=False, system=False, console=False)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs; making one takes seconds, copying it none."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Database:
    """Makes an empty MLflow database of the test's own; returns its URI."""

    def make(name: str) -> str:
        file = tmp_path / f"{name}.db"
        file.write_bytes(empty_database.read_bytes())
        return f"sqlite:///{file}"

    return make


@pytest.fixture(autouse=True)
def _own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow puts the artifacts of a database without a server below the working folder.
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        monkeypatch.delenv(name)


def build_foreign(uri: str, tmp_path: Path) -> dict[str, str]:
    from mlflow import MlflowClient

    folder = tmp_path / "files"
    folder.mkdir()
    return foreign_mlflow.build(MlflowClient(uri), "hard", folder)


def build_simple(uri: str, count: int, *, points: int = 20, project: str = "many") -> list[str]:
    """Make `count` plain runs with MLflow's own client."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(uri)
    experiment = client.create_experiment(project)
    ids = []
    for number in range(count):
        run = client.create_run(experiment, start_time=1_600_000_000_000 + number, run_name=f"run {number}", tags={"n": str(number)})
        metrics = [Metric("loss", 1 / (step + 1), 1_600_000_000_000 + step, step) for step in range(points)]
        client.log_batch(run.info.run_id, metrics=metrics, params=[Param("n", str(number))])
        client.set_terminated(run.info.run_id, end_time=1_600_000_100_000 + number)
        ids.append(run.info.run_id)
    return ids


def rows(uri: str, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as connection:
        return connection.execute(query).fetchall()


def native(uri: str) -> dict[str, dict[str, Any]]:
    """Return what MLflow itself says of every run, under the id that the run had at first; without the ids and marks that must differ."""
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(uri)
    found = {}
    experiments = [experiment.experiment_id for experiment in client.search_experiments(view_type=ViewType.ALL)]
    for run in client.search_runs(experiments, run_view_type=ViewType.ALL):
        tags = {k: v for k, v in run.data.tags.items() if not k.startswith("multitrack.")}
        parent = tags.pop("mlflow.parentRunId", None)
        key = run.data.tags.get("multitrack.run_id", run.info.run_id)
        series = {
            name: sorted((repr(p.value), p.timestamp, p.step) for p in client.get_metric_history(run.info.run_id, name))
            for name in run.data.metrics
        }
        inputs = sorted(
            (d.dataset.name, d.dataset.digest, d.dataset.source_type, d.dataset.source, d.dataset.schema, d.dataset.profile,
             tuple(sorted((t.key, t.value) for t in d.tags)))
            for d in run.inputs.dataset_inputs
        )  # fmt: skip
        found[key] = {
            "name": run.info.run_name, "user": run.info.user_id, "status": run.info.status, "start": run.info.start_time,
            "end": run.info.end_time, "stage": run.info.lifecycle_stage, "params": run.data.params, "tags": tags, "series": series,
            "inputs": inputs, "child": parent is not None,
        }  # fmt: skip
    return found


# -- nothing changes but the run id


def test_a_foreign_run_survives_mlflow_to_mlflow(database: Database, tmp_path: Path) -> None:
    here, there = database("here"), database("there")
    ids = build_foreign(here, tmp_path)

    report = mt.migrate(f"mlflow:{here}", f"mlflow:{there}", deleted=True)

    assert report.ok
    assert report.counts == {"migrated": 7}
    before, after = native(here), native(there)
    assert before.keys() == after.keys()
    # What a server's proxy would corrupt, or a tag of ours marks, is renamed and declared; nothing else may differ.
    before[ids["rich"]]["tags"].pop("multitrack.odd", None)
    for run_id in before:
        assert after[run_id] == before[run_id], run_id


def test_verification_reads_every_field_and_point_back(database: Database, tmp_path: Path) -> None:
    here, there = database("here"), database("there")
    build_foreign(here, tmp_path)
    mt.migrate(f"mlflow:{here}", f"mlflow:{there}", deleted=True)

    report = mt.verify(f"mlflow:{here}", f"mlflow:{there}", deleted=True)

    assert report.ok, str(report)
    assert {run.attached for run in report.runs} == {"exact"}
    assert sum(run.points for run in report.runs) == len(foreign_mlflow.POINTS) + 2  # one accuracy, one loss of the deleted run


def test_there_and_back_is_the_identity(database: Database, tmp_path: Path) -> None:
    here, there, back = database("here"), database("there"), database("back")
    build_foreign(here, tmp_path)

    for source, destination in [
        (f"mlflow:{here}", "local:./journals"),
        ("local:./journals", f"mlflow:{there}"),
        (f"mlflow:{there}", "local:./again"),
    ]:
        assert mt.migrate(source, destination, deleted=True).ok
    assert mt.migrate("local:./again", f"mlflow:{back}", deleted=True).ok

    assert mt.verify("local:./journals", "local:./again", deleted=True).counts == {"identical": 7}
    before, after = native(here), native(back)
    for run_id in before:
        before[run_id]["tags"].pop("multitrack.odd", None)
        assert after[run_id] == before[run_id]


# -- again, and after an interruption


def test_run_again_it_leaves_alone_what_has_arrived(database: Database) -> None:
    here, there = database("here"), database("there")
    build_simple(here, 5)
    mt.migrate(f"mlflow:{here}", f"mlflow:{there}")
    before = rows(there, "select * from metrics order by 1,2,3,4,5")

    report = mt.migrate(f"mlflow:{here}", f"mlflow:{there}")

    assert report.counts == {"unchanged": 5}
    assert mt.migrate(f"mlflow:{here}", f"mlflow:{there}", again=True).counts == {"updated": 5}
    assert rows(there, "select * from metrics order by 1,2,3,4,5") == before
    assert rows(there, "select count(*) from runs") == [(5,)]


def test_a_run_that_changed_at_the_source_is_delivered_again(database: Database) -> None:
    from mlflow import MlflowClient

    here, there = database("here"), database("there")
    ids = build_simple(here, 3)
    mt.migrate(f"mlflow:{here}", f"mlflow:{there}")
    MlflowClient(here).log_metric(ids[1], "loss", 7.0, timestamp=1_600_000_000_500, step=100)
    MlflowClient(here).set_tag(ids[1], "n", "changed")

    report = mt.migrate(f"mlflow:{here}", f"mlflow:{there}")

    assert report.counts == {"unchanged": 2, "updated": 1}
    assert mt.verify(f"mlflow:{here}", f"mlflow:{there}").ok
    assert native(there)[ids[1]]["tags"]["n"] == "changed"


def test_into_journals_a_changed_run_replaces_its_former_version(database: Database) -> None:
    from mlflow import MlflowClient

    here = database("here")
    ids = build_simple(here, 2)
    mt.migrate(f"mlflow:{here}", "local:./journals")
    MlflowClient(here).log_metric(ids[0], "loss", 7.0, timestamp=1_600_000_000_500, step=30)

    assert mt.migrate(f"mlflow:{here}", "local:./journals").ok

    assert mt.verify(f"mlflow:{here}", "local:./journals").counts == {"identical": 2}


def test_killed_at_random_and_run_again_equals_an_undisturbed_one(database: Database, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    dice = random.Random(seed)
    here, disturbed, quiet = database("here"), database("disturbed"), database("quiet")
    ids = build_simple(here, 12, points=400)
    mt.migrate(f"mlflow:{here}", f"mlflow:{quiet}", staging=tmp_path / "quiet")
    command = [sys.executable, "-m", "multitrack.cli", "migrate", f"mlflow:{here}", f"mlflow:{disturbed}", "--staging", str(tmp_path / "s")]

    kills = 0
    for _ in range(40):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            output, _errors = process.communicate(timeout=2.0 + dice.random() * 2.5 if kills < 4 else 240)
            assert process.returncode == 0, output
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1

    assert mt.verify(f"mlflow:{here}", f"mlflow:{disturbed}").ok
    assert native(disturbed) == native(quiet)
    assert rows(disturbed, "select count(*) from runs") == [(len(ids),)]
    assert rows(disturbed, "select count(*) from metrics") == rows(quiet, "select count(*) from metrics")


# -- one bad run


def test_one_bad_run_does_not_end_the_others(database: Database, tmp_path: Path) -> None:
    there = database("there")
    for name in ("good", "bad", "fine"):
        with mt.init(project="p", name=name, dir="store", quiet=True, capture=QUICK) as run:
            run.log({"loss": 1.0}, step=1)
            if name == "bad":
                bad = run
    writer = next((bad.dir / "records").glob("*.jsonl"))
    header, rest = writer.read_bytes().split(b"\n", 1)
    writer.write_bytes(header.replace(b'"format":1', b'"format":99') + b"\n" + rest)

    done = subprocess.run(
        [sys.executable, "-m", "multitrack.cli", "migrate", "local:./store", f"mlflow:{there}", "--run", bad.id, "--run", run.id],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "upgrade" in done.stdout
    assert "1 migrated" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


# -- plans, filters


def test_a_dry_run_changes_nothing_and_foretells_the_losses(database: Database, tmp_path: Path) -> None:
    here, there = database("here"), database("there")
    with mt.init(project="p", name="a", dir="store", quiet=True, params={"model": {"depth": 3}}, tags=["base"]) as run:
        run.log({"loss[0]": 1, "text": "hello", "odd": float("inf")}, step=1.5)
    before = rows(there, "select count(*) from experiments")

    plan = mt.migrate("local:./store", f"mlflow:{there}", dry_run=True)

    assert plan.counts == {"planned": 1}
    assert rows(there, "select count(*) from experiments") == before
    foretold = plan.losses.lines()
    text = "\n".join(foretold)
    assert all(name in text for name in ("'loss[0]'", "'text'", "'odd'", "'base'"))
    done = mt.migrate("local:./store", f"mlflow:{there}")
    assert set(foretold) <= set(done.losses.lines())
    report = mt.verify("local:./store", f"mlflow:{there}")
    assert report.counts == {"identical but for declared losses": 1}
    assert [item.attached for item in report.runs] == ["exact"]
    assert here  # unused but for its making: the destination alone is written to


def test_filters_choose(database: Database) -> None:
    here = database("here")
    ids = build_simple(here, 6)

    def chosen(**filters: Any) -> set[str]:
        return {outcome.id for outcome in mt.migrate(f"mlflow:{here}", "local:./none", dry_run=True, **filters).outcomes}

    assert chosen(projects=["many"]) == set(ids)
    assert chosen(projects=["other"]) == set()
    assert chosen(runs=[ids[2], ids[4]]) == {ids[2], ids[4]}
    assert chosen(tags={"n": "3"}) == {ids[3]}
    assert chosen(tags={"n": None}) == set(ids)
    assert chosen(statuses=["failed"]) == set()
    assert chosen(since=1_600_000_000.003) == set(ids[3:])
    assert chosen(until=1_600_000_000.003) == set(ids[:3])


# -- verification finds what is wrong


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("update metrics set value = 0.123 where step = 3", "metric 'loss'"),
        ("delete from metrics where step = 5", "metric 'loss'"),
        ("update params set value = 'x' where key = 'n'", "param 'n'"),
        ("update tags set value = 'x' where key = 'n'", "tag 'n'"),
        ("update runs set end_time = end_time + 1", "ended"),
        ("update runs set status = 'FAILED'", "status"),
        ("update runs set lifecycle_stage = 'deleted'", "deleted"),
    ],
)
def test_verification_names_what_differs(database: Database, change: str, told: str) -> None:
    here, there = database("here"), database("there")
    build_simple(here, 1)
    mt.migrate(f"mlflow:{here}", f"mlflow:{there}")
    with sqlite3.connect(there.removeprefix("sqlite:///")) as connection:
        assert connection.execute(change).rowcount > 0

    report = mt.verify(f"mlflow:{here}", f"mlflow:{there}")

    assert not report.ok
    assert report.counts == {"different": 1}
    assert any(difference.field.startswith(told) for difference in report.runs[0].differences), report


def test_verification_names_a_missing_run_a_changed_file_and_an_unfinished_delivery(database: Database, tmp_path: Path) -> None:
    there = database("there")
    file = tmp_path / "model.bin"
    file.write_bytes(b"one")
    with mt.init(project="p", name="a", dir="store", quiet=True) as run:
        run.log_artifact(file)
    assert mt.verify("local:./store", f"mlflow:{there}").counts == {"missing": 1}

    mt.migrate("local:./store", f"mlflow:{there}")
    assert mt.verify("local:./store", f"mlflow:{there}").ok
    [stored] = [path for path in tmp_path.rglob("model.bin") if path != file]
    stored.write_bytes(b"two")
    report = mt.verify("local:./store", f"mlflow:{there}")
    assert [difference.field for difference in report.runs[0].differences] == ["artifact 'model.bin' .sha256"]

    stored.write_bytes(b"one")
    with sqlite3.connect(there.removeprefix("sqlite:///")) as connection:
        connection.execute("delete from tags where key = 'multitrack.complete'")
    report = mt.verify("local:./store", f"mlflow:{there}")
    assert not report.ok
    assert not report.runs[0].complete


# -- what people change at a service


def test_what_people_change_at_the_service_wins_unless_the_original_is_asked_for(database: Database) -> None:
    from mlflow import MlflowClient

    there = database("there")
    with mt.init(project="p", name="a", dir="store", quiet=True, params={"lr": 0.1}, tags={"team": "vision"}) as run:
        run.log({"loss": 1}, step=1)
    mt.migrate("local:./store", f"mlflow:{there}")
    client = MlflowClient(there)
    [there_id] = [row[0] for row in rows(there, "select run_uuid from runs")]
    client.set_tag(there_id, "team", "audio")
    client.set_tag(there_id, "mlflow.note.content", "written later")

    view = mt.open(f"mlflow:{there}").run(run.id)
    assert (view.tags, view.notes, view.params) == ({"team": "audio"}, "written later", {"lr": 0.1})
    assert view.metrics("loss")["value"] == [1]
    original = mt.open(f"mlflow:{there}", as_recorded=True).run(run.id)
    assert (original.tags, original.notes) == ({"team": "vision"}, None)

    assert mt.migrate(f"mlflow:{there}", "local:./back").ok
    assert mt.open("local:./back").run(run.id).tags == {"team": "audio"}
    assert mt.migrate(f"mlflow:{there}", "local:./recorded", as_recorded=True).ok
    assert mt.open("local:./recorded").run(run.id).tags == {"team": "vision"}


# -- the command line


def test_the_command_line_tells_and_its_exit_code_too(database: Database, tmp_path: Path) -> None:
    here, there = database("here"), database("there")
    build_simple(here, 3)

    def multitrack(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "multitrack.cli", *arguments], capture_output=True, text=True, check=False)

    assert multitrack("verify", f"mlflow:{here}", f"mlflow:{there}").returncode == 1
    moved = multitrack("migrate", f"mlflow:{here}", f"mlflow:{there}", "--report", "report.json")
    assert moved.returncode == 0, moved
    assert "3 migrated" in moved.stdout
    assert json.loads((tmp_path / "report.json").read_text())["counts"] == {"migrated": 3}
    checked = multitrack("verify", f"mlflow:{here}", f"mlflow:{there}", "--json")
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["counts"] == {"identical": 3}
    (tmp_path / "text.db").write_text("no database")
    wrong = multitrack("migrate", f"mlflow:{here}", f"mlflow:sqlite:///{tmp_path}/text.db")
    assert wrong.returncode == 1
    assert len(wrong.stderr.strip().splitlines()) == 1
    same = multitrack("migrate", f"mlflow:{here}", f"mlflow:{here}")
    assert same.returncode == 1
    assert "same place" in same.stderr


def test_a_run_that_goes_on_is_delivered_as_far_as_it_is(database: Database) -> None:
    there = database("there")
    run = mt.init(project="p", name="a", dir="store", quiet=True)
    run.log({"loss": 1.0}, step=1)
    time.sleep(0)

    assert mt.migrate("local:./store", f"mlflow:{there}").counts == {"running": 1}
    assert native(there)[run.id]["status"] == "RUNNING"
    run.log({"loss": 0.5}, step=2)
    run.finish()

    assert mt.migrate("local:./store", f"mlflow:{there}").ok
    assert native(there)[run.id]["status"] == "FINISHED"
    assert mt.verify("local:./store", f"mlflow:{there}").ok


def test_a_target_without_attached_records_gets_none_and_less_comes_back(database: Database, tmp_path: Path) -> None:
    there = database("there")
    (tmp_path / "multitrack.toml").write_text(f'[targets.bare]\nbackend = "mlflow"\nlocation = "{there}"\nattach = false\n')
    with mt.init(project="p", dir="store", quiet=True, params={"lr": 0.1}) as run:
        run.log({"loss[0]": 1}, step=1)

    assert mt.migrate("local:./store", "bare").ok

    report = mt.verify("local:./store", "bare")
    assert report.ok, str(report)
    assert [item.attached for item in report.runs] == ["none"]
    view = mt.open("bare").run(run.id)
    assert view.params == {"lr": "0.1"}
    assert view.metrics("loss[0]")["value"] == [1.0]  # its name is told by a tag

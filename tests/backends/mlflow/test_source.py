"""Reading MLflow back: everything that people's own runs hold, by every road, and the same by each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from multitrack.backend import RunFilter, RunRef
from multitrack.errors import AuthError, PermanentError, TransientError
from multitrack.records import (
    Artifact,
    CodeVersion,
    DataVersion,
    Hyperparameters,
    Model,
    ModelScore,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
)
from multitrack_mlflow import MLflowBackend
from multitrack_mlflow.client import connect
from multitrack_mlflow.rest import ClientReader
from multitrack_mlflow.settings import MLflowSettings
from multitrack_mlflow.source import MLflowSource
from multitrack_mlflow.sql import SQLReader
from support.foreign_mlflow import FILES, LONG, POINTS, PROFILE, SCHEMA, START, build
from support.mlflow_server import MLflowServer
from support.postgresql import PostgreSQL, find_programs

PROJECT = "of others \u00e9"
ROADS = ["server", "server's database", "sqlite", "sqlite by client", "file store", "postgresql"]


@dataclass
class Store:
    """A store that holds the foreign experiment, and a source that reads it."""

    source: MLflowSource
    ids: dict[str, str]

    def ref(self, what: str) -> RunRef:
        """Return a run by what it stands for."""
        return next(ref for ref in self.source.runs(RunFilter(projects=[PROJECT], deleted=True)) if ref.native_id == self.ids[what])

    def read(self, what: str) -> list[Record]:
        """Return a run's records."""
        return list(self.source.read(self.ref(what)))


@pytest.fixture(scope="module")
def at_server(mlflow_server: MLflowServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The foreign experiment at the server; the files that MLflow's client cannot send are put where the server keeps them."""
    client = connect(mlflow_server.url, MLflowSettings())
    ids = build(client, PROJECT, tmp_path_factory.mktemp("files"), question_mark=False)
    root = mlflow_server.folder / "artifacts" / client.get_run(ids["rich"]).info.artifact_uri.partition(":/")[2]
    (root / "really?.txt").write_bytes(FILES["really?.txt"])
    return ids


@pytest.fixture(scope="module")
def in_sqlite(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("sqlite")
    (folder / "files").mkdir()
    location = f"sqlite:///{folder / 'mlflow.db'}"
    return location, build(connect(location, MLflowSettings()), PROJECT, folder / "files")


@pytest.fixture(scope="module")
def in_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("folder")
    (folder / "files").mkdir()
    return str(folder / "mlruns"), build(connect(str(folder / "mlruns"), MLflowSettings()), PROJECT, folder / "files")


@pytest.fixture(scope="module")
def in_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, MLflowSettings, dict[str, str]]]:
    if find_programs() is None:
        pytest.skip("PostgreSQL's programs (initdb, postgres) are not installed")
    folder = tmp_path_factory.mktemp("postgresql")
    with PostgreSQL("s3cret/@ word") as server:
        settings = MLflowSettings.model_validate({"password": "s3cret/@ word", "artifacts": str(folder / "artifacts")})
        yield server.location, settings, build(connect(server.location, settings), PROJECT, folder)


@pytest.fixture(params=[pytest.param(road, marks=pytest.mark.slow) for road in ROADS])
def store(request: pytest.FixtureRequest) -> Store:
    return _store(request, request.param)


def _store(request: pytest.FixtureRequest, road: str) -> Store:
    settings = None
    if road.startswith("server"):
        server, ids = request.getfixturevalue("mlflow_server"), request.getfixturevalue("at_server")
        location = server.url if road == "server" else server.backend_store
        settings = MLflowSettings(artifacts=str(server.folder / "artifacts"))
    elif road.startswith("sqlite"):
        location, ids = request.getfixturevalue("in_sqlite")
    elif road == "postgresql":
        location, settings, ids = request.getfixturevalue("in_postgresql")
    else:
        location, ids = request.getfixturevalue("in_folder")
    source = MLflowSource(MLflowBackend(location, settings), run_page=2, history_page=3)
    if road == "sqlite by client":
        source._reader = ClientReader(connect(location, MLflowSettings()), run_page=2, history_page=3)
    return Store(source, ids)


def one(kind: type[Any], records: list[Record]) -> Any:
    (found,) = [record for record in records if isinstance(record, kind)]
    return found


def series(records: list[Record], name: str) -> list[tuple[Any, Any, Any]]:
    """Return a metric's points: time, step, value."""
    return [
        point
        for record in records
        if isinstance(record, Points) and record.name == name
        for point in zip(record.times, record.steps or [], record.values, strict=True)
    ]


# -- what a run holds -------------------------------------------------------------------------------------------------


def test_the_run_keeps_its_start_end_user_notes_and_every_other_tag(store: Store) -> None:
    records = store.read("rich")

    assert records[0] == RunStarted(
        time=START * 1000,
        id=store.ids["rich"],
        project=PROJECT,
        name="the rich",
        user="ann\u00e9",
        notes="# Notes\n\u00e9",
        tags={"empty": "", "k/l m": "{'a': 1}", "long": "y" * 7_999, "mlflow.source.type": "LOCAL", "multitrack.odd": "mine"},
    )
    assert one(CodeVersion, records) == CodeVersion(time=START * 1000, vcs="git", commit="c0ffee", entry_point="train.py")
    assert one(Hyperparameters, records).values == {"lr": "0.1", "\u00e9t\u00e9/x y": "None", "long": LONG, "empty": ""}
    assert records[-1] == RunFinished(time=(START + 3_600_000) * 1000, status="finished")


def test_every_point_comes_back_in_one_order(store: Store, request: pytest.FixtureRequest) -> None:
    records = store.read("rich")
    keeps_infinity = "file store" in request.node.name
    largest = math.inf if keeps_infinity else 1.7976931348623157e308

    for name in {key for key, *_ in POINTS}:
        wanted = sorted(
            ((START + at) * 1000, step, math.isnan(value), 0.0 if math.isnan(value) else max(-largest, min(largest, value)))
            for key, value, at, step in POINTS
            if key == name
        )
        came = [(at, step, math.isnan(value), 0.0 if math.isnan(value) else value) for at, step, value in series(records, name)]
        assert came == wanted, name
    names = [record.name for record in records if isinstance(record, Points)]
    assert names == sorted(names)
    assert {r.name for r in records if isinstance(r, Points) and r.source == "system"} == {"system/cpu_utilization_percentage"}


def test_data_sets_keep_their_texts_and_tags(store: Store) -> None:
    bare, train = [record for record in store.read("rich") if isinstance(record, DataVersion)]

    assert (bare.name, bare.role, bare.uri, bare.source_type, bare.digest, bare.data_schema, bare.profile, bare.tags) == (
        *("bare", None, "nowhere", "local", "ffff", None, None, {}),
    )
    assert (train.name, train.role, train.uri) == ("train-set", "training", '{"uri": "s3://bucket/a b.csv"}')
    assert train.data_schema == {"mlflow_colspec": [{"type": "double", "name": "caf\u00e9", "required": True}]}, SCHEMA
    assert train.profile == PROFILE, "a text that json.dumps would write otherwise stays a text"
    assert train.tags == {"a tag": "\u00e9", "fold": "1"}


def test_logged_models_come_with_scores_and_files(store: Store, tmp_path: Path) -> None:
    records = store.read("rich")
    models = {record.name: record for record in records if isinstance(record, Model)}

    assert models.keys() == {"forest", "broken"}
    forest = models["forest"]
    assert (forest.id, forest.path) == (store.ids["model"], f"models/{store.ids['model']}")
    assert (forest.role, forest.type, forest.status, forest.step) == ("output", "classifier", "READY", 3)
    assert (forest.params, forest.tags["stage"]) == ({"trees": "10"}, "\u00e9")
    assert forest.scores == [
        ModelScore(name="accuracy", time=(START + 9) * 1000, value=0.75, step=3, data_name="train-set", data_digest="0123abcd")
    ]
    assert (models["broken"].status, models["broken"].step) == ("FAILED", None)
    files = {r.name: r for r in records if isinstance(r, Artifact) and r.name.startswith("models/")}
    assert files.keys() == {f"{forest.path}/MLmodel", f"{forest.path}/inner/weights.bin"}
    store.source.fetch(store.ref("rich"), files[f"{forest.path}/inner/weights.bin"], tmp_path / "to")
    assert (tmp_path / "to").read_bytes() == b"\0\1\2"


def test_files_come_with_their_sizes_and_contents(store: Store, tmp_path: Path) -> None:
    ref = store.ref("rich")
    files = {r.name: r for r in store.source.read(ref) if isinstance(r, Artifact) and not r.name.startswith("models/")}

    assert {name: file.size for name, file in files.items()} == {name: len(content) for name, content in FILES.items()}
    for name, content in FILES.items():
        store.source.fetch(ref, files[name], tmp_path / "to")
        assert (tmp_path / "to").read_bytes() == content, name


def test_a_file_that_is_gone_is_a_permanent_error(store: Store, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"no such file\.txt"):
        store.source.fetch(store.ref("rich"), Artifact(time=0, name="no such file.txt", size=3), tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_file_of_another_size_is_not_passed_on(store: Store, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="5 bytes came instead of 6"):
        store.source.fetch(store.ref("rich"), Artifact(time=0, name="notes.txt", size=6), tmp_path / "to")
    assert not (tmp_path / "to").exists()


# -- a run's life -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "ends"),
    [
        ("failed", [RunFinished(time=(START + 2) * 1000, status="failed")]),
        ("killed", [RunFinished(time=(START + 3) * 1000, status="killed")]),
        ("running", [RunUpdated(time=(START + 3) * 1000, status="running")]),
        ("scheduled", [RunUpdated(time=(START + 5) * 1000, status="scheduled")]),
        ("deleted", [RunUpdated(time=(START + 7) * 1000, deleted=True), RunFinished(time=(START + 7) * 1000, status="finished")]),
    ],
)
def test_every_status_is_told(store: Store, what: str, ends: list[Record]) -> None:
    assert [record for record in store.read(what) if isinstance(record, RunFinished | RunUpdated)] == ends


def test_a_deleted_run_keeps_its_points(store: Store) -> None:
    assert series(store.read("deleted"), "loss") == [(START * 1000, 1, 1.5)]


def test_nested_runs_name_their_parents(store: Store) -> None:
    parents = {what: store.ref(what).parent for what in ("rich", "failed", "killed", "running", "orphan")}

    assert parents == {"rich": None, "failed": store.ids["rich"], "killed": store.ids["failed"], "running": "f" * 32, "orphan": None}
    assert one(RunStarted, store.read("failed")).parent == store.ids["rich"]
    assert one(RunStarted, store.read("orphan")).tags["mlflow.parentRunId"] == "no such run"


# -- listings ---------------------------------------------------------------------------------------------------------


def test_runs_are_listed_across_pages_oldest_first(store: Store) -> None:
    everything = [ref.native_id for ref in store.source.runs(RunFilter(projects=[PROJECT], deleted=True))]

    assert everything == [store.ids[w] for w in ("rich", "failed", "killed", "running", "orphan", "scheduled", "deleted")]
    assert [ref.native_id for ref in store.source.runs(RunFilter(projects=[PROJECT]))] == everything[:-1]
    assert PROJECT in list(store.source.projects())


def test_filters_choose_runs(store: Store) -> None:
    def chosen(**conditions: Any) -> list[str]:
        found = {ref.native_id for ref in store.source.runs(RunFilter(projects=[PROJECT], **conditions))}
        return [what for what, id_ in store.ids.items() if id_ in found]

    assert chosen(statuses=["failed"]) == ["failed"]
    assert chosen(statuses=["failed", "killed", "crashed"]) == ["failed", "killed"]
    assert chosen(statuses=["crashed"]) == []
    assert chosen(since=(START + 2) * 1000, until=(START + 4) * 1000) == ["killed", "running"]
    assert chosen(since=START * 1000 + 1, until=(START + 1) * 1000 + 1) == ["failed"]
    assert chosen(tags={"mlflow.note.content": None}) == ["rich"]
    assert chosen(tags={"empty": ""}) == ["rich"]
    assert chosen(tags={"mlflow.source.name": "train.py"}) == ["rich"]
    assert chosen(tags={"k/l m": "{'a': 1}"}) == ["rich"]
    assert chosen(tags={"mlflow.user": "bob"}) == []
    assert chosen(ids=[store.ids["killed"], store.ids["deleted"]]) == ["killed"]
    assert chosen(ids=[store.ids["deleted"], "no such id", "0" * 32], deleted=True) == ["deleted"]


def test_a_listing_shows_what_is_needed_to_choose_by(store: Store) -> None:
    ref = store.ref("killed")

    assert (ref.id, ref.project, ref.name, ref.status) == (store.ids["killed"], PROJECT, "the killed", "killed")
    assert (ref.started, ref.ended, ref.deleted) == ((START + 2) * 1000, (START + 3) * 1000, False)
    assert store.ref("deleted").deleted
    assert len({store.ref(what).version for what in ("rich", "failed", "killed", "deleted")}) == 4
    assert store.ref("rich").version == store.ref("rich").version


# -- the same by every road -------------------------------------------------------------------------------------------


def test_reading_twice_gives_the_same(store: Store) -> None:
    assert repr(store.read("rich")) == repr(store.read("rich"))


@pytest.mark.slow
@pytest.mark.parametrize("roads", [("server", "server's database"), ("sqlite", "sqlite by client")])
def test_two_readers_of_one_store_agree_to_the_letter(request: pytest.FixtureRequest, roads: tuple[str, str]) -> None:
    first, second = (_store(request, road) for road in roads)

    for what in ("rich", "failed", "killed", "running", "orphan", "scheduled", "deleted"):
        assert repr(first.read(what)) == repr(second.read(what)), what


@pytest.mark.slow
@pytest.mark.parametrize("road", ["sqlite", "file store", "postgresql"])
def test_stores_with_the_same_runs_give_the_same_records(request: pytest.FixtureRequest, road: str) -> None:
    first, second = _store(request, "server"), _store(request, road)

    for what in ("rich", "failed", "killed", "running", "orphan", "scheduled", "deleted"):
        assert _comparable(first, what) == _comparable(second, what), what


def _comparable(store: Store, what: str) -> list[str]:
    """Return a run's records with what no two stores share taken out: ids, the models' clock, infinities."""
    texts = []
    for record in store.read(what):
        text = repr(record)
        if isinstance(record, Model) or (isinstance(record, Artifact) and record.name.startswith("models/")):
            text = re.sub(r"(time|updated)=1[67]\d{14}", r"\1=now", text)
            text = re.sub(r"time=(?!154)\d{16}|updated=\d{16}", "now", text)
        for label, id_ in store.ids.items():
            text = text.replace(id_, label)
        texts.append(text.replace("1.7976931348623157e+308", "inf"))
    return sorted(texts)


@pytest.mark.slow
def test_a_page_at_the_server_is_named(request: pytest.FixtureRequest) -> None:
    assert re.fullmatch(r"http://127.0.0.1:\d+/#/experiments/\d+/runs/[0-9a-f]{32}", _store(request, "server").ref("rich").url or "")
    assert _store(request, "sqlite").ref("rich").url is None


# -- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_name_that_the_server_takes_for_another_is_refused(mlflow_server: MLflowServer, tmp_path: Path) -> None:
    client = connect(mlflow_server.url, MLflowSettings())
    run = client.create_run(client.create_experiment("hostile names")).info
    root = mlflow_server.folder / "artifacts" / run.artifact_uri.partition(":/")[2]
    root.mkdir(parents=True)
    contents = {"a#b": b"sharp", "a": b"other", "50%25": b"percent", "50%": b"other"}
    for name, content in contents.items():
        (root / name).write_bytes(content)

    def fetched(source: MLflowSource) -> dict[str, bytes | str | None]:
        (ref,) = source.runs(RunFilter(projects=["hostile names"]))
        found: dict[str, bytes | str | None] = {}
        for artifact in (r for r in source.read(ref) if isinstance(r, Artifact)):
            try:
                source.fetch(ref, artifact, tmp_path / "to")
                found[artifact.name] = (tmp_path / "to").read_bytes()
            except PermanentError as error:
                found[artifact.name] = None if "database" in str(error) else str(error)
        return found

    assert fetched(MLflowSource(MLflowBackend(mlflow_server.url))) == {**contents, "a#b": None, "50%25": None}
    settings = MLflowSettings(artifacts=str(mlflow_server.folder / "artifacts"))
    assert fetched(MLflowSource(MLflowBackend(mlflow_server.backend_store, settings))) == contents


@pytest.mark.slow
def test_files_behind_a_server_need_the_server(mlflow_server: MLflowServer, at_server: dict[str, str]) -> None:
    source = MLflowSource(MLflowBackend(mlflow_server.backend_store))
    (ref,) = source.runs(RunFilter(ids=[at_server["rich"]]))
    came: list[Record] = []

    with pytest.raises(PermanentError, match="http address"):
        came.extend(source.read(ref))
    assert series(came, "twice"), "the points come before the files"


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for location in (f"sqlite:///{tmp_path / 'no.db'}", str(tmp_path / "mlruns")):
        with pytest.raises(PermanentError, match="there is no"):
            MLflowSource(MLflowBackend(location))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_wrong_password_is_an_auth_error(in_postgresql: tuple[str, MLflowSettings, dict[str, str]]) -> None:
    with pytest.raises((AuthError, TransientError)) as caught:
        MLflowSource(MLflowBackend(in_postgresql[0], MLflowSettings.model_validate({"password": "wr0ng"})))
    assert "wr0ng" not in str(caught.value)


@pytest.mark.slow
def test_a_run_that_has_gone_is_a_permanent_error(store: Store) -> None:
    with pytest.raises(PermanentError, match="no longer"):
        list(store.source.read(RunRef(id="0" * 32, native_id="0" * 32, project=PROJECT)))


@pytest.mark.slow
def test_readers_are_chosen_by_location(request: pytest.FixtureRequest) -> None:
    readers = {road: type(_store(request, road).source._reader) for road in ROADS if road != "postgresql"}

    assert readers == {
        "server": ClientReader,
        "server's database": SQLReader,
        "sqlite": SQLReader,
        "sqlite by client": ClientReader,
        "file store": ClientReader,
    }

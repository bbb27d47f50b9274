"""The source: runs that the real SDK has logged, live and by `comet upload`, and more of everything than one page holds."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from multitrack.backend import RunFilter, RunRef, Source
from multitrack.errors import AuthError, PermanentError
from multitrack.records import Artifact, CodeVersion, Environment, Hyperparameters, LogLines, Points, Record, RunFinished, RunStarted
from multitrack_comet import CometBackend, CometSettings
from multitrack_comet.source import CometSource
from services.comet.double import CometDouble
from services.comet.state import Asset, Experiment, Line, Point, Value

pytestmark = pytest.mark.slow

KEY = "0123456789abcdef0123456789abcdef"
LONG_KEY = "Abc0123456789abcdef0123456789abcdefXYZ"
MS = 1_600_000_000_123

SDK_RUN = """
import comet_ml
experiment = comet_ml.Experiment(
    workspace="team", project_name="foreign", experiment_key={key!r}, auto_output_logging=False, log_git_metadata=False,
    log_env_details=True, display_summary_level=0,
)
experiment.set_name("a run of somebody")
for step in range(5):
    experiment.log_metric("loss", 1 / (step + 1), step=step, epoch=step // 2)
experiment.log_metric("bad", float("nan"), step=4)
experiment.log_parameters({{"lr": 0.1, "layers": 3, "nested": {{"on": True}}, "text": "adam"}})
experiment.log_other("verdict", "good")
experiment.add_tags(["base", "night"])
open("notes.txt", "w").write("some notes")
experiment.log_asset("notes.txt", metadata={{"pages": 1}})
experiment.log_html("<b>hello</b>")
experiment.end()
"""
UPLOADED_RUN = """
import subprocess, sys
import comet_ml
experiment = comet_ml.OfflineExperiment(
    workspace="team", project_name="foreign", experiment_key={key!r}, offline_directory=".", auto_output_logging=False,
    log_git_metadata=False, log_env_details=False, display_summary_level=0,
)
for step in range(5):
    experiment.log_metric("loss", step, step=step)
experiment.log_parameter("lr", 0.25)
experiment.end()
sys.exit(subprocess.call([sys.executable, "-m", "comet_ml.scripts.comet_upload", {key!r} + ".zip"]))
"""


@pytest.fixture
def by_sdk(comet: CometDouble, tmp_path: Path) -> Callable[[str], None]:
    """Runs a script with the real SDK, in a process of its own."""

    def run(script: str) -> None:
        env = {
            "COMET_URL_OVERRIDE": comet.url, "COMET_API_KEY": comet.api_key, "COMET_DISABLE_AUTO_LOGGING": "1",
            "COMET_ERROR_TRACKING_ENABLE": "0", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr

    return run


def experiment(comet: CometDouble, key: str, project: str = "digits", **fields: Any) -> Experiment:
    """Return an experiment that is made without anybody's SDK."""
    number = len(comet.service.experiments)
    made = Experiment(key, "team", project, "ann", created=MS, started=MS + number, ended=MS + number + 60_000, alive=False, **fields)
    comet.service.experiments[key] = made
    comet.service.project_id("team", project)
    return made


def only(source: Source, **conditions: Any) -> RunRef:
    [found] = source.runs(RunFilter(**conditions))
    return found


def of(kind: type[Any], records: list[Record]) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


# -- what the SDK has logged


def test_a_run_that_the_sdk_has_logged(comet: CometDouble, backend: CometBackend, by_sdk: Callable[[str], None], tmp_path: Path) -> None:
    by_sdk(SDK_RUN.format(key=LONG_KEY))
    source = backend.source()
    ref = only(source, tags={"night": None})
    assert (ref.project, ref.native_id, ref.name, ref.status) == ("foreign", LONG_KEY, "a run of somebody", "finished")
    assert len(ref.id) == 32
    assert ref.url == f"{comet.root}/team/foreign/{LONG_KEY}"
    records = list(source.read(ref))

    [started] = of(RunStarted, records)
    assert (started.tags["base"], started.tags["verdict"]) == (None, "good")
    points = {column.name: column for column in of(Points, records)}
    assert (points["loss"].steps, points["loss"].values) == ([0, 1, 2, 3, 4], [1.0, 0.5, 1 / 3, 0.25, 0.2])
    assert dict(zip(points["epoch"].steps, points["epoch"].values, strict=True)).items() >= {0: 0, 1: 0, 2: 1, 3: 1, 4: 2}.items()
    assert points["bad"].values[0] != points["bad"].values[0]
    [params] = of(Hyperparameters, records)
    assert {name: params.values[name] for name in ("lr", "layers", "text")} == {"lr": 0.1, "layers": 3, "text": "adam"}
    assert params.values["nested"]["on"] in (True, "true")
    [environment] = of(Environment, records)
    assert environment.packages["comet_ml"].startswith("3.")
    assert environment.host
    artifacts = {artifact.name: artifact for artifact in of(Artifact, records)}
    assert artifacts["notes.txt"].metadata == {"pages": 1}
    for name, content in (("notes.txt", b"some notes"), ("comet/html.html", b"<b>hello</b>")):
        source.fetch(ref, artifacts[name], tmp_path / "fetched")
        assert content in (tmp_path / "fetched").read_bytes()
    assert len(of(RunFinished, records)) == 1
    assert repr(list(source.read(ref))) == repr(records)  # NaN equals nothing
    source.close()


def test_a_run_that_comet_upload_has_brought(backend: CometBackend, by_sdk: Callable[[str], None]) -> None:
    by_sdk(UPLOADED_RUN.format(key=KEY))
    source = backend.source()
    ref = only(source, ids=[KEY])
    assert ref.id == KEY
    records = list(source.read(ref))
    assert {column.name: column.values for column in of(Points, records)}["loss"] == [0, 1, 2, 3, 4]
    assert of(Hyperparameters, records)[0].values["lr"] == 0.25
    source.close()


# -- everything that the service has


def test_code_output_and_machine_of_somebody_else(comet: CometDouble, backend: CometBackend, tmp_path: Path) -> None:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("git_diff.patch", "+x\n")
    experiment(
        comet,
        KEY,
        git={"parent": "c0ffee", "branch": "refs/heads/main", "origin": "https://ann:secret@h/r.git", "root": "r", "user": "ann"},
        patch=packed.getvalue(),
        file_path="train.py",
        code="print(1)\n",
        graph="a -> b",
        lines=[Line("one\n", stderr=False, timestamp=MS, offset=0), Line("two\n", stderr=False, timestamp=MS, offset=1)],
        system={"installedPackages": ["numpy==2.0.0"], "hostname": "node1", "pythonVersion": "3.12.1", "executable": "/usr/bin/python"},
    )
    source = backend.source()
    ref = only(source, projects=["digits"])
    records = list(source.read(ref))
    [code] = of(CodeVersion, records)
    assert (code.commit, code.branch, code.remote, code.diff, code.entry_point) == ("c0ffee", "main", "https://h/r.git", "+x\n", "train.py")
    [environment] = of(Environment, records)
    assert (environment.host, environment.python, environment.executable) == ("node1", "3.12.1", "/usr/bin/python")
    assert [line for lines in of(LogLines, records) for line in lines.lines] == ["one", "two"]
    artifacts = {artifact.name: artifact for artifact in of(Artifact, records)}
    assert set(artifacts) == {"comet/code.py", "comet/graph.json"}
    for name, content in (("comet/code.py", b"print(1)\n"), ("comet/graph.json", b"a -> b")):
        source.fetch(ref, artifacts[name], tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == content
    source.close()


def test_assets_with_one_name_and_references(comet: CometDouble, backend: CometBackend, tmp_path: Path) -> None:
    there = experiment(comet, KEY)
    for number in (1, 2):
        there.assets[f"{number}" * 32] = Asset(f"{number}" * 32, "plot.png", b"%d" % number, "image", step=number)
    there.assets["far"] = Asset("far", "far.bin", b"", "asset", link="s3://b/far.bin")
    source = backend.source()
    ref = only(source, ids=[KEY])
    artifacts = of(Artifact, list(source.read(ref)))
    plots = [artifact for artifact in artifacts if artifact.name.startswith("plot")]
    assert len({plot.name for plot in plots}) == 2
    for plot in plots:
        source.fetch(ref, plot, tmp_path / "fetched")
        assert (tmp_path / "fetched").read_bytes() == b"%d" % plot.step
    [far] = [artifact for artifact in artifacts if artifact.uri is not None]
    assert far.uri == "s3://b/far.bin"
    with pytest.raises(PermanentError, match=r"is a reference to s3://b/far\.bin"):
        source.fetch(ref, far, tmp_path / "fetched")
    there.assets.clear()
    with pytest.raises(PermanentError):
        source.fetch(ref, plots[0], tmp_path / "fetched")
    source.close()


def test_of_a_long_series_every_point_is_read(backend: CometBackend, comet: CometDouble) -> None:
    comet.service.points_kept = 100
    count = 25_000
    series = [Point("train/loss", step / 8, step, None, None, MS + step) for step in range(count)]
    experiment(comet, KEY, points=[*series, Point("short", 1.0, None, None, None, MS)])
    source = backend.source()
    records = list(source.read(only(source, ids=[KEY])))
    columns = [column for column in of(Points, records) if column.name == "train/loss"]
    assert [len(column.times) for column in columns] == [10_000, 10_000, 5_000]
    assert [step for column in columns for step in column.steps] == list(range(count))
    assert [time for column in columns for time in column.times] == [(MS + step) * 1000 for step in range(count)]
    assert [value for column in columns for value in column.values] == [step / 8 for step in range(count)]
    assert not of(Artifact, records)  # the files that hold all of it are the service's own
    source.close()


def test_two_long_series_of_nearly_one_name_are_not_taken_for_one(backend: CometBackend, comet: CometDouble) -> None:
    """Comet calls the files of `a/b` and `a_b` the same."""
    comet.service.points_kept = 100
    points = [Point(name, number, step, None, None, MS + step) for number, name in enumerate(("a/b", "a_b")) for step in range(200)]
    experiment(comet, KEY, points=points)
    source = backend.source()
    series = {column.name: column.values for column in of(Points, list(source.read(only(source, ids=[KEY]))))}
    assert set(series["a/b"]) == {0}
    assert set(series["a_b"]) == {1}
    source.close()


def test_a_sample_without_a_file_that_holds_all_of_it_is_a_problem(backend: CometBackend, comet: CometDouble) -> None:
    comet.service.points_kept = 15_000
    experiment(comet, KEY, points=[Point(name, 0.5, step, None, None, MS + step) for name in ("a/b", "a_b") for step in range(15_001)])
    source = backend.source()
    ref = only(source, ids=[KEY])
    assert not source.problems(ref)
    assert sum(len(column.times) for column in of(Points, list(source.read(ref)))) == 30_000
    assert [line.split(":")[0] for line in source.problems(ref)] == ["metric 'a/b'", "metric 'a_b'"]
    source.close()


def test_contexts_are_metrics_of_their_own(backend: CometBackend, comet: CometDouble) -> None:
    points = [Point("loss", number, 1, None, context, MS) for number, context in enumerate((None, "train", "validate"))]
    experiment(comet, KEY, points=points)
    source = backend.source()
    series = {column.name: column.values for column in of(Points, list(source.read(only(source, ids=[KEY]))))}
    assert series == {"loss": [0], "train_loss": [1], "validate_loss": [2]}
    source.close()


# -- listings


def test_many_experiments_come_page_by_page_oldest_first(comet: CometDouble) -> None:
    keys = [f"{number:032x}" for number in range(25)]
    for key in reversed(keys):
        experiment(comet, key, others={"Name": Value([(MS, key[-2:])])})
    source = CometSource("team/", CometSettings(api_key=SecretStr(comet.api_key), url=comet.root), page=10)
    assert [ref.native_id for ref in source.runs(RunFilter())] == keys[::-1]
    assert comet.asked["GET rest:experiments"] == 3
    assert [ref.name for ref in source.runs(RunFilter(ids=[keys[3], keys[7]]))] == ["07", "03"]
    source.close()


def test_archived_experiments_are_deleted_runs(comet: CometDouble, backend: CometBackend) -> None:
    experiment(comet, KEY, archived=True)
    experiment(comet, KEY[::-1])
    source = backend.source()
    assert [ref.native_id for ref in source.runs(RunFilter())] == [KEY[::-1]]
    assert [(ref.native_id, ref.deleted) for ref in source.runs(RunFilter(deleted=True))] == [(KEY, True), (KEY[::-1], False)]
    assert [ref.native_id for ref in source.runs(RunFilter(ids=[KEY], deleted=True))] == [KEY]
    assert not list(source.runs(RunFilter(ids=[KEY])))
    source.close()


@pytest.mark.parametrize(
    ("location", "found"), [("team/one", ["one"]), ("team/", ["one", "two"]), (None, []), ("ann/", []), ("team/x", [])]
)
def test_a_location_names_a_workspace_or_a_project(comet: CometDouble, location: str | None, found: list[str]) -> None:
    experiment(comet, KEY, "one")
    experiment(comet, KEY[::-1], "two")
    source = CometBackend(location, CometSettings(api_key=SecretStr(comet.api_key), url=comet.root)).source()
    assert list(source.projects()) == found
    assert [ref.project for ref in source.runs(RunFilter())] == found
    assert [ref.project for ref in source.runs(RunFilter(ids=[KEY]))] == [project for project in found if project == "one"]
    source.close()


def test_a_derived_id_is_found(comet: CometDouble, backend: CometBackend) -> None:
    experiment(comet, LONG_KEY)
    source = backend.source()
    ref = only(source)
    assert ref.native_id == LONG_KEY
    assert only(source, ids=[ref.id]).native_id == LONG_KEY
    assert only(source, ids=[LONG_KEY]).id == ref.id
    source.close()


def test_the_version_tells_of_every_change(comet: CometDouble, backend: CometBackend) -> None:
    there = experiment(comet, KEY)
    source = backend.source()

    def version() -> str | None:
        return only(source, ids=[KEY]).version

    seen = [version()]
    assert version() == seen[0]
    there.points.append(Point("loss", 1.0, 1, None, None, MS))
    seen.append(version())
    there.others["verdict"] = Value([(MS, "good")])
    seen.append(version())
    there.tags.append("night")
    seen.append(version())
    there.archived = True
    assert len(set(seen)) == 4
    source.close()


def test_what_is_gone_or_refused_is_said(comet: CometDouble, backend: CometBackend) -> None:
    experiment(comet, KEY)
    source = backend.source()
    ref = only(source)
    comet.service.experiments.clear()
    with pytest.raises(PermanentError, match=f"experiment {KEY} is no longer in Comet's project 'digits'"):
        list(source.read(ref))
    comet.service.keys.clear()
    with pytest.raises(AuthError, match="does not accept the API key"):
        list(source.runs(RunFilter()))
    source.close()

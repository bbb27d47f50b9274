"""The source, through the real wandb-core, against a double of the service: whole, and by few requests."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from multitrack.backend import RunFilter, RunRef
from multitrack.errors import AuthError, PermanentError, TransientError
from multitrack.records import (
    Artifact,
    ArtifactRef,
    CodeVersion,
    DataVersion,
    Environment,
    Histogram,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Summary,
)
from multitrack_wandb import WandbSettings, reader
from multitrack_wandb.scan import SMALL_PAGE, walk
from multitrack_wandb.source import WandbSource
from services.wandb_double import reads
from services.wandb_double.server import WandbDouble
from services.wandb_double.state import CONSOLE, EVENTS, HISTORY, Run

pytestmark = pytest.mark.slow

FOREIGN = Path(__file__).parents[2] / "support" / "foreign_wandb.py"
Open = Callable[..., WandbSource]
RecordType = TypeVar("RecordType", bound=Record)


@pytest.fixture
def settings(double: WandbDouble) -> WandbSettings:
    return WandbSettings.model_validate({"base_url": double.url, "api_key": double.key})


@pytest.fixture
def open_source(settings: WandbSettings) -> Iterator[Open]:
    """Opens sources that have little patience."""
    opened: list[WandbSource] = []

    def open_one(location: str | None = "team/vision", **more: Any) -> WandbSource:
        opened.append(WandbSource(location, settings, **{"retries": 1, **more}))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def put(double: WandbDouble, name: str, *, rows: int = 0, stride: int = 1, project: str = "vision", **given: Any) -> Run:
    """Have the service hold a run."""
    config = {key: {"value": value} for key, value in given.pop("config", {}).items()}
    fields = {"name": name, "entityName": "team", "modelName": project, "config": json.dumps(config), "state": "finished", **given}
    run, _ = double.state.upsert(fields)
    run.lines[HISTORY] = [json.dumps({"loss": n + 0.5, "_step": n * stride, "_timestamp": 1.7e9 + n}) for n in range(rows)]
    return run


def only(source: WandbSource) -> RunRef:
    (ref,) = source.runs(RunFilter())
    return ref


def of(records: list[Record], kind: type[RecordType]) -> list[RecordType]:
    return [record for record in records if isinstance(record, kind)]


def series(records: list[Record], name: str = "loss") -> list[tuple[Any, Any]]:
    """Return a metric's (step, value) pairs."""
    found = [points for points in of(records, Points) if points.name == name]
    assert all(len(points.times) <= 10_000 for points in found)
    return [pair for points in found for pair in zip(points.steps or [], points.values, strict=True)]


# -- a run of W&B's own SDK -----------------------------------------------------------------------------------------------------


def test_a_run_of_the_sdk(double: WandbDouble, open_source: Open, tmp_path: Path) -> None:
    environment = {"WANDB_BASE_URL": double.url, "WANDB_API_KEY": double.key, "HOME": str(tmp_path), "WANDB_ERROR_REPORTING": "false"}
    done = subprocess.run(
        [sys.executable, str(FOREIGN), str(tmp_path), "abcd1234"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    double.requests.clear()
    source = open_source("team/")
    assert list(source.projects()) == ["vision"]
    ref = only(source)
    assert (ref.native_id, ref.project, ref.name, ref.status) == ("abcd1234", "vision", "resnet", "finished")
    assert ref.params == {"lr": 0.1, "model": {"depth": 3, "name": "r18"}, "seeds": [1, 2]}
    assert (ref.metrics or {})["best"] == 0.97
    assert ref.url == f"{double.url}/team/vision/runs/abcd1234"

    records = list(source.read(ref))

    started = records[0]
    assert isinstance(started, RunStarted)
    assert (started.group, started.job_type, started.notes, started.user) == ("night", "train", "# Notes", "tester")
    assert started.tags == {"base": None, "v2": None}
    (finished,) = of(records, RunFinished)
    assert records[-1] is finished
    assert started.time < finished.time
    assert of(records, Hyperparameters)[0].values == ref.params
    assert [(one.name, one.x, one.summary) for one in of(records, MetricDefinition)] == [("loss", None, "min"), ("val/*", "epoch", "max")]
    assert series(records) == [(step * 10, 1 / (step + 1)) for step in range(20)]
    assert series(records, "nested.a") == [(step * 10, step * 0.5) for step in range(20)]
    assert series(records, "val/acc") == [(step * 10, step / 20) for step in (0, 5, 10, 15)]
    ((_, image),) = series(records, "dot")
    assert isinstance(image, ArtifactRef)
    assert isinstance(series(records, "weights")[0][1], Histogram)
    assert of(records, Summary)[0].values == {"best": 0.97}
    assert [(one.stream, one.lines) for one in of(records, LogLines)] == [("stdout", ["epoch 1 done"]), ("stderr", ["careful"])]
    assert started.time < of(records, LogLines)[0].times[0] < finished.time
    assert of(records, Environment)[0].packages["wandb"].startswith("0.31")
    assert of(records, CodeVersion)[0].entry_point is not None
    artifacts = {one.name: one for one in of(records, Artifact)}
    assert artifacts.keys() == {image.name, "notes.txt", "net/weights/model.bin", "net/far.bin", "net:v0/weights/model.bin"}
    assert artifacts["net/far.bin"].uri == "s3://bucket/far.bin"
    assert artifacts["net/weights/model.bin"].type == "model"
    assert artifacts["net/weights/model.bin"].metadata["depth"] == 3
    contents = {}
    for name, artifact in artifacts.items():
        if artifact.uri is None:
            source.fetch(ref, artifact, tmp_path / "content")
            contents[name] = (tmp_path / "content").read_bytes()
    assert contents["notes.txt"] == b"some notes"
    assert contents["net/weights/model.bin"] == b"\1" * 100
    assert contents["net:v0/weights/model.bin"] == b"\0" * 100
    assert source.problems(ref) == []
    another = open_source("team/")
    another.fetch(ref, artifacts["net:v0/weights/model.bin"], tmp_path / "content")  # without having read the run
    assert (tmp_path / "content").read_bytes() == b"\0" * 100


def test_what_a_run_has_used_is_its_data(double: WandbDouble, open_source: Open) -> None:
    from services.wandb_double.state import Artifact as Version
    from services.wandb_double.state import ArtifactCollection

    run = put(double, "consumer", rows=1)
    collection = ArtifactCollection("c", "digits", "dataset", run.project)
    version = Version("a", collection, run.project, "d1g357", None, state="COMMITTED", version=2)
    run.inputs.append(version)
    double.state.artifacts["a"] = version
    source = open_source()

    (data,) = of(list(source.read(only(source))), DataVersion)

    assert (data.name, data.role, data.version, data.digest) == ("digits", "dataset", "v2", "d1g357")
    assert data.uri == "wandb-artifact://team/vision/digits:v2"


# -- histories ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 10, 2**40])
@pytest.mark.parametrize("rows", [1, 999, 1000, 12_345])
def test_a_history_is_whole_and_costs_few_requests(double: WandbDouble, open_source: Open, rows: int, stride: int) -> None:
    put(double, "abcd1234", rows=rows, stride=stride)
    source = open_source(history_page=1000)

    found = series(list(source.read(only(source))))

    assert found == [(n * stride, n + 0.5) for n in range(rows)]
    assert double.requests["MultitrackHistory"] <= 2 + rows / 400


def test_rows_that_lie_in_heaps_far_apart(double: WandbDouble, open_source: Open) -> None:
    steps = [*range(300), *range(10**9, 10**9 + 300), 2**53]
    run = put(double, "abcd1234")
    run.lines[HISTORY] = [json.dumps({"loss": 1.0, "_step": step, "_timestamp": 1.7e9}) for step in steps]
    source = open_source(history_page=100)

    assert [step for step, _ in series(list(source.read(only(source))))] == steps
    assert double.requests["MultitrackHistory"] < 200


def test_a_service_that_gives_fewer_rows_than_it_is_asked_for(double: WandbDouble, open_source: Open) -> None:
    """It is noticed, and the run is read again in small pages."""
    double.state.rows_at_most = SMALL_PAGE
    put(double, "abcd1234", rows=3000)
    source = open_source()
    ref = only(source)

    with pytest.raises(TransientError, match="of the 3000 rows"):
        list(source.read(ref))

    assert len(series(list(source.read(ref)))) == 3000


def test_exported_histories_come_from_their_files(double: WandbDouble, open_source: Open) -> None:
    run = put(double, "abcd1234", rows=12_000, stride=3)
    reads.export(double, run, 11_000)
    source = open_source()

    assert series(list(source.read(only(source)))) == [(n * 3, n + 0.5) for n in range(12_000)]
    assert double.requests["MultitrackHistory"] == 0
    assert double.requests["HistoryPage"] <= 2
    assert double.requests["GET"] == 2


def test_a_short_history_that_is_exported(double: WandbDouble, open_source: Open) -> None:
    """The service may have moved its rows away from where a short history is asked for."""
    run = put(double, "abcd1234", rows=100)
    reads.export(double, run, 100)
    source = open_source()

    assert len(series(list(source.read(only(source))))) == 100


def test_exports_leave_nothing_behind(double: WandbDouble, open_source: Open) -> None:
    from multitrack_wandb import scan

    folder = scan._cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    of_others = folder / "team_vision_other_0.runhistory.parquet"
    of_others.touch()
    run = put(double, "abcd1234", rows=100)
    reads.export(double, run, 100)
    source = open_source()
    list(source.read(only(source)))
    assert set(folder.glob("*.parquet")) == {of_others}
    of_others.unlink()


def test_a_server_that_knows_no_exports(double: WandbDouble, open_source: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        put(double, name, rows=6000)
    monkeypatch.setitem(reads.RESOLVERS, "Run.parquetHistory", _unknown_field)
    source = open_source()
    refs = list(source.runs(RunFilter()))

    assert [len(series(list(source.read(ref)))) for ref in refs] == [6000, 6000]
    assert double.requests["MultitrackExports"] == 1


def _unknown_field(*_: Any, **__: Any) -> None:
    raise reads.RefusedError(400, "Cannot query field 'parquetHistory' on type 'Run'.")


def test_values_of_every_kind(double: WandbDouble, open_source: Open) -> None:
    run = put(double, "abcd1234")
    values = [math.nan, math.inf, -math.inf, 0, 1, 2.5, True, "text", None, 10**15]
    run.lines[HISTORY] = [json.dumps({"m": value, "_step": n, "_runtime": n}) for n, value in enumerate(values)]
    source = open_source()
    ref = only(source)

    records = list(source.read(ref))

    assert list(map(repr, (value for _, value in series(records, "m")))) == [repr(value) for value in values if value is not None]
    assert source.problems(ref) == ["1 values that are no points: null, or empty"]


def test_walking_asks_again_where_a_page_was_cut() -> None:
    steps = [*range(100), *range(1000, 1010)]
    asked: list[tuple[int, int]] = []

    def fetch(start: int, stop: int) -> list[dict[str, Any]]:
        asked.append((start, stop))
        return [{"_step": step} for step in steps if start <= step < stop][:20]

    assert [row["_step"] for row in walk(fetch, end=1010, rows=20, count=110, cut=20)] == steps
    assert len(asked) < 30


# -- system metrics and console -------------------------------------------------------------------------------------------------


def test_system_metrics_are_not_sampled(double: WandbDouble, open_source: Open) -> None:
    run = put(double, "abcd1234")
    run.lines[EVENTS] = [json.dumps({"system.cpu": n, "_timestamp": 1.7e9 + n, "_wandb": True}) for n in range(2000)]
    source = open_source()
    ref = only(source)

    (points,) = of(list(source.read(ref)), Points)

    assert (points.name, points.source, len(points.times)) == ("system/cpu", "system", 2000)
    assert source.problems(ref) == []


def test_system_metrics_that_the_service_thins_out_are_told(double: WandbDouble, open_source: Open) -> None:
    run = put(double, "abcd1234")
    run.lines[EVENTS] = [json.dumps({"system.cpu": n, "_timestamp": 1.7e9 + n}) for n in range(2000)]
    double.state.rows_at_most = 500
    source = open_source()
    ref = only(source)
    list(source.read(ref))
    assert source.problems(ref) == ["W&B gave 500 of 2,000 rows of system metrics; it has no way to ask for all"]


def test_a_long_console(double: WandbDouble, open_source: Open) -> None:
    run = put(double, "abcd1234")
    run.lines[CONSOLE] = [f"{'ERROR ' if n % 3 == 0 else ''}2024-01-01T00:00:{n % 60:02}.000000 line {n}" for n in range(6000)]
    source = open_source()

    lines = of(list(source.read(only(source))), LogLines)

    assert [line for record in lines for line in record.lines] == [f"line {n}" for n in range(6000)]
    assert lines[0].stream == "stderr"
    assert lines[1].lines == ["line 1", "line 2"]
    assert double.requests["RunConsoleLogPage"] == 2


def test_the_console_of_an_old_server(double: WandbDouble, open_source: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    run = put(double, "abcd1234")
    (file,) = double.state.announce_run_files(run, ["output.log"])
    file.put(b"first\nsecond\n")
    run.lines[CONSOLE] = ["first", "second"]

    def refuse(*_: Any, **__: Any) -> None:
        raise reads.RefusedError(400, "Unknown argument 'useImprovedPagination' on field 'Run.logLines'.")

    monkeypatch.setitem(reads.RESOLVERS, "Run.logLines", refuse)
    source = open_source()
    ref = only(source)
    (lines,) = of(list(source.read(ref)), LogLines)
    assert lines.lines == ["first", "second"]
    assert source.problems(ref) == ["this W&B server gives the console without times"]


# -- listings -------------------------------------------------------------------------------------------------------------------


def test_any_number_of_runs(double: WandbDouble, open_source: Open) -> None:
    for n in range(23):
        put(double, f"run{n:05}")
    source = open_source(run_page=10)
    assert [ref.native_id for ref in source.runs(RunFilter())] == [f"run{n:05}" for n in range(23)]
    assert double.requests["MultitrackRuns"] == 3


def test_filters_that_the_service_can_decide(double: WandbDouble, open_source: Open) -> None:
    put(double, "good")
    put(double, "bad", state="failed")
    put(double, "old").created_at = reads.datetime(2001, 1, 1, tzinfo=reads.UTC)
    source = open_source()

    def chosen(**conditions: Any) -> list[str]:
        return sorted(ref.native_id for ref in source.runs(RunFilter(**conditions)))

    assert chosen(statuses=["finished"]) == ["good", "old"]
    assert chosen(statuses=["failed"]) == ["bad"]
    assert chosen(statuses=["failed", "finished"]) == ["bad", "good", "old"]
    assert chosen(since=1_600_000_000_000_000) == ["bad", "good"]
    assert chosen(until=1_600_000_000_000_000) == ["old"]
    assert chosen(ids=["bad"]) == ["bad"]
    assert chosen(projects=["other"]) == []


def test_a_foreign_run_is_found_by_the_id_that_it_has_here(double: WandbDouble, open_source: Open) -> None:
    put(double, "abcd1234")
    put(double, "efgh5678")
    source = open_source()
    wanted = next(ref for ref in source.runs(RunFilter()) if ref.native_id == "efgh5678")
    assert [ref.native_id for ref in source.runs(RunFilter(ids=[wanted.id]))] == ["efgh5678"]
    assert [ref.native_id for ref in open_source("team/").runs(RunFilter(ids=[wanted.id]))] == ["efgh5678"]


def test_a_sweep_is_a_group(double: WandbDouble, open_source: Open) -> None:
    put(double, "abcd1234", sweep="sw33p")
    put(double, "efgh5678", sweep="sw33p", groupName="night")
    source = open_source()
    groups = [next(of(list(source.read(ref)), RunStarted).__iter__()).group for ref in source.runs(RunFilter())]
    assert groups == ["sw33p", "night"]


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.lines[HISTORY].append('{"_step": 9}'),
        lambda run: run.tags.append("new"),
        lambda run: run.summary.update(best=1),
        lambda run: run.fields.update(notes="edited"),
        lambda run: run.config.update(lr={"value": 1}),
        lambda run: setattr(run, "state", "failed"),
        lambda run: run.lines[CONSOLE].append("a line"),
    ],
)
def test_a_version_changes_with_the_run(double: WandbDouble, open_source: Open, change: Callable[[Run], None]) -> None:
    run = put(double, "abcd1234", rows=3)
    source = open_source()
    before = only(source).version
    assert only(source).version == before
    change(run)
    assert only(source).version != before


def test_a_run_that_goes_on(double: WandbDouble, open_source: Open) -> None:
    put(double, "abcd1234", rows=3, state="running")
    source = open_source()
    ref = only(source)
    records = list(source.read(ref))
    assert (ref.status, of(records, RunFinished)) == ("running", [])
    assert of(records, RunUpdated)[-1].status == "running"


# -- what may go wrong ----------------------------------------------------------------------------------------------------------


def test_a_limit_is_waited_out(double: WandbDouble, open_source: Open) -> None:
    put(double, "abcd1234", rows=3)
    with double.fault("MultitrackRuns", 429, times=1, headers={"Retry-After": "1"}):
        assert only(open_source()).native_id == "abcd1234"


def test_a_limit_without_a_time_is_waited_out(double: WandbDouble, open_source: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb-core gives up; the source does not."""
    monkeypatch.setattr(reader, "LIMIT_PAUSES", (0.1, 0.1))
    put(double, "abcd1234", rows=3)
    source = open_source(retries=1)
    with double.fault("MultitrackHistory", 429, times=4):
        assert len(series(list(source.read(only(source))))) == 3
    assert double.requests["MultitrackHistory"] == 5
    with double.fault("MultitrackHistory", 429), pytest.raises(TransientError, match="429"):
        list(source.read(only(source)))


def test_an_outage_is_told(double: WandbDouble, open_source: Open) -> None:
    put(double, "abcd1234", rows=3)
    with double.fault("MultitrackRuns", 503), pytest.raises(TransientError):
        only(open_source(retries=1))


def test_a_wrong_key(double: WandbDouble) -> None:
    settings = WandbSettings.model_validate({"base_url": double.url, "api_key": "x" * 40})
    with pytest.raises(AuthError, match="wandb login"):
        list(WandbSource("team/vision", settings, retries=1).runs(RunFilter()))


def test_a_project_that_is_not_there(open_source: Open) -> None:
    with pytest.raises(PermanentError, match="no project team/no-such"):
        list(open_source("team/no-such").runs(RunFilter()))
    assert list(open_source("team/no-such").runs(RunFilter(projects=["x"]))) == []  # a destination, before its first run


def test_an_entity_of_others(open_source: Open) -> None:
    with pytest.raises(PermanentError, match="permi"):
        list(open_source("others/").runs(RunFilter()))


def test_a_run_that_was_deleted(double: WandbDouble, open_source: Open) -> None:
    run = put(double, "abcd1234")
    source = open_source()
    ref = only(source)
    double.state.delete_run(run.id)
    with pytest.raises(PermanentError, match="no longer in W&B's project team/vision"):
        list(source.read(ref))


def test_a_file_that_is_not_there(double: WandbDouble, open_source: Open, tmp_path: Path) -> None:
    put(double, "abcd1234")
    source = open_source()
    with pytest.raises(PermanentError, match="no file 'x'"):
        source.fetch(only(source), Artifact(time=0, name="x"), tmp_path / "x")


def test_a_file_whose_content_is_lost(double: WandbDouble, open_source: Open, tmp_path: Path) -> None:
    run = put(double, "abcd1234")
    (file,) = double.state.announce_run_files(run, ["model.bin"])
    file.put(b"weights")
    source = open_source()
    ref = only(source)
    (artifact,) = of(list(source.read(ref)), Artifact)
    file.content = None
    with pytest.raises(PermanentError, match="404"):
        source.fetch(ref, artifact, tmp_path / "x")

"""The sink, through the real wandb-core, against a double of the service: everything arrives, once, whatever breaks."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multitrack.backend import TAG_COMPLETE, Batch, Entry
from multitrack.delivery import Ledger
from multitrack.errors import AuthError, PermanentError, TransientError
from multitrack.journal import RunFolder
from multitrack.media.image import Image
from multitrack.media.points import describe
from multitrack.records import (
    Environment,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    Record,
    RunUpdated,
    Summary,
)
from multitrack.testing.conformance import PNG
from multitrack.testing.scene import START, TARGET, Interrupted, InterruptedBackend, Scene
from multitrack_wandb import WandbBackend, WandbSettings, sink
from multitrack_wandb.core import core
from services.wandb_double.server import WandbDouble
from services.wandb_double.state import CONSOLE, RefusedError, Run

pytestmark = pytest.mark.slow

POINTS = ("before open", "after open", "before write", "after write", "before flush", "after flush", "before finish", "after finish")


def rows(first: int, last: int) -> list[Record]:
    """Return rows `first` to `last` - 1, with system metrics and console lines among them."""
    found: list[Record] = []
    for n in range(first, last):
        time_ = START + n * 1_000_000
        found.append(Metrics(time=time_, step=n, values={"n": n, "loss": 1 / (n + 1)}))
        if n % 10 == 0:
            found.append(Metrics(time=time_, values={"system/cpu": float(n)}, source="system"))
            found.append(LogLines(time=time_, stream="stdout", times=[time_], lines=[f"line {n}"]))
    return found


def there(double: WandbDouble, run: RunFolder) -> Run:
    return double.run("digits", run.id, "team")


def check(found: Run, count: int) -> None:
    """The rows, the system metrics and the lines are there, each once and in order."""
    assert [row["n"] for row in found.history] == list(range(count))
    assert [row["_step"] for row in found.history] == list(range(count))
    assert [row["system.cpu"] for row in found.events] == list(range(0, count, 10))
    assert [line.split()[-1] for line in found.lines[CONSOLE]] == [str(n) for n in range(0, count, 10)]


def deliver(scene: Scene, run: RunFolder) -> None:
    """Deliver, as often as it takes."""
    for _ in range(10):
        try:
            if scene.deliver(run):
                return
        except TransientError:
            continue
    raise AssertionError("it is never delivered")


def backend_at(double: WandbDouble, location: str | None = "team/digits", **settings: Any) -> WandbBackend:
    return WandbBackend(location, WandbSettings.model_validate({"base_url": double.url, "api_key": double.key, **settings}))


# -- once, in order -------------------------------------------------------------------------------------------------------------


def test_a_run_arrives(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="digits", name="svc", host="node1"), rows(0, 100))

    assert scene.deliver(run)

    found = there(double, run)
    check(found, 100)
    assert (found.state, found.exit_code, found.display_name, found.fields["host"]) == ("finished", 0, "svc", "node1")
    assert found.history[3]["_timestamp"] == pytest.approx(START / 1e6 + 3)
    assert found.history[3]["_runtime"] == 3
    assert found.events[1]["_timestamp"] == pytest.approx(START / 1e6 + 10)
    assert found.resent == 0


@pytest.mark.parametrize("where", POINTS)
def test_whoever_comes_after_a_process_that_died_goes_on(scene: Scene, double: WandbDouble, where: str) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 30), status=None)
    scene.deliver(run)
    scene.append(run, rows(30, 60), first=len(rows(0, 30)) + 1)

    def die(point: str) -> None:
        if point == where:
            raise Interrupted

    with pytest.raises(Interrupted):
        scene.deliver(run, InterruptedBackend(scene.backend, die))  # type: ignore[arg-type]

    deliver(scene, run)
    check(there(double, run), 60)
    assert len(list(double.state.all_runs())) == 1


@pytest.mark.parametrize("operation", ["RunResumeStatus", "UpsertBucket", "file_stream", "PUT", "CreateRunFiles"])
@pytest.mark.parametrize("time_", [1, 2], ids=["first", "second"])
def test_a_wandb_core_that_is_killed(scene: Scene, double: WandbDouble, operation: str, time_: int) -> None:
    """It is killed as the service takes a request in: that has an effect, and nobody hears of it."""
    run = scene.record(scene.start(project="digits"), rows(0, 500))
    asked = 0

    def kill(what: str) -> None:
        nonlocal asked
        asked += what == operation
        if what == operation and asked == time_:
            core().kill()

    double.on_request = kill
    with pytest.raises(TransientError, match="wandb-core has gone"):
        scene.deliver(run)
    double.on_request = lambda _: None

    deliver(scene, run)
    check(there(double, run), 500)


def test_an_upload_that_breaks_off_half_way_is_taken_up_there(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 2000))
    asked: list[int] = []

    def kill(what: str) -> None:
        if what == "file_stream":
            asked.append(len(there(double, run).history))
            if 0 < asked[-1] < 2000:
                core().kill()
                raise ConnectionError  # and the second request never gets there

    double.on_request = kill
    with pytest.raises(TransientError):
        scene.deliver(run)
    double.on_request = lambda _: None
    assert 0 < len(there(double, run).history) < 2000

    deliver(scene, run)
    check(there(double, run), 2000)


@pytest.mark.parametrize(
    ("operation", "status", "after"),
    [
        ("MultitrackRun", 429, False),
        ("UpsertBucket", 500, True),
        ("file_stream", 429, False),
        ("file_stream", 502, False),
        ("file_stream", 500, True),
        ("PUT", 503, False),
    ],
)
def test_a_failure_that_passes(scene: Scene, double: WandbDouble, operation: str, status: int, after: bool) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 100))
    with double.fault(operation, status, times=1, headers={"Retry-After": "1"} if status == 429 else None, after=after):
        deliver(scene, run)
    check(there(double, run), 100)


@pytest.mark.parametrize("operation", ["UpsertBucket", "file_stream", "PUT", "*"])
def test_an_outage(scene: Scene, double: WandbDouble, operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "PATIENCE", 0.3)
    run = scene.record(scene.start(project="digits"), rows(0, 100))
    with double.fault(operation, 503), pytest.raises(TransientError):
        scene.deliver(run)
    deliver(scene, run)
    check(there(double, run), 100)


def test_a_service_that_goes_away_and_comes_back(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 30), status=None)
    scene.deliver(run)
    double.stop()
    try:
        scene.append(run, rows(30, 60), first=len(rows(0, 30)) + 1)
        with pytest.raises(TransientError):
            scene.deliver(run)
    finally:
        double.restart()
    deliver(scene, run)
    check(there(double, run), 60)


def test_an_upload_that_takes_too_long_is_ended_for_certain(scene: Scene, double: WandbDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would go on when the run is over, which would be running again."""
    monkeypatch.setattr(sink, "UPLOAD_TIMEOUT", 0.5)
    run = scene.record(scene.start(project="digits"), rows(0, 100))
    before = core().pid
    double.on_request = lambda what: time.sleep(2) if what == "ServerFeaturesQuery" else None
    with pytest.raises(TransientError, match="in time"):
        scene.deliver(run)
    assert core().pid != before
    double.on_request = lambda _: None
    monkeypatch.setattr(sink, "UPLOAD_TIMEOUT", 60)
    deliver(scene, run)
    time.sleep(2)
    check(there(double, run), 100)
    assert (there(double, run).state, there(double, run).resent) == ("finished", 0)


def test_delivered_again_from_the_beginning(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 100), status=None)
    scene.deliver(run)
    scene.append(run, rows(100, 130), first=len(rows(0, 100)) + 1)
    deliver(scene, run)
    requests = double.requests["file_stream"]

    assert scene.deliver_anew(run)

    check(there(double, run), 130)
    assert double.requests["file_stream"] > requests


def test_several_runs_at_a_time_through_one_wandb_core(scene: Scene, double: WandbDouble) -> None:
    runs = [scene.record(scene.start(project="digits"), rows(0, 200)) for _ in range(6)]
    failures: list[BaseException] = []

    def bring(run: RunFolder) -> None:
        try:
            deliver(scene, run)
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=bring, args=[run]) for run in runs]
    before = core().pid
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    assert core().pid == before
    for run in runs:
        check(there(double, run), 200)


def test_a_run_that_goes_on_is_uploaded_now_and_then(scene: Scene, double: WandbDouble) -> None:
    moment = time.time_ns() // 1000
    sink_ = scene.backend.sink()
    run = scene.start(project="digits", time=moment)
    sink_.open(run)
    try:

        def write(number: int, record: Record) -> None:
            sink_.write(Batch(number, [Entry("a", number, record)], lambda artifact: Path(artifact.name)))

        sink_._opened -= 1000  # type: ignore[attr-defined]
        write(1, Metrics(time=moment, step=0, values={"n": 0}))
        assert sink_.flush().batches == 1
        write(2, Metrics(time=moment, step=1, values={"n": 1}))
        assert sink_.flush().batches == 1, "it waits for more"
        write(3, LogLines(time=moment, stream="stdout", times=[moment] * 9000, lines=["x" * 40] * 9000))
        assert sink_.flush().batches == 3, "there is much"
        assert double.run("digits", run.id, "team").state == "running"
    finally:
        sink_.close()


def test_two_ranks_with_stores_of_their_own_bring_their_parts_in_turn(
    scene: Scene, double: WandbDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "FRESH", 0)
    run = scene.start(project="digits")
    sinks = {writer: scene.backend.sink() for writer in ("a", "b")}
    for one in sinks.values():
        one.open(run)
    for number in range(1, 4):
        for writer, one in sinks.items():
            point = Metrics(time=START + number, step=number, values={f"{writer}/n": number})
            params = Hyperparameters(time=START, values={f"{writer}{number}": number})
            one.write(Batch(number, [Entry(writer, number, point), Entry(writer, number, params)], lambda artifact: Path(artifact.name)))
            assert one.flush().batches == number
    for one in sinks.values():
        one.close()

    found = double.run("digits", run.id, "team")
    assert [value for row in found.history for name, value in row.items() if name.endswith("/n")] == [1, 1, 2, 2, 3, 3]
    assert {"a1", "b1", "a2", "b2", "a3", "b3"} <= found.params.keys()
    assert sinks["a"].open(run).batches is None
    assert sinks["a"]._mark.ends == {"a": 3, "b": 3}  # type: ignore[attr-defined]


# -- how it ends ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "state", "code"), [("finished", "finished", 0), ("failed", "failed", 1), ("killed", "failed", 255)])
def test_how_a_run_ends(scene: Scene, double: WandbDouble, status: str, state: str, code: int) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 5), status=status)
    assert scene.deliver(run)
    found = there(double, run)
    assert (found.state, found.exit_code) == (state, code)
    assert found.params["multitrack"]["status"] == status


def test_a_run_that_vanished_has_crashed(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 5), status=None)
    assert scene.deliver(run)
    found = there(double, run)
    assert (found.exit_code, found.params["multitrack"]["status"]) == (1, "crashed")


def test_a_run_that_goes_on_is_running(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 5), status=None)
    states: list[str] = []

    def look(point: str) -> None:
        if point == "before finish":
            states.append(there(double, run).state)

    scene.deliver(run, InterruptedBackend(scene.backend, look))  # type: ignore[arg-type]
    assert states == ["running"]


def test_a_run_that_ended_and_goes_on_loses_its_marker(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 5))
    scene.deliver(run)
    key = TAG_COMPLETE.removeprefix("multitrack.")
    assert key in there(double, run).params["multitrack"]
    scene.append(run, [RunUpdated(time=START, status="running"), *rows(5, 9)], first=100)

    def die(point: str) -> None:
        if point == "before finish":
            raise Interrupted

    with pytest.raises(Interrupted):
        scene.deliver(run, InterruptedBackend(scene.backend, die))  # type: ignore[arg-type]
    assert key not in there(double, run).params["multitrack"]
    assert there(double, run).state == "running"
    deliver(scene, run)
    assert key in there(double, run).params["multitrack"]
    check(there(double, run), 9)


@pytest.mark.parametrize("state", ["running", "crashed"])
def test_a_marker_without_an_end_is_none(scene: Scene, double: WandbDouble, state: str) -> None:
    """wandb-core sends the config, and with it the marker, before the run's end: it may die between the two."""
    start = scene.start(project="digits")
    run = scene.record(start, rows(0, 20))
    key = TAG_COMPLETE.removeprefix("multitrack.")

    def die(what: str) -> None:
        if what == "file_stream" and key in there(double, run).params.get("multitrack", {}):
            core().kill()
            raise RefusedError(503, "too late")

    double.on_request = die
    with pytest.raises(TransientError):
        scene.deliver(run)
    double.on_request = lambda _: None
    found = there(double, run)
    assert (key in found.params["multitrack"], found.state, found.exit_code) == (True, "running", None)

    found.state = state  # W&B says "crashed" after some minutes
    assert TAG_COMPLETE not in scene.find(run).tags
    opened = scene.backend.sink()
    assert opened.open(start).marker is None
    opened.close()

    deliver(scene, run)
    assert (there(double, run).state, there(double, run).exit_code) == ("finished", 0)
    assert TAG_COMPLETE in scene.find(run).tags
    check(there(double, run), 20)


# -- what it holds ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [[3, 1, 2], [1, 1, 1], [0.5, 1.5, 1.75], [None, None], [-3, 7, None, 2.5, 10**25]],
    ids=["back", "repeated", "fractional", "missing", "mixed"],
)
def test_no_step_is_dropped(scene: Scene, double: WandbDouble, steps: list[Any]) -> None:
    run = scene.record(scene.start(project="digits"), [Metrics(time=START + n, step=step, values={"n": n}) for n, step in enumerate(steps)])
    assert scene.deliver(run)
    found = there(double, run)
    assert [row["n"] for row in found.history] == list(range(len(steps)))
    shown = [row.get("multitrack/step") for row in found.history]
    assert [int(step) if isinstance(step, str) else step for step in shown] == steps
    named = [item.get("1") for item in found.config["_wandb"]["value"]["m"]]
    assert "multitrack/step" in named or not any(steps), "the charts' x-axis"


def test_what_a_run_holds(scene: Scene, double: WandbDouble) -> None:
    start = scene.start(project="digits", tags={"base": None, "team": "vision"}, group="sweep", job_type="train", notes="# Notes")
    weights = scene.artifact(start, "model/weights.bin", bytes(range(256)), type="model", metadata={"layers": 3})
    described, image = describe(Image(PNG), "pred", 2, START)
    picture = scene.artifact(start, described.name, PNG, type=described.type, media_type=described.media_type, step=2)
    run = scene.record(
        start,
        [
            Hyperparameters(time=START, values={"lr": 0.1, "model": {"depth": 3}}),
            MetricDefinition(time=START, name="acc", summary="max", goal="max", x="epoch"),
            Metrics(time=START, step=0, values={"acc": 0.5, "epoch": 1}),
            Metrics(time=START, step=1, values={"acc": 0.25, "epoch": 2}),
            weights,
            picture,
            Metrics(time=START, step=2, values={"pred": image}),
            Summary(time=START, values={"best": 0.97}),
            Environment(time=START, host="node1", python="3.12.1", packages={"numpy": "2.0.0"}, cpu_count=8),
            LogLines(time=START, stream="stderr", times=[START], lines=["a warning"]),
        ],
    )
    assert scene.deliver(run)

    found = there(double, run)
    assert (found.fields["groupName"], found.fields["jobType"], found.fields["notes"]) == ("sweep", "train", "# Notes")
    assert sorted(found.tags) == ["base", "team: vision"]
    assert (found.params["lr"], found.params["model"]) == (0.1, {"depth": 3})
    assert found.summary["best"] == 0.97
    assert found.summary["acc"] == {"max": 0.5}
    assert found.lines[CONSOLE][0].startswith("ERROR")
    assert found.lines[CONSOLE][0].endswith("a warning")
    assert found.history[2]["pred"]["_type"] == "image-file"
    assert found.files[picture.name].content == PNG
    assert json.loads(found.files["wandb-metadata.json"].content or b"")["host"] == "node1"
    assert b"numpy==2.0.0" in (found.files["requirements.txt"].content or b"")
    (model,) = found.outputs
    assert (model.collection.name, model.collection.type, model.version, model.aliases) == ("model", "model", 0, ["latest"])
    assert model.files["weights.bin"].content == bytes(range(256))
    assert json.loads(model.metadata or "") == {"layers": 3}
    definitions = {item.get("1"): item for item in found.config["_wandb"]["value"]["m"]}
    assert "acc" in definitions


def test_what_the_next_upload_must_say_again(scene: Scene, double: WandbDouble) -> None:
    """Definitions, machine and summary outlive the process that told them."""
    run = scene.record(
        scene.start(project="digits"),
        [
            MetricDefinition(time=START, name="acc", summary="max"),
            Metrics(time=START, step=0, values={"acc": 0.5, "n": 0}),
            Environment(time=START, host="node1", python="3.12.1", cpu_count=8),
            Summary(time=START, values={"best": 0.97}),
        ],
        status=None,
    )
    scene.deliver(run)
    scene.append(run, [Metrics(time=START, step=1, values={"n": 1})], first=10)
    deliver(scene, run)
    found = there(double, run)
    own = found.config["_wandb"]["value"]
    assert "acc" in [item.get("1") for item in own["m"]]
    assert [machine["host"] for machine in own["e"].values() if machine] == ["node1"]
    assert (found.summary["best"], found.summary["acc"], found.summary["n"]) == (0.97, {"max": 0.5}, 1)


def test_nothing_of_the_machine_that_delivers(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="digits", host="node1"), [*rows(0, 5), Environment(time=START, host="node1", python="3.5.0")])
    assert scene.deliver(run)
    found = there(double, run)
    files = {name: file.content for name, file in found.files.items() if not name.endswith(".zst")}
    everything = repr((found.config, found.summary, found.fields, found.lines, found.history, files))
    words = [socket.gethostname(), str(Path.cwd()), str(Path.home()) + "/"]
    assert [word for word in words if word in everything] == []


def test_what_is_said_of_a_run_that_trains_is_not_said_of_those_delivered(
    scene: Scene, double: WandbDouble, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("RUN_ID", "NAME", "TAGS", "NOTES", "JOB_TYPE", "RUN_GROUP", "PROJECT", "HOST", "PROGRAM", "SWEEP_ID")
    modes = {
        "MODE": "offline",
        "RESUME": "never",
        "CONSOLE": "off",
        "SERVICE": "3-1-unix-/another/socket",
        "DIR": str(tmp_path / "another"),
    }
    of_another = {**dict.fromkeys(words, "another"), **modes}
    for name, value in of_another.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.chdir(tmp_path)
    core().kill()
    run = scene.record(scene.start(project="digits", name="svc"), rows(0, 20))
    assert scene.deliver(run)
    found = there(double, run)
    check(found, 20)
    assert "another" not in repr((found.display_name, found.tags, found.fields, found.config))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene"], "nothing is left in the working folder"


def test_a_row_that_is_too_long_is_refused_and_the_others_are_not(scene: Scene, double: WandbDouble) -> None:
    long = {f"text {n}": "x" * 900_000 for n in range(12)}
    run = scene.record(scene.start(project="digits"), [*rows(0, 3), Metrics(time=START, step=9, values=long), *rows(3, 6)])
    assert scene.deliver(run)
    check(there(double, run), 6)
    (refused,) = Ledger(run, TARGET).rejections()
    assert "bytes" in refused.reason


def test_artifacts_of_one_name_and_two_types(scene: Scene, double: WandbDouble) -> None:
    runs = []
    for kind in ("model", "dataset"):
        start = scene.start(project="digits")
        runs.append(scene.record(start, [scene.artifact(start, "one/a.bin", kind.encode(), type=kind)]))
        assert scene.deliver(runs[-1])
    found = [there(double, run).outputs[0] for run in runs]
    assert [(one.collection.type, one.version) for one in found] == [("model", 0), ("dataset", 0)]


def test_files_that_do_not_arrive_are_not_delivered(scene: Scene, double: WandbDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "PATIENCE", 0.3)
    start = scene.start(project="digits")
    run = scene.record(start, [scene.artifact(start, "model/weights.bin", b"x" * 1000, type="model"), scene.artifact(start, "a.txt", b"a")])
    with double.fault("PUT", 500), pytest.raises(TransientError, match="files"):
        scene.deliver(run)
    with double.fault("CommitArtifact", 500), pytest.raises(TransientError, match="artifacts"):
        scene.deliver(run)
    deliver(scene, run)
    found = there(double, run)
    assert found.files["a.txt"].content == b"a"
    assert found.outputs[0].files["weights.bin"].content == b"x" * 1000


# -- where ------------------------------------------------------------------------------------------------------------------------


def test_the_page_of_a_run(scene: Scene, double: WandbDouble) -> None:
    sink_ = scene.backend.sink()
    run = scene.start(project="digits")
    sink_.open(run)
    assert sink_.url() == f"{double.url}/team/digits/runs/{run.id}"
    sink_.close()


@pytest.mark.parametrize(
    ("location", "settings", "place"),
    [
        (None, {}, ("tester", "digits")),
        ("team/", {}, ("team", "digits")),
        ("other", {}, ("tester", "other")),
        ("other", {"entity": "team"}, ("team", "other")),
    ],
)
def test_where_a_run_goes(scene: Scene, double: WandbDouble, location: str | None, settings: Any, place: tuple[str, str]) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 3))
    assert scene.deliver(run, backend_at(double, location, **settings))
    assert [(found.project.entity, found.project.name) for found in double.state.all_runs()] == [place]


def test_a_project_that_w_and_b_cannot_call_so(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="a/b"), rows(0, 3))
    assert scene.deliver(run, backend_at(double, None))
    (found,) = double.state.all_runs()
    assert found.project.name.startswith("a_b-")
    assert found.params["multitrack"]["project"] == "a/b"


def _no_key(double: WandbDouble) -> WandbBackend:
    return backend_at(double, api_key=None)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (_no_key, AuthError, "no login"),
        (lambda double: backend_at(double, api_key="x" * 40), AuthError, "refuses the login"),
        (lambda double: backend_at(double, "nobody/x"), PermanentError, "nobody"),
        (lambda double: backend_at(double, "others/x"), PermanentError, "others"),
    ],
    ids=["no key", "a wrong key", "no such entity", "an entity of others"],
)
def test_who_is_refused(
    scene: Scene, double: WandbDouble, make: Callable[[WandbDouble], WandbBackend], error: type[Exception], words: str
) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 3))
    with pytest.raises(error, match=words) as told:
        scene.deliver(run, make(double))
    assert "\n" not in str(told.value)
    assert double.requests["file_stream"] == 0


def test_a_run_that_was_deleted_there(scene: Scene, double: WandbDouble) -> None:
    run = scene.record(scene.start(project="digits"), rows(0, 3), status=None)
    scene.deliver(run)
    double.state.delete_run(there(double, run).id)
    scene.append(run, rows(3, 6), first=50)
    with pytest.raises(PermanentError, match="deleted"):
        scene.deliver(run)


def test_a_check(double: WandbDouble) -> None:
    assert backend_at(double).check() == f"W&B at {double.url}, as tester"
    with pytest.raises(PermanentError, match="nobody"):
        backend_at(double, "nobody/x").check()
    with pytest.raises(AuthError):
        backend_at(double, api_key="x" * 40).check()

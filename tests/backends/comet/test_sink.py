"""The sink through the real SDK; the double of the service is the witness of what arrived."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from multitrack.backend import TAG_COMPLETE, Batch, Conclusion, Entry, Rejection, RunFilter
from multitrack.delivery import Ledger
from multitrack.errors import AuthError, BackendError, PermanentError, TransientError
from multitrack.records import (
    Artifact,
    CodeVersion,
    Environment,
    Hyperparameters,
    LogLines,
    Origin,
    Points,
    Record,
    RunStarted,
    RunUpdated,
    new_run_id,
)
from multitrack.testing.proxy import Answer, Cut, Drop, FaultProxy
from multitrack.testing.scene import Scene
from multitrack_comet import CometBackend, CometSettings
from multitrack_comet.sink import CometSink
from services.comet.double import CometDouble
from services.comet.state import Experiment
from services.comet.state import Point as ServicePoint

pytestmark = pytest.mark.slow

T = 1_600_000_000_123_456
"""September 2020, in microseconds."""
MS = T // 1000
METRICS = r"/batch/logger/experiment/metric"


@pytest.fixture
def proxy(comet: CometDouble) -> Iterator[FaultProxy]:
    with FaultProxy(comet.root) as running:
        yield running


@pytest.fixture
def behind(comet: CometDouble, proxy: FaultProxy) -> CometBackend:
    """The service behind the proxy."""
    return CometBackend("team/", CometSettings(api_key=SecretStr(comet.api_key), url=proxy.url))


def start(**fields: Any) -> RunStarted:
    return RunStarted.model_validate({"time": T, "id": new_run_id(), "project": "digits", "name": "svc", **fields})


def points(count: int, name: str = "loss", first: int = 0) -> Points:
    steps = range(first, first + count)
    return Points(time=T, name=name, steps=list(steps), times=[T + step * 1000 for step in steps], values=[step / 8 for step in steps])


def batch(number: int, *records: Record, file: Path = Path("nothing"), writer: str = "w") -> Batch:
    return Batch(number, [Entry(writer, number * 100 + place, record) for place, record in enumerate(records)], lambda _: file)


def opened(backend: CometBackend, run: RunStarted) -> CometSink:
    sink = backend.sink()
    assert isinstance(sink, CometSink)
    sink.open(run)
    return sink


def steps(comet: CometDouble, run: RunStarted, name: str = "loss") -> list[Any]:
    return [point.step for point in comet.experiment(run.id).points if point.name == name]


# -- what arrives


def test_points_keep_their_steps_times_and_what_is_not_finite(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    sink = opened(backend, run)
    values = [0.5, float("nan"), float("inf"), float("-inf")]
    column = Points(time=T, name="loss", steps=[-1, None, 7, 7], times=[T, T + 1000, T + 2000, T + 2000], values=values)
    epochs = Points(time=T, name="epoch", steps=[7], times=[T + 2000], values=[3.0])
    sink.write(batch(1, run, column, epochs))
    sink.close()

    arrived = [(p.name, p.value, p.step, p.epoch, p.timestamp) for p in comet.experiment(run.id).points if p.name == "loss"]
    assert arrived == [
        ("loss", 0.5, -1, None, MS),
        ("loss", "NaN", None, None, MS + 1),
        ("loss", "Infinity", 7, 3, MS + 2),
        ("loss", "-Infinity", 7, 3, MS + 2),
    ]


def test_the_run_itself(comet: CometDouble, backend: CometBackend) -> None:
    run = start(tags={"base": None, "team": "vision"}, notes="# Notes", user="ann", host="node1")
    sink = opened(backend, run)
    sink.write(batch(1, run, Hyperparameters(time=T, values={"lr": "0.1", "model": {"depth": "3"}})))
    there = comet.experiment(run.id)
    assert there.alive
    assert (there.workspace, there.project, there.name, there.started) == ("team", "digits", "svc", MS)
    assert there.tags == ["base"]
    assert (there.others["team"].current, there.others["multitrack.run_id"].current) == ("vision", run.id)
    assert {name: value.current for name, value in there.params.items()} == {"lr": "0.1", "model|depth": "3"}
    assert sink.url() == f"{comet.root}/team/digits/{run.id}"

    sink.write(batch(2, RunUpdated(time=T, name="another", removed_tags=["base", "team"])))
    sink.finish(Conclusion("failed", T + 60_000_000, "boom", tags={TAG_COMPLETE: "{}"}))
    sink.close()
    assert (there.name, there.tags, there.others["team"].current) == ("another", [], "multitrack.removed")
    assert (there.alive, there.crashed, there.started, there.ended) == (False, True, MS, MS + 60_000)
    assert {name: there.others[f"multitrack.{name}"].current for name in ("status", "error", "complete")} == {
        "status": "failed",
        "error": "boom",
        "complete": "{}",
    }


def test_code_machine_and_console(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    sink = opened(backend, run)
    code = CodeVersion(time=T, vcs="git", commit="c0ffee", branch="main", remote="https://h/r.git", diff="+x\n", entry_point="train.py")
    machine = Environment(time=T, host="node1", python="3.12.1", packages={"numpy": "2.0.0"})
    lines = LogLines(time=T, times=[T, T + 5_000_000], lines=["one", "two"])
    sink.write(batch(1, run, code, machine, lines, LogLines(time=T, stream="stderr", times=[T + 6_000_000], lines=["oh"])))
    sink.close()

    there = comet.experiment(run.id)
    assert (there.git["parent"], there.git["branch"], there.git["origin"]) == ("c0ffee", "refs/heads/main", "https://h/r.git")
    assert there.patch is not None
    assert there.file_path == "train.py"
    assert there.system["installedPackages"] == ["numpy==2.0.0"]
    assert (there.system["hostname"], there.system["pythonVersion"]) == ("node1", "3.12.1")
    assert [(line.text, line.stderr, line.timestamp, line.offset) for line in there.lines] == [
        ("one\n", False, MS, 0),
        ("two\n", False, MS + 5000, 1),
        ("oh\n", True, MS + 6000, 2),
    ]

    successor = opened(backend, run)
    successor.write(batch(2, LogLines(time=T, times=[T], lines=["three"])))
    successor.close()
    assert [line.offset for line in there.lines] == [0, 1, 2, 3]


def test_of_two_files_with_one_name_the_last_is_there(comet: CometDouble, backend: CometBackend, tmp_path: Path) -> None:
    run = start()
    sink = opened(backend, run)
    for number, text in ((1, "first"), (2, "second"), (3, "first")):
        file = tmp_path / text
        file.write_text(text)
        artifact = Artifact(time=T, name="a/notes.txt", sha256=text.ljust(64, "0"), size=len(text), step=number, metadata={"n": number})
        sink.write(batch(number, run, artifact, file=file))
        there = comet.experiment(run.id).asset("a/notes.txt")
        assert (there.content, there.step, json.loads(there.metadata or "")["n"]) == (text.encode(), number, number)
    sink.close()


def test_images_of_one_metric_stand_side_by_side(comet: CometDouble, backend: CometBackend, tmp_path: Path) -> None:
    run = start()
    sink = opened(backend, run)
    file = tmp_path / "image"
    file.write_bytes(b"png")
    for step in (1, 2):
        name = f"media/images/val/pred/{step}-{step:016x}.png"
        sink.write(batch(step, run, Artifact(time=T, name=name, sha256=f"{step:064x}", size=3, step=step), file=file))
    sink.close()
    images = [asset for asset in comet.experiment(run.id).assets.values() if asset.type == "image"]
    assert [(image.name, image.step) for image in images] == [("val/pred", 1), ("val/pred", 2)]


def test_a_file_that_is_too_large_is_refused_by_itself(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    sink = opened(backend, run)
    huge = Artifact(time=T, name="huge.bin", sha256="0" * 64, size=200 * 2**30)
    assert sink.write(batch(1, run, huge, points(3))) == [
        Rejection("w", 101, "artifact 'huge.bin' has 214,748,364,800 bytes; this Comet takes files of up to 107,374,182,400")
    ]
    sink.close()
    assert steps(comet, run) == [0, 1, 2]


# -- how much it takes


def test_a_thousand_points_a_request(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    sink = opened(backend, run)
    sink.write(batch(1, run))
    before = comet.requests
    sink.write(batch(2, points(10_000)))
    assert comet.requests - before == 11  # and one that says that the batch is there
    sink.close()


def test_experiments_of_one_process_do_not_mix(comet: CometDouble, backend: CometBackend) -> None:
    runs = [start(name=str(number)) for number in range(3)]
    sinks = [opened(backend, run) for run in runs]
    for round_ in range(1, 4):
        for number, (run, sink) in enumerate(zip(runs, sinks, strict=True)):
            sink.write(batch(round_, run, points(10, f"loss{number}", first=round_ * 10)))
    for number, (run, sink) in enumerate(zip(runs, sinks, strict=True)):
        sink.close()
        assert {point.name for point in comet.experiment(run.id).points} == {f"loss{number}"}
        assert len(comet.experiment(run.id).points) == 30


# -- once


def test_a_batch_that_comes_again_does_not_double(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    again = batch(1, run, points(100), LogLines(time=T, times=[T, T], lines=["one", "two"]))
    for _ in range(3):
        sink = opened(backend, run)
        sink.write(again)
        sink.close()
    assert steps(comet, run) == list(range(100))
    assert [line.text for line in comet.experiment(run.id).lines] == ["one\n", "two\n"]


def test_two_equal_points_stay_two(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    again = batch(1, run, Points(time=T, name="loss", steps=[1, 1], times=[T, T], values=[0.5, 0.5]))
    for _ in range(2):
        sink = opened(backend, run)
        sink.write(again)
        sink.close()
    assert steps(comet, run) == [1, 1]


@pytest.mark.parametrize("effect", [Cut(), Cut(keep=0.5), Drop(), Answer(503)], ids=repr)
@pytest.mark.parametrize("after", [0, 2])
def test_an_answer_that_is_lost_doubles_nothing(
    comet: CometDouble, behind: CometBackend, proxy: FaultProxy, effect: Any, after: int
) -> None:
    run = start()
    whole = batch(1, run, points(4000), LogLines(time=T, times=[T], lines=["one"]))
    sink = opened(behind, run)
    proxy.rule(effect, path=METRICS, after=after, times=1)
    with pytest.raises(TransientError):
        sink.write(whole)
    sink.close()

    successor = opened(behind, run)
    successor.write(whole)
    successor.close()
    assert steps(comet, run) == list(range(4000))
    assert [line.text for line in comet.experiment(run.id).lines] == ["one\n"]


def test_a_sink_that_goes_on_after_a_failure_doubles_nothing(comet: CometDouble, behind: CometBackend, proxy: FaultProxy) -> None:
    run = start()
    sink = opened(behind, run)
    proxy.rule(Cut(), path=METRICS, after=1, times=1)
    with pytest.raises(TransientError):
        sink.write(batch(1, run, points(3000)))
    sink.write(batch(1, run, points(1500)))
    sink.write(batch(1, points(1500, first=1500)))
    sink.close()
    assert steps(comet, run) == list(range(3000))


def test_of_equal_points_those_that_are_missing_come(comet: CometDouble, behind: CometBackend, proxy: FaultProxy) -> None:
    run = start()
    again = batch(1, run, Points(time=T, name="loss", steps=[1] * 1500, times=[T] * 1500, values=[0.5] * 1500))
    sink = opened(behind, run)
    proxy.rule(Drop(), path=METRICS, after=1, times=1)
    with pytest.raises(TransientError):
        sink.write(again)
    sink.close()
    successor = opened(behind, run)
    successor.write(again)
    successor.close()
    assert steps(comet, run) == [1] * 1500


def test_of_a_long_series_nothing_doubles_either(comet: CometDouble, behind: CometBackend, proxy: FaultProxy) -> None:
    """What is there is read from the files that hold all of it: of the points themselves Comet gives a sample."""
    comet.service.points_kept = 100
    run = start()
    whole = batch(1, run, points(5000))
    sink = opened(behind, run)
    proxy.rule(Cut(), path=METRICS, after=3, times=1)
    with pytest.raises(TransientError):
        sink.write(whole)
    sink.close()
    successor = opened(behind, run)
    successor.write(whole)
    successor.close()
    assert steps(comet, run) == list(range(5000))


def test_a_long_series_arrives_whole_and_the_loss_is_declared(tmp_path: Path, comet: CometDouble, backend: CometBackend) -> None:
    scene = Scene(tmp_path, backend)
    run = scene.record(scene.start(), [points(16_000)])
    assert scene.deliver(run)
    assert [point.step for point in comet.experiment(run.id).points] == list(range(16_000))
    assert any("15,000" in loss["detail"] for loss in Ledger(run, "conformance").committed().losses)
    result = scene.verify(run)
    assert not result.differences
    assert len(scene.read(run).state.metrics["loss"]) == 16_000


def test_failure_upon_failure_doubles_nothing(comet: CometDouble, behind: CometBackend, proxy: FaultProxy) -> None:
    """The first sink ends well; the second is cut off, the third too, and goes on by itself."""
    run = start()
    sink = opened(behind, run)
    sink.write(batch(1, run, points(10)))
    sink.close()
    second = batch(2, points(4000, first=10))
    for _ in range(2):
        sink = opened(behind, run)
        proxy.rule(Cut(), path=METRICS, after=1, times=1)
        with pytest.raises(TransientError):
            sink.write(second)
        proxy.clear()
    sink.write(second)
    sink.close()
    assert steps(comet, run) == list(range(4010))


def test_ranks_with_disks_of_their_own_do_not_hide_each_others_failures(
    comet: CometDouble, behind: CometBackend, proxy: FaultProxy
) -> None:
    """One is cut off in the middle of a batch; another, of whose batches the numbers are its own, goes on and ends well."""
    run = start()
    zero, one = opened(behind, run), opened(behind, run)
    zero.write(batch(1, run, points(10, "zero"), writer="0" * 16))
    for number in range(1, 6):
        one.write(batch(number, run, points(10, "one", first=number * 10), writer="1" * 16))
    cut_off = batch(6, points(4000, "one", first=100), writer="1" * 16)
    proxy.rule(Cut(), path=METRICS, after=2, times=1)
    with pytest.raises(TransientError):
        one.write(cut_off)
    zero.write(batch(2, points(10, "zero", first=10), writer="0" * 16))
    zero.close()
    one.close()

    successor = opened(behind, run)
    successor.write(cut_off)
    successor.close()
    assert steps(comet, run, "one") == [*range(10, 60), *range(100, 4100)]
    assert steps(comet, run, "zero") == list(range(20))


@pytest.mark.parametrize("order", ["abbaba", "bbbaaa"])
def test_batches_that_are_cut_anew_double_nothing(comet: CometDouble, backend: CometBackend, order: str) -> None:
    run = start()
    columns = {writer: [points(10, writer, first=number * 10) for number in range(6)] for writer in "ab"}
    sink = opened(backend, run)
    for number in range(6):
        entries = [entry for writer in "ab" for entry in batch(number + 1, columns[writer][number], writer=writer).entries]
        sink.write(Batch(number + 1, entries, lambda _: Path("nothing")))
    sink.close()
    share = 2
    for part in (range(2), range(2, 6)):  # the process ends in between
        sink = opened(backend, run)
        for place in part:
            writer = order[place]
            first = order[:place].count(writer) * share
            sink.write(batch(place + 1, *columns[writer][first : first + share], writer=writer))
        sink.close()
    for writer in "ab":
        assert steps(comet, run, writer) == list(range(60))


def test_console_lines_that_were_cut_off_in_the_middle_are_completed(comet: CometDouble, behind: CometBackend, proxy: FaultProxy) -> None:
    run = start()
    first = batch(1, run, LogLines(time=T, times=[T], lines=["same"]))
    second = batch(2, LogLines(time=T, times=[T] * 2500, lines=["same"] * 2500))
    sink = opened(behind, run)
    sink.write(first)
    proxy.rule(Cut(), path="/experiment/output", after=1, times=1)
    with pytest.raises(TransientError):
        sink.write(second)
    sink.close()
    successor = opened(behind, run)
    successor.write(second)
    successor.close()
    # Nothing tells the first batch's line from the second's: at most what one batch brought is one short, never doubled.
    assert 2500 <= len(comet.experiment(run.id).lines) <= 2501


def test_a_sink_that_ended_well_leaves_nothing_to_read_back(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    sink = opened(backend, run)
    sink.write(batch(1, run, points(10)))
    sink.close()
    successor = opened(backend, run)
    successor.write(batch(2, points(10, first=10)))
    successor.close()
    assert comet.asked["GET rest:experiment/metrics/get-all"] == 0
    assert steps(comet, run) == list(range(20))


def test_a_run_is_found_again_though_nobody_heard_that_it_was_made(comet: CometDouble, behind: CometBackend, proxy: FaultProxy) -> None:
    run = start()
    proxy.rule(Cut(), path="/logger/add/run", times=1)
    sink = behind.sink()
    try:
        sink.open(run)
    except TransientError:
        sink = behind.sink()
        sink.open(run)
    sink.write(batch(1, run, points(5)))
    sink.close()
    assert list(comet.service.experiments) == [run.id]
    assert comet.experiment(run.id).started == MS
    assert steps(comet, run) == list(range(5))


# -- outages


def test_a_service_that_is_away_at_the_start_is_noticed(behind: CometBackend, proxy: FaultProxy) -> None:
    proxy.stop()
    began = time.monotonic()
    with pytest.raises(TransientError, match="cannot be reached: connection refused"):
        behind.sink().open(start())
    assert time.monotonic() - began < 10


def test_a_service_that_leaves_in_the_middle_is_noticed_and_waited_for(
    tmp_path: Path, comet: CometDouble, behind: CometBackend, proxy: FaultProxy
) -> None:
    scene = Scene(tmp_path, behind)
    run = scene.record(scene.start(), [points(3000)])
    proxy.rule(Answer(503), path=METRICS, after=2)
    with pytest.raises(TransientError):
        scene.deliver(run)
    proxy.clear()
    assert scene.deliver(run)
    assert [point.step for point in comet.experiment(run.id).points] == list(range(3000))


def test_a_429_is_waited_out(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    sink = opened(backend, run)
    comet.throttle(2, seconds=0.3)
    began = time.monotonic()
    sink.write(batch(1, run, points(100)))
    assert time.monotonic() - began >= 0.6
    sink.close()
    assert steps(comet, run) == list(range(100))


def test_a_429_that_asks_for_long_is_left_to_delivery(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    sink = opened(backend, run)
    comet.throttle(1, seconds=600)
    with pytest.raises(TransientError) as caught:
        sink.write(batch(1, run, points(100)))
    assert caught.value.retry_after == 600
    sink.close()


def test_a_login_page_on_the_way_is_no_comet(behind: CometBackend, proxy: FaultProxy) -> None:
    page = Answer(200, {"Content-Type": "text/html"}, b"<html>sign in</html>")
    with proxy.ruled(page), pytest.raises(TransientError, match="something answers that is not Comet"):
        behind.sink().open(start())


# -- what cannot be


def settings(comet: CometDouble, key: str | None) -> CometSettings:
    return CometSettings(api_key=None if key is None else SecretStr(key), url=comet.root)


WRONG = "NobodysKey0123456789abcdef"


@pytest.mark.parametrize(
    ("location", "key", "kind", "said"),
    [
        ("team/", None, AuthError, "there is no API key for Comet; set COMET_API_KEY"),
        ("team/", WRONG, AuthError, "does not accept the API key"),
        ("elsewhere/", CometDouble.api_key, PermanentError, "no workspace 'elsewhere'"),
        ("bob/", CometDouble.api_key, PermanentError, "no workspace 'bob'"),
    ],
)
@pytest.mark.parametrize("what", ["sink", "check"])
def test_what_cannot_be_is_one_clear_line(
    comet: CometDouble, location: str, key: str | None, kind: type[BackendError], said: str, what: str
) -> None:
    backend = CometBackend(location, settings(comet, key))
    ask: dict[str, Callable[[], object]] = {"sink": lambda: backend.sink().open(start()), "check": backend.check}
    with pytest.raises(kind, match=said) as caught:
        ask[what]()
    text = str(caught.value)
    assert "\n" not in text
    assert WRONG not in text
    assert caught.value.__cause__ is None or WRONG not in repr(caught.value.__cause__)


@pytest.mark.parametrize("workspace", ["team", "bob"])
def test_an_experiment_of_somebody_else_is_left_alone(comet: CometDouble, backend: CometBackend, workspace: str) -> None:
    run = start()
    sink = opened(backend, run)
    sink.write(batch(1, run))
    sink.close()
    there = comet.experiment(run.id)
    there.others.pop("multitrack.run_id")
    there.workspace = workspace
    held = len(there.others)
    with pytest.raises(PermanentError, match=f"has an experiment {run.id} already, which multitrack has not made for this run"):
        backend.sink().open(run)
    assert len(there.others) == held


@pytest.mark.parametrize("place", ["ann/", "team/copies"])
def test_a_run_is_copied_within_one_service(tmp_path: Path, comet: CometDouble, backend: CometBackend, place: str) -> None:
    """Its key is taken, by the original."""
    original = Experiment("0123456789abcdef0123456789abcdef", "team", "digits", "ann", created=MS, started=MS, ended=MS, alive=False)
    original.points = [ServicePoint("loss", step / 8, step, None, None, MS + step) for step in range(10)]
    comet.service.experiments[original.key] = original
    comet.service.project_id("team", "digits")
    copy = CometBackend(place, settings(comet, comet.api_key))
    run = start(id=original.key, origin=Origin(source="comet:team/", project="digits", run=original.key))
    for _ in range(2):
        sink = opened(copy, run)
        sink.write(batch(1, run, points(10)))
        sink.finish(Conclusion("finished", T, tags={TAG_COMPLETE: "{}"}))
        sink.close()
    assert len(original.points) == 10
    assert not original.others
    [found] = copy.source().runs(RunFilter(ids=[run.id]))
    assert found.native_id != original.key
    assert steps(comet, start(id=found.native_id)) == list(range(10))


def test_a_deleted_run_is_archived_and_comes_back_when_it_goes_on(comet: CometDouble, backend: CometBackend) -> None:
    run = start()
    sink = opened(backend, run)
    sink.write(batch(1, run))
    sink.finish(Conclusion("finished", T, deleted=True))
    assert comet.experiment(run.id).archived
    sink.write(batch(2, points(3)))
    assert not comet.experiment(run.id).archived
    sink.close()


def test_check_tells_who_we_are(comet: CometDouble, backend: CometBackend) -> None:
    assert backend.check() == f"Comet at {comet.root}, as ann, workspace team"

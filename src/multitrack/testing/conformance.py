"""The conformance suite: what every backend must hold, written once.

    from multitrack.testing import ConformanceSuite, vendor_cannot

    class TestMyBackend(ConformanceSuite):
        gaps = {"test_nested_runs": vendor_cannot("runs know no parents there")}

        @pytest.fixture
        def backend(self, tmp_path):
            return MyBackend(MyBackend.resolve(str(tmp_path / "runs"), tmp_path))

Each test records a run, delivers it through the same delivery as everybody's runs, and reads it back: natively it must equal the
original less the losses that adaptation declares, and exactly through the records attached to it. A gap is a strict xfail.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..backend import RESERVED_TAGS, TAG_COMPLETE, Backend, RunFilter
from ..errors import TransientError
from ..journal import RunFolder
from ..media.figure import Figure
from ..media.image import Image
from ..media.points import describe
from ..media.table import Table
from ..records import (
    Artifact,
    ArtifactRef,
    CaptureFailed,
    CodeVersion,
    DataColumn,
    DataVersion,
    Environment,
    Gpu,
    Histogram,
    Hyperparameters,
    LogLines,
    MetricDefinition,
    Metrics,
    Omission,
    PackageSource,
    Points,
    Record,
    RunUpdated,
    Submodule,
    Summary,
)
from .scene import START, Interrupted, InterruptedBackend, Scene

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
"""A black dot."""
POINTS = ("before open", "after open", "before write", "after write", "before flush", "after flush", "before finish", "after finish")
HOSTILE_NAMES = (
    "loss", "train/loss", "Loss", "LOSS", "loss ", "loss[0]", "loss(0)", "loss:0", "loss=0", "loss,0",
    "loss#0", "loss%", "loss?", "loss\\0",
    "/loss", "loss/", "a//b", "../loss", ".", "a", "a/b", "a/b/c", "\u640d\u5931", "p\u00e9rte", "\U0001f600", "x" * 300, "x" * 299 + "y",
    "loss\n", "_step", "system/x", "multitrack/x", "multitrack.x", "'quoted'", '"quoted"', "loss-0123abcd",
)  # fmt: skip


def vendor_cannot(reason: str) -> pytest.MarkDecorator:
    """Mark a case that the service itself cannot hold."""
    return pytest.mark.xfail(reason=f"vendor cannot: {reason}", strict=True)


def not_implemented(reason: str) -> pytest.MarkDecorator:
    """Mark a case that the backend does not do yet."""
    return pytest.mark.xfail(reason=f"not implemented: {reason}", strict=True)


def points_of(name: str, *points: tuple[Any, int, Any]) -> Points:
    """Return a column of (step, microseconds after the start, value)."""
    steps, times, values = zip(*points, strict=True)
    return Points(time=START, name=name, steps=list(steps), times=[START + time for time in times], values=list(values))


def _copy(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def copy(*arguments: Any, **more: Any) -> None:
        original(*arguments, **more)

    return copy


class ConformanceSuite:
    """Subclass it as `Test...` and give it a `backend` fixture: a backend over an empty place of the test's own, readable and writable."""

    gaps: ClassVar[Mapping[str, pytest.MarkDecorator]] = {}
    """Test name to `vendor_cannot(...)` or `not_implemented(...)`."""

    def __init_subclass__(cls) -> None:
        """Mark the gaps, on copies: other backends run the same functions."""
        super().__init_subclass__()
        for name, mark in cls.gaps.items():
            original = getattr(cls, name)  # a gap for a test that does not exist is an error

            setattr(cls, name, mark(_copy(original)))

    @pytest.fixture
    def scene(self, backend: Backend, tmp_path: Path) -> Scene:
        """A local store, and the backend."""
        folder = tmp_path / "scene"
        folder.mkdir()
        return Scene(folder, backend)

    # -- once

    def test_a_run_arrives(self, scene: Scene) -> None:
        start = scene.start(tags={"team": "vision"}, notes="# Notes", user="ann", host="node1")
        run = scene.record(start, [Hyperparameters(time=START, values={"lr": 0.1}), points_of("loss", (1, 10, 0.5), (2, 20, 0.25))])

        assert scene.deliver(run)

        self.check(scene, run)
        native = scene.native(run)
        assert (native.project, native.name, native.status) == ("conformance", "a run", "finished")
        loss = native.metrics["loss"]
        assert (loss.steps, loss.values) == ([1, 2], [0.5, 0.25])

    def test_written_twice_counts_once(self, scene: Scene) -> None:
        run = self.rich_run(scene)

        assert scene.deliver(run)
        before = scene.native(run)
        assert scene.deliver_anew(run)

        self.check(scene, run)
        after = scene.native(run)
        assert {name: len(series) for name, series in after.metrics.items()} == {
            name: len(series) for name, series in before.metrics.items()
        }
        assert (after.params, after.artifacts.keys(), len(after.console)) == (before.params, before.artifacts.keys(), len(before.console))

    @pytest.mark.parametrize("where", POINTS)
    def test_a_process_that_dies_at_any_point_and_its_successor_deliver_once(self, scene: Scene, where: str) -> None:
        run = self.rich_run(scene)

        def die(point: str) -> None:
            if point == where:
                raise Interrupted

        with pytest.raises(Interrupted):
            scene.deliver(run, InterruptedBackend(scene.backend, die))  # type: ignore[arg-type]

        assert scene.deliver(run)
        self.check(scene, run)

    def test_an_outage_is_waited_out(self, scene: Scene) -> None:
        run = self.rich_run(scene)
        calls = []

        def fail(point: str) -> None:
            calls.append(point)
            if point.startswith("before") and calls.count(point) == 1:
                raise TransientError("the service is down")

        flaky = InterruptedBackend(scene.backend, fail)
        for _ in range(len(POINTS)):
            try:
                done = scene.deliver(run, flaky)  # type: ignore[arg-type]
            except TransientError:
                continue
            break
        assert done
        self.check(scene, run)

    def test_a_run_that_goes_on_is_delivered_piece_by_piece(self, scene: Scene) -> None:
        start = scene.start()
        run = scene.record(start, [points_of("loss", (1, 10, 0.5))], status=None)
        scene.deliver(run)
        scene.append(run, [points_of("loss", (2, 20, 0.25))], first=2)
        scene.deliver(run)

        self.check(scene, run)
        assert len(scene.native(run).metrics["loss"]) == 2

    def test_a_run_that_ended_may_go_on(self, scene: Scene) -> None:
        start = scene.start()
        run = scene.record(start, [points_of("loss", (1, 10, 0.5))], status="failed")
        scene.deliver(run)
        assert scene.native(run).status == "failed"
        again = scene.record(start, [], status=None, writer="0" * 16)  # its RunStarted is the same
        scene.append(again, [RunUpdated(time=START + 70_000_000, status="running")], first=1, writer="0" * 16)
        scene.append(again, [points_of("loss", (2, 80_000_000, 0.25))], first=2, writer="0" * 16)

        scene.deliver(run)

        assert len(scene.native(run).metrics["loss"]) == 2

    def test_a_run_that_goes_on_is_not_whole(self, scene: Scene) -> None:
        run = scene.record(scene.start(), [points_of("loss", (1, 10, 0.5))])
        scene.deliver(run)
        assert TAG_COMPLETE in scene.find(run).tags
        scene.append(run, [points_of("loss", (2, 20, 0.25))], first=3)

        def die(point: str) -> None:
            if point == "before finish":
                raise Interrupted

        with pytest.raises(Interrupted):
            scene.deliver(run, InterruptedBackend(scene.backend, die))  # type: ignore[arg-type]
        assert TAG_COMPLETE not in scene.find(run).tags
        assert scene.deliver(run)
        assert TAG_COMPLETE in scene.find(run).tags

    def test_two_writers_of_one_run(self, scene: Scene) -> None:
        start = scene.start()
        run = scene.record(start, [points_of("loss", *((step, step, 1.0) for step in range(50)))], writer="a" * 16)
        scene.append(run, [points_of("rank1/loss", *((step, step, 2.0) for step in range(50)))], writer="b" * 16)

        assert scene.deliver(run)
        self.check(scene, run)

    # -- times and steps

    def test_times_are_the_original_ones(self, scene: Scene) -> None:
        run = scene.record(scene.start(), [points_of("loss", (1, 123_000, 0.5), (2, 86_400_000_000, 0.25))])
        assert scene.deliver(run)
        self.check(scene, run)
        native = scene.native(run)
        unit = scene.backend.capabilities.time_resolution
        assert native.started == START // unit * unit
        assert native.ended == (START + 60_000_000) // unit * unit
        assert [time - native.started for time in native.metrics["loss"].times] == [123_000, 86_400_000_000]

    @pytest.mark.parametrize(
        "steps",
        [[3, 1, 2], [0.5, 1.5, 1.75], [-3, -1, 0], [None, None, None], [1, 1, 1], [1, None, 2.5], [2**53 + 1, 2**62, 10**25]],
        ids=["out of order", "fractional", "negative", "missing", "repeated", "mixed", "huge"],
    )
    def test_steps(self, scene: Scene, steps: list[Any]) -> None:
        column = points_of("loss", *((step, place * 1000, place / 4) for place, step in enumerate(steps)))
        rows = [Metrics(time=START + place, step=step, values={"row": place / 8}) for place, step in enumerate(steps)]
        run = scene.record(scene.start(), [column, *rows])
        assert scene.deliver(run)
        self.check(scene, run)

    def test_two_values_at_a_step(self, scene: Scene) -> None:
        run = scene.record(scene.start(), [points_of("loss", (1, 0, 0.5), (1, 0, 0.25), (1, 5_000, 0.5))])
        assert scene.deliver(run)
        self.check(scene, run)
        assert len(scene.native(run).metrics["loss"]) == 3

    # -- values

    @pytest.mark.parametrize(
        "value",
        [
            math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1.7976931348623157e308, 0, 1, -1, 2**53 + 1, 2**63, 2**64, -(10**30),
            True, False, "text", "", "a\nb", "\U0001f600", Histogram(edges=[0.0, 0.5, 1.0], counts=[3, 4]),
        ],
        ids=repr,
    )  # fmt: skip
    def test_values(self, scene: Scene, value: Any) -> None:
        run = scene.record(scene.start(), [Metrics(time=START, step=1, values={"m": value}), Summary(time=START, values={"best": value})])
        assert scene.deliver(run)
        self.check(scene, run)

    def test_ten_thousand_points(self, scene: Scene) -> None:
        count = 10_000
        records: list[Record] = [points_of("loss", *((step, step * 1000, 1 / (step + 1)) for step in range(count)))]
        records += [Metrics(time=START + step * 1000, step=step, values={"acc": step / count}) for step in range(0, count, 10)]
        run = scene.record(scene.start(), records)
        assert scene.deliver(run)
        self.check(scene, run)
        assert len(scene.native(run).metrics["loss"]) == count

    # -- names

    def test_hostile_names(self, scene: Scene) -> None:
        metrics = [Metrics(time=START, step=1, values={name: place / 2}) for place, name in enumerate(HOSTILE_NAMES)]
        params = Hyperparameters(time=START, values={name: name for name in HOSTILE_NAMES})
        tags = RunUpdated(time=START, tags={name: name for name in HOSTILE_NAMES if not name.startswith(RESERVED_TAGS)})
        run = scene.record(scene.start(), [*metrics, params, tags])
        assert scene.deliver(run)
        self.check(scene, run)

    def test_hostile_artifact_names(self, scene: Scene) -> None:
        start = scene.start()
        names = (
            "a.txt",
            "b/c.txt",
            "a#b",
            "a?b",
            "a%20b",
            "sp ace/\u00e9.txt",
            "\u6a21\u578b.bin",
            "A.TXT",
            "x" * 120 + ".txt",
            "c/d/../e",
        )
        artifacts = [scene.artifact(start, name, f"content of {name}".encode()) for name in names]
        run = scene.record(start, artifacts)
        assert scene.deliver(run)
        self.check(scene, run)

    # -- media

    def test_images_tables_figures_and_histograms(self, scene: Scene) -> None:
        """Points that are files, at whole, repeated, fractional, negative, huge and missing steps; the files are there as well."""
        start = scene.start()
        table = Table(columns=["class", "score"], rows=[["cat", math.nan], ["\u00e9", 2**70], [None, 0.5]])
        media = {
            "val/pred": Image(PNG, caption="a dot"),
            "hostile # name": Image(PNG),
            "x" * 300: table,
            "figure": Figure(b"<p>a figure</p>", "text/html", "html"),
        }
        records: list[Record] = []
        for place, step in enumerate((0, 1, 1, 2.5, -3, None, None, 10**30)):
            values: dict[str, Any] = {"loss": 0.5, "weights": Histogram(edges=[0.0, 1.0, 2.0], counts=[place, 1])}
            for name, one in media.items():
                artifact, values[name] = describe(one, name, step, START + place * 1000)
                details = {field: getattr(artifact, field) for field in ("time", "type", "step", "media_type", "metadata")}
                records.append(scene.artifact(start, artifact.name, one.data, **details))
            records.append(Metrics(time=START + place * 1000, step=step, values=values))
        run = scene.record(start, records)
        assert scene.deliver(run)
        self.check(scene, run)
        assert scene.deliver_anew(run)
        self.check(scene, run)
        assert any(isinstance(value, ArtifactRef) for value in scene.read(run).state.metrics["val/pred"].values)

    # -- params, tags, words

    def test_params(self, scene: Scene) -> None:
        values: dict[str, Any] = {
            "int": 3, "float": 0.1, "bool": True, "none": None, "text": "adam", "empty": "", "list": [1, 2.5, "x", None, {"a": 1}],
            "nothing": {}, "nested": {"deep": {"er": 1}, "nan": math.nan, "inf": math.inf}, "huge": 2**70, "long": "y" * 20_000,
            "unicode": "\u00e9\U0001f600", "a.b": 1, "a": {"b": 2},
        }  # fmt: skip
        run = scene.record(scene.start(), [Hyperparameters(time=START, values=values)])
        assert scene.deliver(run)
        self.check(scene, run)

    def test_params_that_change(self, scene: Scene) -> None:
        changes: list[dict[str, Any]] = [{"lr": 0.1, "model": {"depth": 3}}, {"lr": 0.1}, {"lr": 0.01, "model": {"width": 4}}, {"lr": None}]
        run = scene.record(scene.start(), [Hyperparameters(time=START + place, values=values) for place, values in enumerate(changes)])
        assert scene.deliver(run)
        self.check(scene, run)

    def test_tags_and_words_that_change(self, scene: Scene) -> None:
        start = scene.start(tags={"base": None, "team": "vision", "gone": "x"}, group="sweep", job_type="train", notes="first")
        updates = [
            RunUpdated(time=START + 1, tags={"team": "audio", "new": ""}, removed_tags=["gone"]),
            RunUpdated(time=START + 2, name="another name", notes="second\n\nparagraph", tags={"long": "z" * 10_000}),
        ]
        run = scene.record(start, updates)
        assert scene.deliver(run)
        self.check(scene, run)
        assert scene.native(run).name == "another name"

    # -- the other records

    def test_the_five_records(self, scene: Scene) -> None:
        run = self.rich_run(scene)
        assert scene.deliver(run)
        self.check(scene, run)

    def test_files(self, scene: Scene) -> None:
        start = scene.start()
        files = [
            scene.artifact(start, "empty", b""),
            scene.artifact(start, "model/weights.bin", bytes(range(256)) * 4000, type="model", metadata={"layers": 3}),
            scene.artifact(start, "twice.txt", b"first"),
            scene.artifact(start, "twice.txt", b"second"),
            Artifact(time=START, name="far/away.bin", uri="s3://bucket/key"),
        ]
        run = scene.record(start, files)
        assert scene.deliver(run)
        self.check(scene, run)

    def test_nested_runs(self, scene: Scene) -> None:
        parent = scene.start()
        child = scene.start(parent=parent.id)
        folders = [scene.record(start, [points_of("loss", (1, 1, 0.5))]) for start in (parent, child)]
        for folder in folders:
            assert scene.deliver(folder)
            self.check(scene, folder)
        assert scene.find(folders[1]).parent == parent.id

    def test_a_child_before_its_parent(self, scene: Scene) -> None:
        parent = scene.start()
        child = scene.record(scene.start(parent=parent.id), [])
        assert scene.deliver(child)
        assert scene.deliver(scene.record(parent, []))
        self.check(scene, child)
        assert scene.find(child).parent == parent.id

    def test_what_could_not_be_captured(self, scene: Scene) -> None:
        failures = [CaptureFailed(time=START, what=what, error=f"OSError: no {what}") for what in ("code", "code and environment")]
        run = scene.record(scene.start(), [*failures, CaptureFailed(time=START + 1, what="code", error="TimeoutError: 20 s")])
        assert scene.deliver(run)
        self.check(scene, run)

    @pytest.mark.parametrize("original", ["a" * 32, "mlflow:http://127.0.0.1:5000#abc"])
    def test_a_run_that_repeats_another(self, scene: Scene, original: str) -> None:
        run = scene.record(scene.start(reproduces=original), [])
        assert scene.deliver(run)
        self.check(scene, run)

    @pytest.mark.parametrize("status", ["finished", "failed", "killed"])
    def test_every_way_to_end(self, scene: Scene, status: str) -> None:
        run = scene.record(scene.start(), [], status=status)
        assert scene.deliver(run)
        self.check(scene, run)
        assert scene.find(run).status == status

    def test_a_run_that_vanished_reads_crashed(self, scene: Scene) -> None:
        run = scene.record(scene.start(), [points_of("loss", (1, 1, 0.5))], status=None)
        assert scene.deliver(run)
        self.check(scene, run)
        assert scene.read(run).state.status == "crashed"

    # -- listings

    def test_listings_filter(self, scene: Scene) -> None:
        runs = [
            scene.record(scene.start(project=project, time=START + place * 1_000_000, tags={"n": str(place)}), [], status=status)
            for place, (project, status) in enumerate([("one", "finished"), ("one", "failed"), ("two", "finished")])
        ]
        for run in runs:
            assert scene.deliver(run)
        source = scene.backend.source()

        def chosen(**conditions: Any) -> list[str]:
            return [ref.id for ref in source.runs(RunFilter(**conditions))]

        try:
            ids = [run.id for run in runs]
            assert {"one", "two"} <= set(source.projects())
            assert chosen(projects=["one"]) == ids[:2]
            assert chosen(projects=["one", "two"], statuses=["finished"]) == [ids[0], ids[2]]
            assert chosen(projects=["one"], tags={"n": "1"}) == [ids[1]]
            assert chosen(projects=["one"], since=START + 500_000) == [ids[1]]
            assert chosen(projects=["one"], until=START + 500_000) == [ids[0]]
            assert chosen(ids=[ids[2]]) == [ids[2]]
            assert chosen(projects=["no such project"]) == []
        finally:
            source.close()

    # -- what they share

    def rich_run(self, scene: Scene) -> RunFolder:
        """Return a run with something of everything."""
        start = scene.start(tags={"team": "vision", "base": None}, group="sweep", job_type="train", notes="notes", user="ann", host="node1")
        untracked = scene.artifact(start, "code/untracked/src/new.py", b"x = 1\n")
        lock = scene.artifact(start, "environment/uv.lock", b"version = 1\n", type="lock file")
        records: list[Record] = [
            untracked,
            CodeVersion(
                time=START, vcs="git", commit="c0ffee", branch="main", remote="https://example.org/r.git", dirty=True,
                diff="--- a\n+++ b\n-\udcff\n", entry_point="train.py", command=["python", "train.py", "--lr", "0.1"], working_dir=".",
                root="/home/ann/digits", entry_kind="script", remotes={"origin": "https://example.org/r.git", "fork": "git@b:f.git"},
                untracked=[ArtifactRef(name=untracked.name, sha256=str(untracked.sha256))],
                submodules=[Submodule(path="lib", commit="beef", remote="https://example.org/lib.git", dirty=True, diff="+\u00e9\n")],
                omitted=[Omission(name="data.bin", reason="too large")],
            ),
            lock,
            Environment(
                time=START, host="node1", python="3.12.1", packages={"numpy": "2.0.0", "svc": "0.1"}, os="Linux", cpu="x", cpu_count=8,
                memory=2**35, prefix="/venv", prefix_kind="venv", sources={"svc": PackageSource(kind="editable", url="/home/ann/svc")},
                installers={"uv": 2}, lock_files=[ArtifactRef(name=lock.name, sha256=str(lock.sha256))], libc="glibc 2.36", cpu_limit=1.5,
                gpus=[Gpu(name="H100", memory=2**36, uuid="GPU-1", number=3)], driver="550", cuda="12.4", container="podman", image="i:1",
                scheduler={"RANK": "0"}, variables={"TZ": "UTC"}, omitted=[Omission(name="poetry.lock", reason="too large")],
            ),
            Environment(time=START, host="node2", python="3.12.1"),
            DataVersion(time=START, name="digits", role="train", uri="s3://b/d.csv", digest="0" * 64, algorithm="sha256", size=10, rows=3),
            DataVersion(time=START, name="digits", role="test", digest="1" * 64, data_schema={"x": "float"}, profile={"mean": 0.5}),
            scene.artifact(start, "data/digits.files.jsonl", b'{"path":"a.csv","size":1,"digest":"ab"}\n'),
            DataVersion(
                time=START, name="folder", role="train", uri="file:///data/digits", path="digits", source_type="local", digest="2" * 64,
                algorithm="sha256-tree", version="md5:ab", size=1, file_list=ArtifactRef(name="data/digits.files.jsonl", sha256="3" * 64),
                omitted=[Omission(name="b.csv", reason="permission denied")],
            ),
            DataVersion(
                time=START, name="table", digest="4" * 64, algorithm="sha256-table", rows=2,
                columns=[DataColumn(name="x", type="int64", digest="5" * 64), DataColumn(name="y", type="object")],
            ),
            Hyperparameters(
                time=START, values={"lr": 0.1, "model": {"depth": 3}}, sources={"lr": "file a.yaml", "model": {"depth": "default"}}
            ),
            MetricDefinition(time=START, name="val/*", x="epoch", goal="max", summary="max"),
            points_of("loss", *((step, step * 1000, 1 / (step + 1)) for step in range(100))),
            *(Metrics(time=START + step, step=step, values={"val/acc": step / 10, "epoch": step}) for step in range(10)),
            Metrics(time=START, step=None, values={"system/cpu": 12.5, "system/n2/process_count": 3}, source="system"),
            Summary(time=START, values={"best": 0.97, "verdict": "good"}),
            scene.artifact(start, "notes.txt", b"some notes", media_type="text/plain"),
            LogLines(time=START, stream="stdout", times=[START, START + 1_000_000], lines=["epoch 1", "\x1b[1mbold\x1b[0m \u00e9"]),
            LogLines(time=START, stream="stderr", times=[START + 2_000_000], lines=["a warning"]),
            LogLines(time=START, stream="stderr", label="rank 3", times=[START + 3_000_000], lines=["[a] warning"]),
        ]  # fmt: skip
        return scene.record(start, records)

    def check(self, scene: Scene, run: RunFolder) -> None:
        """The service holds the run natively, less what was declared, and exactly through the attached records."""
        result = scene.verify(run)
        assert not result.differences, "\n".join(map(str, result.differences))
        assert result.verdict.startswith("identical"), result
        assert result.complete
        assert result.attached != "different"

"""Every type of attribute, from both generations of the exporter."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from multitrack.backend import RunFilter
from multitrack.records import Histogram, Points
from support.neptune_exports import CREATED, Export, file, point, scalar, sys_2x, sys_3x, us
from support.neptune_reading import Reading

Read = Callable[..., Reading]
T = CREATED + timedelta(seconds=1)
PNG = b"\x89PNG\r\n\x1a\n" + b"not much of a picture"


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_params_keep_type_and_value(export: Export, read: Read) -> None:
    when = datetime(2025, 3, 4, 5, 6, 7, 89000, tzinfo=UTC)
    rows = [
        scalar("a/int", 2**53 + 1), scalar("a/float", 10.0), scalar("a/bool", False), scalar("a/text", "10"),
        scalar("a/when", when), scalar("a/set", ["y", "x"]), scalar("a/inf", math.inf), scalar("top", -1), scalar("a/empty", ""),
    ]  # fmt: skip
    export.run("R-1", [sys_2x("R-1") + rows])
    params = read().state("R-1").params

    assert params == {
        "a": {
            "int": 2**53 + 1, "float": 10.0, "bool": False, "text": "10", "when": "2025-03-04T05:06:07.089000+00:00", "set": ["x", "y"],
            "inf": math.inf, "empty": "",
        },
        "top": -1,
    }  # fmt: skip
    assert [type(params["a"][name]) for name in ("int", "float", "bool")] == [int, float, bool]
    assert datetime.fromisoformat(params["a"]["when"]) == when


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0), (3.0, 3), (-2, -2), (0.5, 0.5), (0.1, 0.1), (999_999_999_999, 999_999_999_999), (1e-6, 1e-6), (None, None)],
)
def test_steps_are_exact(export: Export, read: Read, step: float | None, expected: float | None) -> None:
    export.run("R-1", [sys_2x("R-1"), [point("loss", step, T, 1.0), point("loss", 7.25, T, 2.0)]])
    steps = read().state("R-1").metrics["loss"].steps

    assert (list(steps), type(steps[0])) == ([expected, 7.25], type(expected))


def test_values_of_points(export: Export, read: Read) -> None:
    values = [1.0, -0.0, math.inf, -math.inf, 5e-324, 1 / 3]
    export.run("r", [sys_3x("r"), [point("loss", step, T, value) for step, value in enumerate(values)]])
    loss = read().state("r").metrics["loss"]

    assert list(map(repr, loss.values)) == list(map(repr, values))
    assert set(loss.times) == {us(T)}
    assert loss.source == "user"


def test_histograms(export: Export, read: Read) -> None:
    counts = {"type": "COUNTING", "edges": [0.0, 1.0, 3.0], "values": [4.0, 2.0]}
    density = {"type": "DENSITY", "edges": [0.0, 1.0, 3.0], "values": [0.5, 0.25]}
    export.run("r", [sys_3x("r"), [point("h", 1, T, counts, "histogram_series"), point("h", 2, T, density, "histogram_series")]])

    first, second = read().state("r").metrics["h"].values
    assert first == Histogram(edges=[0.0, 1.0, 3.0], counts=[4, 2])
    assert second == Histogram(edges=[0.0, 1.0, 3.0], counts=[0.5, 0.5])  # what lies between the edges


def test_text_series_and_the_console_of_scale(export: Export, read: Read) -> None:
    lines = [point("runtime/stdout", step, T, text, "string_series") for step, text in enumerate(["one", "", "two\n"])]
    errors = [point("runtime/stderr", 0, T, "oh", "string_series")]
    export.run("r", [sys_3x("r"), [*lines, *errors, point("notes", 1, T, "well\ndone", "string_series")]])
    state = read().state("r")

    assert [(line.stream, line.text) for line in state.console] == [("stderr", "oh"), ("stdout", "one"), ("stdout", ""), ("stdout", "two")]
    assert list(state.metrics["notes"].values) == ["well\ndone"]


def test_resource_usage_is_of_the_system(export: Export, read: Read) -> None:
    rows = [scalar("monitoring/0a1b2c3d/hostname", "node1"), scalar("monitoring/0a1b2c3d/pid", "17")]
    export.run("R-1", [sys_2x("R-1") + rows, [point("monitoring/0a1b2c3d/gpu_0_memory", 0, T, 3.5)]])
    state = read().state("R-1")

    assert state.metrics["system/gpu_0_memory"].source == "system"
    assert (state.host, state.tags["monitoring/0a1b2c3d/pid"]) == ("node1", "17")


def test_several_processes_are_kept_apart(export: Export, read: Read) -> None:
    hosts = [scalar("monitoring/0a1b2c3d/hostname", "node1"), scalar("monitoring/11111111/hostname", "node2")]
    rows = [point("monitoring/0a1b2c3d/cpu", 0, T, 1.0), point("monitoring/11111111/cpu", 0, T, 2.0)]
    out = [point("monitoring/11111111/stdout", 0, T, "hi\n", "string_series")]
    export.run("R-1", [sys_2x("R-1") + hosts, rows, out])
    state = read().state("R-1")

    assert set(state.metrics) == {"system/0a1b2c3d/cpu", "system/11111111/cpu"}
    assert [(line.label, line.text) for line in state.console] == [("11111111", "hi")]
    assert set(state.environments) == {"node1", "node2"}


def test_files_of_scale(export: Export, read: Read, tmp_path: Path) -> None:
    export.content("r/model.pt", b"weights")
    export.content("r/val/pred/step_1_500000.png", PNG)
    export.content("r/val/text/step_2_000000.txt", b"two")
    rows = [
        file("model", "r/model.pt"),
        file("val/pred", "r/val/pred/step_1_500000.png", "file_series", 1.5, T),
        file("val/text", "r/val/text/step_2_000000.txt", "file_series", 2, T),
    ]
    export.run("r", [sys_3x("r"), rows])
    reading = read()
    state = reading.state("r")

    assert reading.fetch("r", "model.pt", tmp_path / "f") == b"weights"
    assert (list(state.metrics["val/pred"].steps), list(state.metrics["val/pred"].times)) == ([1.5], [us(T)])
    assert state.artifacts["val/text/2.txt"].step == 2
    assert reading.fetch("r", "val/text/2.txt", tmp_path / "f") == b"two"
    assert not [line for line in reading.notices("r") if "positions" in line]


def test_file_sets_are_the_files_in_them(export: Export, read: Read, tmp_path: Path) -> None:
    export.content("acme/vision/R-1/set/files.zip", zipped(**{"a.txt": b"a", "sub/b.txt": b"b"}))
    export.content("acme/vision/R-1/plain/x.txt", b"x")
    export.content("acme/vision/R-1/plain/y.txt", b"y")
    export.content("acme/vision/R-1/evil/files.zip", zipped(**{"../../x": b"!"}))
    export.content("acme/vision/R-1/broken/files.zip", b"no archive")
    rows = [file(name, f"acme/vision/R-1/{name}", "file_set") for name in ("set", "plain", "evil", "broken")]
    export.run("R-1", [sys_2x("R-1"), rows])
    reading = read()

    assert set(reading.state("R-1").artifacts) == {
        "set/a.txt", "set/sub/b.txt", "plain/x.txt", "plain/y.txt", "evil/files.zip", "broken/files.zip",
    }  # fmt: skip
    assert reading.fetch("R-1", "set/sub/b.txt", tmp_path / "f") == b"b"
    assert reading.fetch("R-1", "broken/files.zip", tmp_path / "f") == b"no archive"


def test_artifacts_are_data_versions(export: Export, read: Read, tmp_path: Path) -> None:
    listed = [
        {"filePath": name, "fileHash": hash_, "type": "S3", "size": 5, "metadata": [{"key": "location", "value": f"s3://bucket/d/{name}"}]}
        for name, hash_ in (("b/2.csv", "22"), ("1.csv", "11"))
    ]
    place = "acme/vision/R-1/data/files_list.json"
    export.content(place, json.dumps(listed).encode())
    export.run("R-1", [sys_2x("R-1"), [file("data", place, "artifact")]])
    export.content(place.replace("R-1", "R-2"), json.dumps(listed[::-1]).encode())
    export.run("R-2", [sys_2x("R-2"), [file("data", place.replace("R-1", "R-2"), "artifact")]])
    reading = read()
    (data,) = reading.state("R-1").data.values()
    (again,) = reading.state("R-2").data.values()

    assert (data.name, data.uri, data.source_type, data.size, data.algorithm) == ("data", "s3://bucket/d", "s3", 10, "neptune-files")
    assert data.digest == again.digest  # whatever their order
    assert json.loads(reading.fetch("R-1", "data/files_list.json", tmp_path / "f")) == listed


def test_the_run_itself(export: Export, read: Read) -> None:
    told = {
        "name": "run one", "description": "# Notes", "hostname": "node1", "custom_run_id": "mine", "failed": True, "trashed": True,
        "ping_time": CREATED + timedelta(hours=2),
    }  # fmt: skip
    export.run("R-1", [[*sys_2x("R-1", **told), scalar("sys/tags", ["b", "a"]), scalar("sys/group_tags", ["g2", "g1"])]])
    reading = read()
    state = reading.state("R-1")

    assert (state.name, state.notes, state.user, state.host, state.status) == ("run one", "# Notes", "ada", "node1", "failed")
    assert (state.started, state.ended, state.deleted) == (us(CREATED), us(CREATED + timedelta(hours=2)), True)
    assert [tag for tag, value in state.tags.items() if value is None] == ["a", "b", "sys/group_tags/g1", "sys/group_tags/g2"]
    assert state.tags["sys/custom_run_id"] == "mine"
    assert not reading.refs()
    assert reading.refs(deleted=True)["R-1"].deleted


def test_without_anything_of_sys_the_points_tell_when_it_was(export: Export, read: Read) -> None:
    export.run("R-1", [[point("loss", step, T + timedelta(seconds=step), 1.0) for step in range(3)]])
    ref = read().refs()["R-1"]

    assert (ref.name, ref.started, ref.ended, ref.status) == ("R-1", us(T), us(T + timedelta(seconds=2)), "finished")


def test_code_of_scale(export: Export, read: Read) -> None:
    told = {
        "commit/commit_id": "c" * 40, "commit/message": "Fix it", "branch": "main", "remote/origin": "https://me:secret@host/r.git",
        "remote/fork": "git@host:r.git", "dirty": True, "run_command": "python train.py --name 'a b'",
    }  # fmt: skip
    export.content("r/source_code/diff/head.patch", b"diff --git a/x b/x\n\xff")
    rows = [scalar(f"source_code/{name}", value) for name, value in told.items()]
    export.run("r", [sys_3x("r") + rows, [file("source_code/diff/head", "r/source_code/diff/head.patch")]])
    state = read().state("r")

    code = state.code
    assert code is not None
    assert (code.commit, code.branch, code.dirty) == ("c" * 40, "main", True)
    assert (code.remote, code.remotes["fork"]) == ("https://host/r.git", "git@host:r.git")
    assert code.command == ["python", "train.py", "--name", "a b"]
    assert code.diff is not None
    assert code.diff.encode("utf-8", "surrogateescape") == b"diff --git a/x b/x\n\xff"
    assert not code.omitted
    assert state.tags["source_code/commit/message"] == "Fix it"
    assert "secret" not in str(read().records("r"))


def test_models_are_runs_of_their_own(export: Export, read: Read, tmp_path: Path) -> None:
    export.content("model_versions/R-MOD-1/weights", b"w", files="model_files")
    export.run("R-MOD", [sys_2x("R-MOD", name="detector")], scope="models", data="model_data")
    rows = [scalar("sys/model_id", "R-MOD"), scalar("lr", 0.1), file("weights", "model_versions/R-MOD-1/weights")]
    export.run("R-MOD-1", [sys_2x("R-MOD-1") + rows], scope="model_versions", data="model_data")
    export.run("R-1", [sys_2x("R-1")])
    reading = read()
    refs = reading.refs()

    assert set(refs) == {"R-MOD", "R-MOD-1", "R-1"}
    assert refs["R-MOD-1"].parent == refs["R-MOD"].id
    assert (reading.state("R-MOD").job_type, reading.state("R-MOD-1").job_type) == ("model", "model version")
    assert reading.fetch("R-MOD-1", "weights", tmp_path / "f") == b"w"


def test_long_series_come_in_chunks(export: Export, read: Read) -> None:
    rows = [[point("loss", step, T, float(step)) for step in range(start, start + 5000)] for start in range(0, 25_000, 5000)]
    interleaved = [point(f"m{step % 3}", step, T, float(step)) for step in range(36_000)]
    export.run("R-1", [sys_2x("R-1"), *rows], [interleaved])
    records = [record for record in read().records("R-1") if isinstance(record, Points)]

    assert max(len(record.values) for record in records) <= 10_000
    assert len(records) <= 5 + 3 * 2  # not a record for each change of series
    metrics = read().state("R-1").metrics
    assert list(metrics["loss"].values) == [float(step) for step in range(25_000)]
    assert [len(metrics[f"m{number}"]) for number in range(3)] == [12_000] * 3
    assert list(metrics["m1"].values) == [float(step) for step in range(1, 36_000, 3)]


def test_projects_are_kept_apart(export: Export, read: Read) -> None:
    for project in ("acme/vision", "acme_vision", "other/vision"):
        Export(export.root, project).run("R-1", [sys_2x("R-1", name=project)])
    reading = read()

    assert list(reading.source.projects()) == ["acme/vision", "acme_vision", "other/vision"]
    assert len({ref.id for ref in reading.source.runs(RunFilter())}) == 3
    assert list(reading.refs(projects=["acme_vision"])) == ["R-1"]


def test_a_type_that_nobody_knows_is_named(export: Export, read: Read) -> None:
    rows = [{"attribute_path": "a/b", "attribute_type": "notebook_ref", "string_value": "x"}]
    export.run("R-1", [sys_2x("R-1") + rows, [point("loss", 0, T, 1.0)]])
    reading = read()

    assert list(reading.state("R-1").metrics) == ["loss"]
    assert reading.notices("R-1") == ["not read, since their type is unknown: 'a/b' (notebook_ref)"]

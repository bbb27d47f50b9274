"""An export that the real neptune-exporter wrote from one run of the real 1.x client."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from multitrack.records import ArtifactRef
from multitrack_neptune import NeptuneBackend, NeptuneSettings
from support.neptune_exports import us
from support.neptune_reading import Reading

SAMPLE = Path(__file__).parent / "data" / "export-2x"
CREATED = us(datetime(2026, 11, 23, 7, 49, 43, 208000, tzinfo=UTC))


@pytest.fixture
def reading() -> Reading:
    return Reading(SAMPLE, source_tz="America/New_York")


def test_the_run_itself(reading: Reading) -> None:
    state = reading.state("VIS-1")

    assert (state.project, state.name, state.user, state.host, state.group) == ("acme/vision", "exp-a", "me", "vm", "g")
    assert (state.started, state.ended, state.status) == (CREATED, CREATED + 1_000_000, "finished")
    assert state.tags["t1"] is None
    assert state.tags["sys/custom_run_id"] == "cid-sync-1795420182.712633"
    assert state.notes is None  # an empty description is none
    ref = reading.refs()["VIS-1"]
    assert (ref.id, ref.started, ref.ended, ref.status) == (state.id, state.started, state.ended, state.status)


def test_params_keep_their_types(reading: Reading) -> None:
    assert reading.state("VIS-1").params == {"params": {"lr": 0.1, "n": 3, "flag": True, "opt": "adam"}}


def test_points_with_fractional_steps_and_their_times(reading: Reading) -> None:
    loss = reading.state("VIS-1").metrics["metrics/loss"]

    assert list(map(repr, loss.steps)) == ["0", "0.5", "1"]
    assert list(loss.values) == [1.0, 0.5, 1 / 3]
    assert list(loss.times) == [1_700_000_000_000_000, 1_700_000_001_000_000, 1_700_000_002_000_000]  # as the client was told


def test_a_console_line_is_put_together_from_what_each_write_was_given(reading: Reading) -> None:
    console = reading.state("VIS-1").console

    assert [line.text for line in console][:3] == ["init 1.42", "logged 0.93", "waited 0.97"]
    assert len(console) == 5
    assert {line.stream for line in console} == {"stdout"}
    assert console[0].time == us(datetime(2026, 11, 23, 7, 49, 44, 317000, tzinfo=UTC))


def test_text_series_are_points(reading: Reading) -> None:
    assert list(reading.state("VIS-1").metrics["logs/t"].values) == ["hello"]


def test_code(reading: Reading) -> None:
    code = reading.state("VIS-1").code

    assert code is not None
    assert (code.vcs, code.commit, code.dirty, code.entry_point, code.entry_kind) == ("git", None, True, "ot.py", "script")
    assert code.diff is not None
    assert code.diff.startswith("diff --git a/ot.py b/ot.py")
    assert [omission.name for omission in code.omitted] == ["commit"]
    assert [reference.name for reference in code.modules] == ["code/modules/w/b.csv", "code/modules/w/a.csv"]


def test_environment_and_data(reading: Reading) -> None:
    state = reading.state("VIS-1")
    (environment,) = state.environments.values()
    (data,) = state.data.values()

    assert environment.host == "vm"
    assert len(environment.packages) == 157
    assert environment.packages["aiohttp"] == "3.14.5"
    assert (data.name, data.uri, data.source_type, data.size) == ("data/train", "file:///home/ada/vision/a.csv", "local", 4)
    assert [(file.path, file.digest) for file in data.files] == [("a.csv", "94bfd0c75fad9f35074e625f82da8d3aeb675170")]
    assert data.digest == "8afba1c71abc44ecc715842108ee748416d66bec5f123bf63570368dc846b3c2"


def test_files_file_sets_and_images(reading: Reading, tmp_path: Path) -> None:
    state = reading.state("VIS-1")

    assert reading.fetch("VIS-1", "files/m", tmp_path / "m") == b"hi"
    assert len(reading.fetch("VIS-1", "files/set/w/a.csv", tmp_path / "a")) == 4
    assert reading.fetch("VIS-1", "code/modules/w/a.csv", tmp_path / "c") == (tmp_path / "a").read_bytes()
    images = state.metrics["img"]
    assert list(images.steps) == [0, 1]
    for reference in images.values:
        assert isinstance(reference, ArtifactRef)
        assert state.artifacts[reference.name].sha256 == reference.sha256
        assert reading.fetch("VIS-1", reference.name, tmp_path / "image").startswith(b"\x89PNG")


def test_every_attribute_is_somewhere(reading: Reading) -> None:
    state = reading.state("VIS-1")

    assert set(state.metrics) == {"metrics/loss", "logs/t", "img"}
    assert {name for name in state.artifacts if not name.startswith("media/")} == {
        "code/modules/w/a.csv", "code/modules/w/b.csv", "data/train/files_list.json", "files/m", "files/set/w/a.csv", "files/set/w/b.csv",
        "source_code/diff", "source_code/requirements",
    }  # fmt: skip
    assert {name for name in state.tags if "/" in name} == {
        "sys/id", "sys/custom_run_id", "sys/size", "sys/modification_time", "sys/ping_time", "sys/running_time", "sys/monitoring_time",
        "monitoring/52f3fed2/pid", "monitoring/52f3fed2/tid",
    }  # fmt: skip


def test_the_shift_is_noticed_where_no_zone_was_named() -> None:
    (warning,) = [line for line in Reading(SAMPLE).notices("VIS-1") if "--source-tz" in line]
    assert "-05:00" in warning
    assert not [line for line in Reading(SAMPLE, source_tz="America/New_York").notices("VIS-1") if "--source-tz" in line]


def test_check_tells_what_is_there() -> None:
    assert NeptuneBackend(str(SAMPLE), NeptuneSettings()).check() == "a neptune-exporter folder: 1 run of 1 project"


def test_the_data_folder_alone_will_do(reading: Reading) -> None:
    assert Reading(SAMPLE / "data", source_tz="America/New_York").records("VIS-1") == reading.records("VIS-1")


def test_reading_twice_gives_the_same_records(reading: Reading) -> None:
    assert reading.records("VIS-1") == reading.records("VIS-1")
    assert reading.refs() == Reading(SAMPLE, source_tz="America/New_York").refs()
    assert reading.refs()["VIS-1"].version != Reading(SAMPLE).refs()["VIS-1"].version  # another zone: the run is to be moved again

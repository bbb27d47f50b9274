"""neptune-scale's databases: `fixtures/scale-0.30` was written by the real client, a run and a run that was forked off it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.backend import RunFilter
from multitrack.errors import PermanentError
from multitrack.records import CaptureFailed, Histogram
from multitrack.state import RunState, fold
from multitrack_neptune import NeptuneBackend
from multitrack_neptune.offline.messages import Bins, Timestamp, read_creation, read_update
from multitrack_neptune.offline.wire import WireError, read_fields, signed

FIXTURE = Path(__file__).parent / "fixtures" / "scale-0.30"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / ".neptune"))


def states(folder: Path) -> dict[str | None, RunState]:
    source = NeptuneBackend(str(folder)).source()
    return {run.native_id: fold(source.read(run)) for run in source.runs(RunFilter())}


def test_a_run_of_the_real_client_is_read_whole(folder: Path) -> None:
    run = states(folder)["base"]
    assert (run.project, run.name, run.status, run.group) == ("acme/vision", "baseline", "finished", "g")
    assert run.tags["a"] is None
    assert "b" not in run.tags
    assert run.params == {
        "params": {"lr": 0.1, "n": 2**40, "neg": -5, "flag": True, "opt": "adam", "when": "2024-01-02T03:04:05.678000+00:00"}
    }
    loss = run.metrics["metrics/loss"]
    assert loss.steps == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6, 6.5]
    assert loss.values == [1.0, 0.5, 1 / 3, 0.25, 0.2, 1 / 6, 0.125, 8.0]
    assert loss.times[0] == 1_704_067_200_500_000
    assert run.metrics["weights"].values == [Histogram(edges=[0.0, 1.0, 2.5], counts=[3, 4])]
    assert run.metrics["dens"].values == [Histogram(edges=[0.0, 1.0, 3.0], counts=[0.5, 0.5])]
    assert run.metrics["text"].values == ["hi"]
    assert [line.text for line in run.console] == ["epoch 1"]
    assert set(run.artifacts) == {"notes.txt", "samples/3.5.txt"}


def test_a_provisional_point_stays_only_until_a_later_one_comes(folder: Path) -> None:
    loss = states(folder)["base"].metrics["metrics/loss"]
    assert 9.0 not in loss.values
    assert 8.0 in loss.values


def test_a_fork_has_the_points_up_to_it_and_names_its_parent(folder: Path) -> None:
    runs = states(folder)
    child = runs["child"]
    assert child.parent == runs["base"].id
    assert child.metrics["metrics/loss"].steps == [0.5, 1.5, 2.5, 3.5]
    assert child.metrics["metrics/loss"].values == [1.0, 0.5, 1 / 3, 0.75]
    assert not child.console


def test_a_fork_without_its_parent_says_what_is_missing(folder: Path) -> None:
    shutil.rmtree(next(folder.glob("*_base_*")))
    child = states(folder)["child"]
    assert child.metrics["metrics/loss"].steps == [3.5]
    assert "'base', which is not here" in child.failures["neptune operations"]


def test_files_lie_beside_the_database_wherever_it_was_moved(folder: Path, tmp_path: Path) -> None:
    source = NeptuneBackend(str(folder)).source()
    (run,) = source.runs(RunFilter(ids=["base"]))
    artifacts = {record.name: record for record in source.read(run) if record.kind == "artifact"}
    source.fetch(run, artifacts["notes.txt"], tmp_path / "notes")  # type: ignore[arg-type]
    assert (tmp_path / "notes").read_bytes() == b"some notes"
    assert artifacts["samples/3.5.txt"].step == 3.5  # type: ignore[attr-defined]
    for file in folder.glob("*/*.txt"):
        file.unlink()
    with pytest.raises(PermanentError, match="is not on this machine"):
        source.fetch(run, artifacts["notes.txt"], tmp_path / "notes")  # type: ignore[arg-type]


def test_operations_that_a_server_has_acknowledged_are_counted(folder: Path) -> None:
    with closing(sqlite3.connect(next(folder.glob("*_base_*/*.sqlite3")))) as database:
        database.execute("DELETE FROM run_operations WHERE sequence_id <= 3")
        database.execute("UPDATE run_operations SET operation = x'ff' WHERE sequence_id = 5")
        database.commit()
    source = NeptuneBackend(str(folder)).source()
    (run,) = source.runs(RunFilter(ids=["base"]))
    (missing,) = [record.error for record in source.read(run) if isinstance(record, CaptureFailed)]
    assert missing.startswith("the first 3 operations are not in run_operations.sqlite3 any more")
    assert missing.endswith("1 of 16 operations in run_operations.sqlite3 cannot be read")


@pytest.mark.parametrize("damage", ["text", "version", "empty"])
def test_a_damaged_database_is_named_and_the_others_are_read(folder: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    file = next(folder.glob("*_base_*/*.sqlite3"))
    if damage == "text":
        file.write_bytes(b"no database at all" * 100)
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        with closing(sqlite3.connect(file)) as database:
            database.execute("UPDATE metadata SET version = 'v9'")
            database.commit()
    assert set(states(folder)) == {"child"}
    assert str(file) in caplog.text


def test_what_was_killed_is_in_the_log_beside_the_database(folder: Path, tmp_path: Path) -> None:
    """A process that is killed leaves its last operations in sqlite's write-ahead log."""
    file = next(folder.glob("*_child_*/*.sqlite3"))
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(
            "INSERT INTO run_operations SELECT 99, timestamp, 0, operation, 1 FROM run_operations ORDER BY sequence_id DESC LIMIT 1"
        )
        database.commit()
        shutil.copytree(folder, tmp_path / "killed")
    before = sorted((tmp_path / "killed").rglob("*"))
    assert len(states(tmp_path / "killed")["child"].metrics["metrics/loss"]) == 5
    assert sorted((tmp_path / "killed").rglob("*")) == before


def test_reading_leaves_nothing_in_the_folder(folder: Path) -> None:
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert states(folder)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


# -- the wire


def field(number: int, kind: int, data: bytes) -> bytes:
    return varint(number << 3 | kind) + (varint(len(data)) if kind == 2 else b"") + data


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_int64(value: int) -> None:
    inner = field(3, 0, varint(value % 2**64))
    update = read_update(field(4, 2, field(1, 2, b"n") + field(2, 2, inner)))
    assert update.assign == {"n": value}


@given(st.floats(allow_nan=False))
def test_every_double(value: float) -> None:
    update = read_update(field(8, 2, field(1, 2, b"m") + field(2, 2, field(1, 1, struct.pack("<d", value)))))
    assert update.append == {"m": value}


def test_steps_times_and_what_a_later_version_adds() -> None:
    step = field(1, 0, varint(10**11)) + field(2, 0, varint(250_000))
    time = field(1, 0, varint(2**64 - 5)) + field(2, 0, varint(4000)) + field(7, 2, b"new")
    value = field(4, 2, field(1, 2, b"t") + field(2, 2, field(8, 2, time)))
    update = read_update(field(1, 2, step) + field(2, 2, time) + value + field(99, 5, b"1234"))
    assert (update.step, update.time) == (10**11 + 0.25, -4_999_996)
    assert update.assign == {"t": Timestamp(-4_999_996)}


def test_counts_come_packed_or_one_by_one() -> None:
    packed = field(4, 2, field(1, 2, varint(300) + varint(1)))
    single = field(4, 2, field(1, 0, varint(300)) + field(1, 0, varint(1)))
    for counts in (packed, single):
        bins = field(1, 2, struct.pack("<3d", 0, 1, 2)) + counts
        update = read_update(field(8, 2, field(1, 2, b"h") + field(2, 2, field(14, 2, bins))))
        assert update.append == {"h": Bins([0.0, 1.0, 2.0], [300, 1], None)}


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_refused_and_nothing_else(data: bytes) -> None:
    for read in (read_creation, read_update, lambda d: list(read_fields(d))):
        with contextlib.suppress(WireError):
            read(data)  # type: ignore[operator]


def test_signed_numbers() -> None:
    assert [signed(value) for value in (0, 5, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 5, 2**63 - 1, -(2**63), -1]

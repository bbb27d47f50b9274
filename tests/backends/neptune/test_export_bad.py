"""Exports that are damaged, foreign or hostile: a clear line each, and the other runs are read."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multitrack.errors import ConfigError, PermanentError
from multitrack_neptune import NeptuneBackend, NeptuneSettings
from support.neptune_exports import CREATED, SCHEMA, Export, file, point, sanitize, scalar, sys_2x
from support.neptune_reading import Reading

Read = Callable[..., Reading]
T = CREATED + timedelta(seconds=1)


@pytest.fixture
def good(export: Export) -> Export:
    """An export with one good run, and one that a test is to spoil."""
    export.run("GOOD", [sys_2x("GOOD"), [point("loss", 0, T, 1.0)]])
    return export


def refused(reading: Reading, run: str) -> str:
    """Return why a run is refused; the good one is read all the same."""
    assert set(reading.refs()) == {"GOOD", run}
    assert len(reading.state("GOOD").metrics["loss"]) == 1
    with pytest.raises(PermanentError) as error:
        reading.records(run)
    assert "\n" not in str(error.value)
    return str(error.value)


def spoiled(export: Export) -> list[Path]:
    return export.run("BAD", [[*sys_2x("BAD"), scalar("lr", 0.1)]], [[point("loss", 0, T, 1.0)]], [[point("loss", 1, T, 2.0)]])


def test_a_missing_part(good: Export, read: Read) -> None:
    spoiled(good)[1].unlink()

    assert refused(read(), "BAD").startswith("part 1 is missing: ")
    partial = read(partial=True)
    assert list(partial.state("BAD").metrics["loss"].values) == [2.0]
    assert partial.notices("BAD") == ["part 1 is missing"]


def test_a_missing_first_part(good: Export, read: Read) -> None:
    spoiled(good)[0].unlink()

    assert refused(read(), "BAD").startswith("part 0 is missing: ")


@pytest.mark.parametrize("kept", [0, 3, 200, -10])
def test_a_file_that_is_cut_off(good: Export, read: Read, kept: int) -> None:
    path = spoiled(good)[1]
    path.write_bytes(path.read_bytes()[:kept])

    assert f"{sanitize('BAD')}_part_1.parquet cannot be read: " in refused(read(), "BAD")
    assert list(read(partial=True).state("BAD").metrics["loss"].values) == [2.0]


def test_a_hole_in_the_middle_of_a_file(good: Export, read: Read) -> None:
    (path,) = good.run("BAD", [sys_2x("BAD"), [point("loss", step, T, float(step * 7919 % 1000)) for step in range(5000)]])
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = b"\xff" * 4000
    path.write_bytes(content)

    assert "_part_0.parquet cannot be read: " in refused(read(), "BAD")


@pytest.mark.parametrize("seed", range(4))
def test_bytes_that_flipped(good: Export, read: Read, seed: int) -> None:
    """Whatever it does to a file, the others are read, and its own run is either read or refused in one line."""
    rng = random.Random(seed)
    series = [point("loss", step, T, float(step)) for step in range(300)]
    console = [point("monitoring/0a1b2c3d/stdout", step, T, "hi\n", "string_series") for step in range(50)]
    (path,) = good.run("BAD", [[*sys_2x("BAD"), scalar("set", ["x", "y"])], series, console])
    content = path.read_bytes()
    for _ in range(40):
        flipped = bytearray(content)
        for _ in range(rng.choice((1, 2, 8, 50))):
            flipped[rng.randrange(len(flipped))] = rng.randrange(256)
        path.write_bytes(flipped)
        reading = read(source_tz="Europe/Warsaw")
        refs = reading.refs(deleted=True)
        assert len(refs.pop("GOOD").tags) > 0
        for run in refs:
            with contextlib.suppress(PermanentError):
                reading.records(run)


def test_a_run_of_which_nothing_can_be_read_is_named_after_its_files(good: Export, read: Read) -> None:
    for path in spoiled(good):
        path.write_bytes(b"PAR1")
    reading = read(partial=True)

    assert refused(reading, "BAD")
    assert reading.refs()["BAD"].project == "acme/vision"


def test_a_run_that_was_never_finished(good: Export, read: Read) -> None:
    good.run("BAD", [sys_2x("BAD")], done=False)

    assert f"{sanitize('BAD')}_part_0.parquet.tmp was never finished" in refused(read(), "BAD")
    assert read(partial=True).state("BAD").user == "ada"


def write(export: Export, table: pa.Table) -> None:
    folder = export.root / "data" / sanitize(export.project)
    pq.write_table(table, folder / f"{sanitize('BAD')}_part_0.parquet")


def test_columns_of_another_version(good: Export, read: Read) -> None:
    rows = [{"project_id": good.project, "run_id": "BAD", **row} for row in sys_2x("BAD")]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)

    write(good, table.drop_columns(["step"]))
    assert "no column step" in refused(read(), "BAD")
    write(good, table.set_column(table.schema.get_field_index("step"), "step", table["step"].cast(pa.float64())))
    assert "step is double, not decimal128(18, 6)" in refused(read(), "BAD")
    write(good, table.append_column("audio_value", table["string_value"]))
    assert "an unknown column audio_value" in refused(read(), "BAD")
    write(good, table.select(table.schema.names[::-1]))  # in another order they are what they are
    assert read().state("BAD").user == "ada"


def test_rows_of_another_run(good: Export, read: Read) -> None:
    rows = [{"project_id": good.project, "run_id": run, **row} for run in ("BAD", "WORSE") for row in sys_2x(run)]
    write(good, pa.Table.from_pylist(rows, schema=SCHEMA))

    assert "holds rows of another run" in refused(read(), "BAD")


@pytest.mark.parametrize("place", ["../../../secret", "/etc/hostname", "link", "acme/../../../../secret", "", "links/secret"])
def test_paths_never_leave_the_folder(good: Export, read: Read, tmp_path: Path, place: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = good.content("x", b"").parent
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "links").symlink_to(tmp_path)
    rows = [file("evil", place), file("evils", place, "file_set"), file("data", place, "artifact"), file("img", place, "file_series", 0)]
    good.run("BAD", [sys_2x("BAD"), [*rows, file("source_code/requirements", place), file("source_code/diff", place)]])
    reading = read()
    ref, state = reading.refs()["BAD"], reading.state("BAD")

    assert len(state.artifacts) == 6
    for artifact in state.artifacts.values():
        with pytest.raises(PermanentError, match="leads out of the export's folder"):
            reading.source.fetch(ref, artifact, tmp_path / "to")
    assert (state.code, state.environments, state.data) == (None, {}, {})
    assert "secret" not in (tmp_path / "to").read_text() if (tmp_path / "to").exists() else True


def test_a_link_inside_a_file_set_does_not_leave_the_folder(good: Export, read: Read, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = good.content("set/a", b"a").parent
    (folder / "b").symlink_to(tmp_path / "secret")
    good.run("BAD", [sys_2x("BAD"), [file("set", "set", "file_set")]])
    reading = read()
    ref = reading.refs()["BAD"]

    (artifact,) = reading.state("BAD").artifacts.values()
    with pytest.raises(PermanentError, match="leads out"):
        reading.source.fetch(ref, artifact, tmp_path / "to")


def test_a_pipe_is_no_file(good: Export, read: Read) -> None:
    os.mkfifo(good.content("x", b"").parent / "pipe")
    good.run("BAD", [sys_2x("BAD"), [file("f", "pipe"), file("source_code/diff", "pipe")]])

    assert set(read().state("BAD").artifacts) == {"f", "source_code/diff"}


def test_files_that_are_gone(good: Export, read: Read, tmp_path: Path) -> None:
    good.run("BAD", [sys_2x("BAD"), [file("gone", "acme/gone"), file("img", "acme/img/0.png", "file_series", 0)]])
    reading = read()
    ref = reading.refs()["BAD"]

    for artifact in reading.state("BAD").artifacts.values():
        with pytest.raises(PermanentError, match="is not among the export's files"):
            reading.source.fetch(ref, artifact, tmp_path / "to")


def test_paths_that_were_written_on_windows(good: Export, read: Read, tmp_path: Path) -> None:
    good.content("acme/vision/W/model.pt", b"w")
    good.run("W", [sys_2x("W"), [file("model", "acme\\vision\\W\\model.pt")]])

    assert read().fetch("W", "model.pt", tmp_path / "f") == b"w"


def test_a_list_of_files_that_is_none(good: Export, read: Read) -> None:
    good.content("list.json", b'{"not": "a list"}')
    good.run("BAD", [sys_2x("BAD"), [file("data", "list.json", "artifact")]])

    assert not read().state("BAD").data
    assert "data/files_list.json: no list of files" in read().notices("BAD")[0]


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "data" / "x").mkdir(parents=True)
    (tmp_path / "data" / "x" / "y.parquet").touch()
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(PermanentError, match=r"export|there is no folder") as error:
            list(NeptuneBackend(str(folder), NeptuneSettings()).source().projects())
        assert "\n" not in str(error.value)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="the name of a time zone"):
        NeptuneSettings(source_tz="Mars/Olympus")


def test_a_file_of_errors_that_is_not_there(good: Export, read: Read) -> None:
    with pytest.raises(PermanentError, match="`errors`"):
        read(errors="/nowhere/errors.jsonl")


def test_an_export_is_not_written_to(good: Export) -> None:
    with pytest.raises((ConfigError, PermanentError), match="read, not written"):
        NeptuneBackend(str(good.root), NeptuneSettings()).sink()

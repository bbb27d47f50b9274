"""What travels with a run: its records, whole, and a marker that says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from multitrack.backend import ATTACHED_RECORDS, EVERYTHING, TAG_COMPLETE
from multitrack.config.filters import Filters, Selection
from multitrack.delivery import Delivery, attached_records, read_attachment
from multitrack.errors import RecordError
from multitrack.journal import Journal, RunFolder
from multitrack.records import Metrics, RunFinished
from multitrack.testing.memory import StoredRun, memory_backend
from support.journals import RUN_ID, metric, new_run, write_run, writing


def deliver(run: RunFolder, filters: Filters | None = None, *, attach: bool = True) -> StoredRun:
    backend = memory_backend(EVERYTHING)
    with Delivery(run, "t", backend, filters, attach=attach) as delivery:
        assert delivery.advance()
    return backend.service.runs()[RUN_ID]


def attached(stored: StoredRun, folder: Path) -> Path:
    path = folder / "attached.zst"
    path.write_bytes(stored.files[ATTACHED_RECORDS])
    return path


def test_every_record_travels_under_its_own_name(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with writing(run) as one, writing(run, begin=False) as two:
        one.append(metric(1))
        two.append(metric(2))
        one.append(RunFinished(time=3, status="finished"))
    stored = deliver(run)
    path = attached(stored, tmp_path)
    assert list(read_attachment(path)) == list(Journal(run).entries())
    assert list(attached_records(path)) == list(Journal(run).records())


def test_the_marker_counts_and_names_the_content(tmp_path: Path) -> None:
    import hashlib

    run = write_run(tmp_path, [metric(1), metric(2)])
    stored = deliver(run)
    marker = json.loads(stored.marker or "")
    content = zstandard.ZstdDecompressor().stream_reader(stored.files[ATTACHED_RECORDS]).read()
    assert marker["sha256"] == hashlib.sha256(content).hexdigest()
    assert (marker["records"], marker["points"], marker["status"]) == (4, 2, "finished")
    assert stored.concluded is not None
    assert stored.concluded["tags"].keys() == {TAG_COMPLETE}


def test_what_the_target_is_not_to_get_does_not_travel_either(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(1, "secret"), metric(2, "loss")])
    stored = deliver(run, Filters(exclude=Selection(metrics=("secret",))))
    records = list(attached_records(attached(stored, tmp_path)))
    assert [record.values for record in records if isinstance(record, Metrics)] == [{"loss": 2.0}]


def test_it_can_be_left_at_home(tmp_path: Path) -> None:
    stored = deliver(write_run(tmp_path), attach=False)
    assert stored.files == {}
    assert "sha256" not in json.loads(stored.marker or "")


def test_a_line_that_is_no_record_does_not_spoil_the_rest(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(1)])
    path = next(run.records.glob("*.jsonl"))
    path.write_bytes(path.read_bytes() + b"half a li\n")
    assert len(list(read_attachment(attached(deliver(run), tmp_path)))) == 3


def test_a_file_without_its_first_line_still_tells_whose_its_records_are(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(1)])
    path = next(run.records.glob("*.jsonl"))
    path.write_bytes(b"damage" + path.read_bytes()[6:])
    entries = list(read_attachment(attached(deliver(run), tmp_path)))
    assert {entry.writer for entry in entries} == {path.stem}
    assert len(entries) == 3


@pytest.mark.parametrize("cut", [slice(0, 40), slice(5, None)])
def test_a_damaged_file_is_an_error(tmp_path: Path, cut: slice) -> None:
    run = write_run(tmp_path, [metric(i) for i in range(100)])
    path = attached(deliver(run), tmp_path)
    path.write_bytes(path.read_bytes()[cut])
    with pytest.raises(RecordError):
        list(read_attachment(path))


def test_nothing_is_left_beside_the_journal(tmp_path: Path) -> None:
    run = write_run(tmp_path, [metric(1)])
    deliver(run)
    assert not list(run.delivery.glob("*.zst"))

"""The sink into an offline folder: what it writes is what the client would, and what is cut off in the middle is not there."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from multitrack.backend import Batch, Conclusion, Entry, RunFilter
from multitrack.errors import ConfigError, TransientError
from multitrack.records import Hyperparameters, Metrics, Points, Record, RunStarted, RunUpdated, derive_writer_id
from multitrack.state import RunState, fold
from multitrack_neptune import NeptuneBackend
from multitrack_neptune.offline.log import Log
from multitrack_neptune.offline.sink import OfflineSink, uuid_of

RUN = "34e85620af0549da8d12cdae94af775f"
START = 1_700_000_000_000_000
STARTED = RunStarted(time=START, id=RUN, project="acme/vision", name="svc", tags={"multitrack.run_id": RUN, "base": None, "team": "vision"})


def batch(number: int, records: Sequence[Record], *, first: int = 0, writer: str = "a" * 16) -> Batch:
    return Batch(number, [Entry(writer, seq, record) for seq, record in enumerate(records, first)], lambda _: Path())


def points(*steps: float | None) -> Points:
    return Points(time=START, name="loss", steps=list(steps), times=[START] * len(steps), values=[float(n) for n in range(len(steps))])


def state(root: Path) -> RunState:
    source = NeptuneBackend(str(root)).source()
    (run,) = source.runs(RunFilter())
    return fold(source.read(run))


def log_of(root: Path) -> Path:
    (folder,) = (root / ".neptune" / "offline").iterdir()
    return folder


def deliver(root: Path, *batches: Batch, conclude: bool = False) -> None:
    sink = OfflineSink(root)
    sink.open(STARTED)
    for one in batches:
        sink.write(one)
        sink.flush()
    if conclude:
        sink.finish(Conclusion("finished", START + 1_000_000, tags={"multitrack.complete": "{}"}))
    sink.close()


def operations(root: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in Log(log_of(root)):
        found.setdefault(one.path, []).append(dict(one.body))
    return found


def test_the_real_client_understands_every_operation(tmp_path: Path) -> None:
    """Its own queue reads the log through, its own classes take every operation."""
    pytest.importorskip("neptune")
    from neptune.core.components.queue.disk_queue import DiskQueue
    from neptune.internal.operation import Operation

    params = Hyperparameters(time=START, values={"lr": 0.1, "n": 3, "big": 2**40, "none": None, "list": [1], "deep": {"er": True}})
    deliver(tmp_path, batch(1, [STARTED, params, points(0, 1, 1, None)]), conclude=True)
    with DiskQueue(log_of(tmp_path), lambda one: one.to_dict(), Operation.from_dict, threading.RLock()) as queue:
        read = queue.get_batch(10_000)
        assert [element.ver for element in read] == list(range(1, len(read) + 1))
        assert queue.size() == len(read)
    last = {"/".join(element.obj.path): element.obj for element in read}
    assert (last["parameters/lr"].value, last["parameters/n"].value, last["parameters/deep/er"].value) == (0.1, 3, True)
    assert (last["parameters/big"].value, last["parameters/none"].value, last["parameters/list"].value) == (str(2**40), "null", "[1]")
    assert [point.step for point in last["loss"].values] == [0, 1, 2, 3]
    assert last["sys/tags"].values == {"base", "team=vision"}


def test_the_folder_is_named_after_the_run(tmp_path: Path) -> None:
    deliver(tmp_path, batch(1, [STARTED]))
    folder = log_of(tmp_path)
    assert folder.name.startswith(f"run__{uuid_of(RUN)}__")
    assert json.loads((folder / "metadata.json").read_text())["containerId"] == "34e85620-af05-49da-8d12-cdae94af775f"
    assert str(uuid_of("z" * 32)) == str(uuid_of("z" * 32)) != str(uuid_of("y" * 32))


@pytest.mark.parametrize("cut", [1, 40, 400, 700])
def test_a_batch_that_was_cut_off_is_not_there_and_comes_whole_the_next_time(tmp_path: Path, cut: int) -> None:
    first, second = batch(1, [STARTED, points(0, 1)]), batch(2, [points(2, 3), RunUpdated(time=START, notes="n")], first=2)
    deliver(tmp_path, first, second)
    whole = operations(tmp_path)
    file = log_of(tmp_path) / "data-1.log"
    file.write_bytes(file.read_bytes()[:-cut])
    deliver(tmp_path, second)
    assert state(tmp_path).metrics["loss"].steps == [0, 1, 2, 3]
    assert operations(tmp_path).keys() == whole.keys()
    assert Log(log_of(tmp_path)).shortfall.lost == 0
    assert int((log_of(tmp_path) / "last_put_version").read_text()) == sum(map(len, operations(tmp_path).values()))


def test_a_process_that_died_in_its_first_batch_left_nothing(tmp_path: Path) -> None:
    deliver(tmp_path, batch(1, [STARTED, points(0)]))
    file = log_of(tmp_path) / "data-1.log"
    file.write_bytes(file.read_bytes()[:-10])
    sink = OfflineSink(tmp_path)
    assert sink.open(STARTED).batches == 0
    sink.close()
    assert not file.read_bytes()
    assert not list(NeptuneBackend(str(tmp_path)).source().runs(RunFilter()))


def test_what_was_sent_twice_is_there_once_however_it_was_cut_into_batches(tmp_path: Path) -> None:
    deliver(tmp_path, batch(1, [STARTED, points(0)]), batch(2, [points(1)], first=2))
    deliver(tmp_path, batch(1, [STARTED, points(0), points(1), points(2)]))
    assert state(tmp_path).metrics["loss"].steps == [0, 1, 2]


def test_a_later_version_of_a_migrated_run_takes_the_place_of_the_earlier_one(tmp_path: Path) -> None:
    old, new = derive_writer_id(RUN, "1"), derive_writer_id(RUN, "2")
    renamed = STARTED.model_copy(update={"name": "renamed", "tags": {"multitrack.run_id": RUN, "new": None}})
    deliver(tmp_path, batch(1, [STARTED, points(0, 1), Metrics(time=START, step=1, values={"gone": 1.0})], writer=old), conclude=True)
    deliver(tmp_path, batch(1, [renamed, points(0, 1, 2)], writer=new))
    found = state(tmp_path)
    assert found.metrics["loss"].steps == [0, 1, 2]
    assert set(found.metrics) == {"loss"}
    assert (found.name, found.status) == ("renamed", "running")
    assert "team" not in found.tags
    shown = operations(tmp_path)["sys/tags"]
    assert [one["type"] for one in shown] == ["AddStrings", "ClearStringSet", "AddStrings"]


def test_a_param_that_becomes_a_mapping_and_back_never_stands_in_its_own_way(tmp_path: Path) -> None:
    values: list[dict[str, Any]] = [{"a": 1}, {"a": {"b": 2}}, {"a": "x"}, {"a": 1.5}]
    deliver(tmp_path, batch(1, [STARTED, *(Hyperparameters(time=START, values=one) for one in values)]))
    types: dict[str, str] = {}
    for one in Log(log_of(tmp_path)):
        if one.type == "DeleteAttribute":
            del types[one.path]
        elif one.type.startswith("Assign"):
            assert types.setdefault(one.path, one.type) == one.type
            assert not any(other.startswith(f"{one.path}/") or one.path.startswith(f"{other}/") for other in types)
    assert state(tmp_path).params == {"a": 1.5}


def test_a_full_disk_is_no_reason_to_give_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = OfflineSink(tmp_path)
    sink.open(STARTED)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    sink.write(batch(1, [STARTED]))
    with pytest.raises(TransientError, match="No space left"):
        sink.flush()
    sink.close()


def test_large_logs_go_on_in_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multitrack_neptune.offline.sink.FILE_BYTES", 2000)
    deliver(tmp_path, batch(1, [STARTED]), *(batch(n, [points(n)], first=n) for n in range(2, 20)))
    assert len(Log(log_of(tmp_path)).files()) > 2
    assert state(tmp_path).metrics["loss"].steps == list(range(2, 20))
    last = Log(log_of(tmp_path)).files()[-1]
    last.write_bytes(last.read_bytes()[:-5])
    deliver(tmp_path, batch(19, [points(19)], first=19), batch(20, [points(20)], first=20))
    assert state(tmp_path).metrics["loss"].steps == list(range(2, 21))


def test_an_export_is_not_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "acme_vision-0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "VIS-1-0123456789abcdef_part_0.parquet").write_bytes(b"")
    backend = NeptuneBackend(str(tmp_path))
    assert not backend.capabilities.writes
    with pytest.raises(ConfigError, match="not written to"):
        backend.sink()

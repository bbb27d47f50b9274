"""What a run writes."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multitrack.journal import Journal, RunFolder
from multitrack.records import Artifact, DataVersion, Metrics, Record, encode
from multitrack.run import Run
from multitrack.state import fold
from support.strategies import steps, times, values


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "p" / ("0" * 32))
    folder.create()
    return folder


@pytest.fixture
def run(folder: RunFolder):
    run = Run(folder, "p", None)
    yield run
    run.finish()


def records(run: Run) -> list[Record]:
    return list(Journal(RunFolder(run.dir)).records())


def artifacts(run: Run) -> dict[str, tuple[Artifact, bytes | None]]:
    folder = RunFolder(run.dir)
    return {
        name: (artifact, folder.content(artifact.sha256).read_bytes() if artifact.sha256 else None)
        for name, artifact in fold(records(run)).artifacts.items()
    }


class Lines:
    """A writer that keeps the lines."""

    refused = 0

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def append(self, record: Record) -> None:
        self.lines.append(encode(record, len(self.lines)))

    def append_line(self, head: bytes, tail: bytes) -> None:
        self.lines.append(b"%b%d%b" % (head, len(self.lines), tail))

    def append_fields(self, fields: dict[str, Any]) -> bool:
        try:
            self.lines.append(orjson.dumps({**fields, "seq": len(self.lines)}, option=orjson.OPT_APPEND_NEWLINE))
        except TypeError:
            return False
        return True


numpy_values = (
    st.floats(width=32).map(np.float32)
    | st.floats().map(np.float64)
    | st.integers(-(2**63), 2**63 - 1).map(np.int64)
    | st.booleans().map(np.bool_)
)
metric_names = st.sampled_from(["loss", "a/b", "$", "é", "\ud800"]) | st.text(st.characters(), min_size=1, max_size=8)
finite_steps = steps.filter(lambda step: isinstance(step, int) or abs(step) < float("inf"))


@given(st.dictionaries(metric_names, values | numpy_values, min_size=1, max_size=4), st.none() | finite_steps, times)
def test_a_logged_line_is_the_models(logged: dict[str, Any], step: Any, microseconds: int) -> None:
    run = Run(None, "p", None)
    writer = Lines()
    run._writer = writer  # type: ignore[assignment]
    moment = datetime.fromtimestamp(0, UTC).timestamp() + microseconds / 1e6
    run.log(logged, step, time=moment)
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in logged.items()}
    assert writer.lines == [encode(Metrics(time=round(moment * 1e6), step=step, values=plain), 0)]


def test_nothing_to_log_writes_nothing(run: Run) -> None:
    run.log({})
    run.log({}, step=3)
    run.summary.update()
    assert records(run) == []


def test_a_wrong_value_among_right_ones_writes_nothing(run: Run) -> None:
    with pytest.raises(TypeError):
        run.log({"a": 1, "b": None})
    assert records(run) == []


def test_eight_threads_share_a_writer(run: Run) -> None:
    def work(worker: int) -> None:
        for step in range(300):
            run.log({f"m{worker}": step}, step=step)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = fold(records(run))
    assert {name: series.values for name, series in state.metrics.items()} == {f"m{worker}": list(range(300)) for worker in range(8)}
    assert [entry.seq for entry in Journal(RunFolder(run.dir)).entries()] == list(range(2400))


def test_summary(run: Run) -> None:
    run.summary["best"] = np.float32(0.5)
    run.summary.update({"a": 1}, b="x")
    assert dict(run.summary) == {"best": 0.5, "a": 1, "b": "x"}
    assert len(records(run)) == 2
    with pytest.raises(TypeError, match="cannot be taken back"):
        del run.summary["a"]
    with pytest.raises(TypeError):
        run.summary.update({"a": 2, "c": None})
    assert run.summary["a"] == 1


def test_params_merge(run: Run) -> None:
    run.log_params({"model": {"depth": 3, "width": 8}, "lr": 0.1})
    run.log_params({"model": {"depth": 5}})
    assert fold(records(run)).params == {"model": {"depth": 5, "width": 8}, "lr": 0.1}
    run.log_params({"model": "linear"})
    assert fold(records(run)).params == {"model": "linear", "lr": 0.1}


def test_words(run: Run) -> None:
    run.set_tags(["a", "b"])
    run.set_tags({"a": "1"})
    run.remove_tags(["b", "c"])
    run.set_notes("# notes")
    run.set_name("new")
    run.define_metric("val/*", x="epoch", goal="max", summary="max")
    state = fold(records(run))
    assert (state.tags, state.notes, state.name, run.name) == ({"a": "1"}, "# notes", "new", "new")
    assert state.definitions["val/*"].goal == "max"


def test_data(run: Run, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    run.log_data("train", tmp_path / "train.csv", role="train", rows=1, schema={"a": "int"})
    run.log_data("web", uri="https://example.com/x", digest="abc", algorithm="etag")
    first, second = (record for record in records(run) if isinstance(record, DataVersion))
    assert (first.size, first.algorithm, first.rows, first.role, first.data_schema) == (8, "sha256", 1, "train", {"a": "int"})
    assert first.uri == (tmp_path / "train.csv").as_uri()
    assert (second.uri, second.digest, second.algorithm, second.size) == ("https://example.com/x", "abc", "etag", None)


# -- artifacts


def test_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(b"{}")
    run.log_artifact(tmp_path / "model.json", kind="model", step=3, metadata={"acc": np.float32(0.5)})
    run.log_artifact(str(tmp_path / "model.json"), "best/m.json")
    found = artifacts(run)
    assert set(found) == {"model.json", "best/m.json"}
    record, content = found["model.json"]
    assert content == b"{}"
    assert (record.type, record.step, record.metadata, record.size, record.media_type) == ("model", 3, {"acc": 0.5}, 2, "application/json")
    assert len(list((run.dir / "artifacts").iterdir())) == 1  # the same content is kept once


def test_what_was_recorded_does_not_change_with_the_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "ckpt"
    for content in (b"old", b"", b"new"):
        file.write_bytes(content)
        run.log_artifact(file)
    file.unlink()
    folder = RunFolder(run.dir)
    assert [folder.content(record.sha256 or "").read_bytes() for record in records(run) if isinstance(record, Artifact)] == [
        b"old",
        b"",
        b"new",
    ]
    assert artifacts(run)["ckpt"][1] == b"new"


def test_a_folder_with_its_links(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "sub" / "empty").mkdir(parents=True)
    (model / "w.bin").write_bytes(b"w")
    (model / "sub" / ".hidden").write_bytes(b"h")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "o").write_bytes(b"o")
    (model / "file-link").symlink_to(tmp_path / "outside" / "o")
    (model / "folder-link").symlink_to(tmp_path / "outside")
    run.log_artifact(model, kind="model")
    run.log_artifact(model / "sub", "again")
    assert {name: content for name, (_, content) in artifacts(run).items()} == {
        "model/w.bin": b"w", "model/sub/.hidden": b"h", "model/file-link": b"o", "model/folder-link/o": b"o", "again/.hidden": b"h",
    }  # fmt: skip


def test_links_that_lead_nowhere_or_in_circles_are_named(run: Run, tmp_path: Path) -> None:
    for name, target in (("dangling", "nowhere"), ("circle", ".")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a").write_text("a")
        (folder / "link").symlink_to(target)
        with pytest.raises(OSError, match=r"the link '.*link' leads"):
            run.log_artifact(folder)
    assert records(run) == []


def test_a_reference_copies_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run.log_artifact("s3://bucket/data/train.parquet", reference=True, kind="dataset")
    run.log_artifact("big.bin", "data/big.bin", reference=True)
    found = artifacts(run)
    assert found["train.parquet"][0].uri == "s3://bucket/data/train.parquet"
    assert found["data/big.bin"][0].uri == (tmp_path / "big.bin").as_uri()
    assert all(record.sha256 is None for record, _ in found.values())
    assert not list((run.dir / "artifacts").iterdir())


def test_a_folder_named_by_a_dot(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("a")
    monkeypatch.chdir(tmp_path / "out")
    run.log_artifact(".")
    assert set(artifacts(run)) == {"out/a"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("x")
    file.chmod(0)
    with pytest.raises(PermissionError):
        run.log_artifact(file)


def test_after_the_end(run: Run) -> None:
    run.log({"a": 1})
    run.finish()
    before = records(run)
    for late in (lambda: run.log({"a": 1}), lambda: run.log_params({"a": 1}), lambda: run.summary.update(a=1), lambda: run.set_tags(["a"])):
        with pytest.raises(ValueError, match=f"run {run.id} has ended, so this was not recorded; go on with it by"):
            late()
    assert records(run) == before
    assert "a" not in run.summary

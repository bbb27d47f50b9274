"""What goes over the wire, pinned: the traffic with a real MLflow server, recorded, and replayed without one.

The requests must match in method, path, query and body, so a payload that changes fails here even where a server would still take it.
To record again, against a server that the tests start:

    MULTITRACK_RECORD=1 .venv/bin/python -m pytest tests/backends/mlflow/test_cassettes.py --vcr-record=all
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vcr.request import Request

from multitrack.backend import Batch, Conclusion, Entry, RunFilter
from multitrack.records import (
    Artifact,
    DataVersion,
    Hyperparameters,
    Metrics,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Summary,
)
from multitrack_mlflow import MLflowBackend
from multitrack_mlflow.settings import MLflowSettings
from support.mlflow_server import MLflowServer

PORT = 5999
"""Part of every recorded address."""
T = 1_577_934_245_678_000
RUN = "0123456789abcdef0123456789abcdef"
TOKEN = "a token that no cassette may hold"
CASSETTES = Path(__file__).parent / "cassettes"


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    return {"filter_headers": ["authorization"], "decode_compressed_response": True, "before_record_request": with_plain_body}


@pytest.fixture(scope="module")
def vcr(vcr: Any) -> Any:
    """pytest-vcr's recorder, which compares what a request says: protobuf does not promise the order of JSON's keys."""
    vcr.register_matcher("content", same_content)
    vcr.match_on = ["method", "path", "query", "content"]
    return vcr


def with_plain_body(request: Any) -> Any:
    """Return the request with its body as bytes: an upload's is a file, which a cassette would hold as a Python object."""
    body = request.body
    return Request(request.method, request.uri, body.read(), request.headers) if hasattr(body, "read") else request


def same_content(one: Any, other: Any) -> None:
    """Matcher: JSON is compared as JSON."""
    assert content_of(one.body) == content_of(other.body)


def content_of(body: bytes | None) -> Any:
    try:
        return json.loads(body or b"null")
    except ValueError:
        return body


@pytest.fixture(scope="module", autouse=True)
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if not os.environ.get("MULTITRACK_RECORD"):
        yield
        return
    server = MLflowServer(tmp_path_factory.mktemp("recorded"))
    server.port = PORT
    with server:
        yield


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MLflowBackend:
    monkeypatch.setattr("multitrack_mlflow.sink.REQUESTS", 1)  # in one order
    return MLflowBackend(f"http://127.0.0.1:{PORT}", MLflowSettings.model_validate({"token": TOKEN}))


def records(folder: Path) -> list[Record]:
    (folder / "notes.txt").write_text("some notes")
    return [
        RunStarted(time=T, id=RUN, project="recorded", name="a run", tags={"team": "vision"}, notes="notes", user="ann"),
        Hyperparameters(time=T, values={"lr": "0.1", "model.depth": "3"}),
        DataVersion(time=T, name="digits", role="train", uri="s3://b/d.csv", digest="abc", rows=3),
        Points(time=T, name="loss", steps=[0, 1, 2], times=[T, T + 1000, T + 2000], values=[1.0, 0.5, float("nan")]),
        Metrics(time=T, step=7, values={"system/cpu": 12.5}, source="system"),
        Summary(time=T, values={"best": 0.5, "verdict": "good"}),
        RunUpdated(time=T, tags={"late": "yes"}),
        Artifact(time=T, name="folder/notes.txt", sha256="0" * 64, size=10),
        RunFinished(time=T + 60_000_000, status="failed"),
    ]


@pytest.mark.vcr
def test_a_run_is_written_by_these_requests(backend: MLflowBackend, tmp_path: Path) -> None:
    whole = records(tmp_path)
    start = whole[0]
    assert isinstance(start, RunStarted)
    sink = backend.sink()
    assert sink.open(start).batches == 0
    batch = Batch(1, [Entry("w", seq, record) for seq, record in enumerate(whole)], lambda _: tmp_path / "notes.txt")
    assert list(sink.write(batch)) == []
    sink.flush()
    sink.finish(Conclusion("failed", T + 60_000_000, tags={"multitrack.complete": "{}"}))
    assert sink.url() is not None
    sink.close()


@pytest.mark.vcr
def test_a_run_is_read_from_these_answers(backend: MLflowBackend, tmp_path: Path) -> None:
    source = backend.source()
    [run] = source.runs(RunFilter(ids=[RUN]))
    read = list(source.read(run))
    source.fetch(run, next(record for record in read if isinstance(record, Artifact)), tmp_path / "fetched")
    source.close()

    assert (run.id, run.name, run.status, run.started, run.ended) == (RUN, "a run", "failed", T, T + 60_000_000)
    assert (tmp_path / "fetched").read_text() == "some notes"
    points = {record.name: (record.steps, record.values[:2]) for record in read if isinstance(record, Points)}
    assert points == {"loss": ([0, 1, 2], [1.0, 0.5]), "system/cpu": ([7], [12.5])}
    [summary] = [record for record in read if isinstance(record, Summary)]
    assert summary.values == {"best": 0.5, "verdict": "good"}
    [data] = [record for record in read if isinstance(record, DataVersion)]
    assert (data.name, data.role, data.digest, data.rows) == ("digits", "train", "abc", 3)


def test_no_cassette_holds_a_login() -> None:
    cassettes = sorted(CASSETTES.glob("*.yaml"))
    assert len(cassettes) == 2
    for path in cassettes:
        text = path.read_text().lower()
        assert TOKEN not in text
        assert "authorization" not in text

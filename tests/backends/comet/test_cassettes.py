"""What goes over the wire, pinned: the traffic with the service, recorded, and replayed without one.

The requests must match in method, path, query and body, so a payload that changes fails here even where a service would still take it.
To record again, against the double that the tests start:

    MULTITRACK_RECORD=1 .venv/bin/python -m pytest tests/backends/comet/test_cassettes.py --vcr-record=all
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from vcr.request import Request

from multitrack.backend import Batch, Conclusion, Entry, RunFilter
from multitrack.records import (
    Artifact,
    CodeVersion,
    DataVersion,
    Environment,
    Hyperparameters,
    LogLines,
    Metrics,
    Points,
    Record,
    RunFinished,
    RunStarted,
    RunUpdated,
    Summary,
)
from multitrack_comet import CometBackend, CometSettings
from services.comet.double import CometDouble

pytestmark = pytest.mark.slow

PORT = 5998
"""Part of every recorded address."""
T = 1_577_934_245_678_000
RUN = "0123456789abcdef0123456789abcdef"
CASSETTES = Path(__file__).parent / "cassettes"
_VOLATILE = ("apiKey", "local_timestamp", "libVersion")
"""Of JSON bodies: the login, the time of the recording, and the SDK's version."""


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    return {
        "match_on": ["method", "path", "query", "body"],
        "filter_headers": ["authorization"],
        "before_record_request": in_plain_words,
        "decode_compressed_response": True,
    }


def in_plain_words(request: Any) -> Any:
    """Return the request as it is compared and recorded: JSON unpacked, without what changes each time; files without boundaries."""
    body = request.body
    body = body.read() if hasattr(body, "read") else body
    headers = {name: value for name, value in request.headers.items() if name.lower() in ("content-type", "host")}
    if body and request.headers.get("Content-Encoding") in ("gzip", b"gzip"):
        body = gzip.decompress(body)
    try:
        said = json.loads(body or b"")
    except ValueError:
        said = None
    if isinstance(said, dict):
        body = json.dumps({name: value for name, value in said.items() if name not in _VOLATILE}, sort_keys=True).encode()
    kind = headers.get("Content-Type", "")
    found = re.search("boundary=(.*)", kind.decode() if isinstance(kind, bytes) else kind)
    if body and found is not None:
        body = body.replace(found[1].strip('"').encode(), b"BOUNDARY")
        headers["Content-Type"] = "multipart/form-data; boundary=BOUNDARY"
    return Request(request.method, request.uri, body, headers)


@pytest.fixture(scope="module", autouse=True)
def _service() -> Iterator[None]:
    if not os.environ.get("MULTITRACK_RECORD"):
        yield
        return
    with CometDouble(port=PORT):
        yield


@pytest.fixture
def backend() -> CometBackend:
    settings = CometSettings(api_key=SecretStr(CometDouble.api_key), url=f"http://127.0.0.1:{PORT}")
    return CometBackend("team/", settings)


def records() -> list[Record]:
    return [
        RunStarted(time=T, id=RUN, project="recorded", name="a run", tags={"team": "vision", "base": None}, notes="notes", user="ann"),
        Hyperparameters(time=T, values={"lr": "0.1", "model": {"depth": "3"}}),
        CodeVersion(time=T, vcs="git", commit="c0ffee", branch="main", remote="https://h/r.git", diff="+x\n", entry_point="train.py"),
        Environment(time=T, host="node1", python="3.12.1", packages={"numpy": "2.0.0"}),
        DataVersion(time=T, name="digits", role="train", uri="s3://b/d.csv", digest="abc", rows=3),
        Points(time=T, name="loss", steps=[0, 1, None], times=[T, T + 1000, T + 2000], values=[1.0, 0.5, float("nan")]),
        Metrics(time=T, step=7, values={"sys.cpu": 12.5}, source="system"),
        Summary(time=T, values={"best": 0.5, "verdict": "good"}),
        RunUpdated(time=T, tags={"late": "yes"}),
        Artifact(time=T, name="folder/notes.txt", sha256="0" * 64, size=10),
        LogLines(time=T, times=[T, T + 1_000_000], lines=["one", "two"]),
        RunFinished(time=T + 60_000_000, status="failed"),
    ]


@pytest.mark.vcr
def test_a_run_is_written_by_these_requests(backend: CometBackend, tmp_path: Path) -> None:
    whole = records()
    start = whole[0]
    assert isinstance(start, RunStarted)
    (tmp_path / "notes.txt").write_text("some notes")
    sink = backend.sink()
    assert sink.open(start).batches == 0
    batch = Batch(1, [Entry("w", seq, record) for seq, record in enumerate(whole)], lambda _: tmp_path / "notes.txt")
    assert list(sink.write(batch)) == []
    sink.flush()
    sink.finish(Conclusion("failed", T + 60_000_000, tags={"multitrack.complete": "{}"}))
    assert sink.url() == f"http://127.0.0.1:{PORT}/team/recorded/{RUN}"
    sink.close()


@pytest.mark.vcr
def test_a_run_is_read_from_these_answers(backend: CometBackend, tmp_path: Path) -> None:
    source = backend.source()
    [run] = source.runs(RunFilter(ids=[RUN]))
    read = list(source.read(run))
    source.fetch(run, next(record for record in read if isinstance(record, Artifact)), tmp_path / "fetched")
    source.close()

    assert (run.id, run.name, run.status, run.started, run.ended) == (RUN, "a run", "failed", T, T + 60_000_000)
    assert (tmp_path / "fetched").read_text() == "some notes"
    points = {record.name: (record.steps, record.values[:2]) for record in read if isinstance(record, Points)}
    assert points == {"loss": ([0, 1, None], [1.0, 0.5]), "sys.cpu": ([7], [12.5])}
    [summary] = [record for record in read if isinstance(record, Summary)]
    assert summary.values == {"best": 0.5, "verdict": "good"}
    [lines] = [record for record in read if isinstance(record, LogLines)]
    assert (lines.times, lines.lines) == ([T, T + 1_000_000], ["one", "two"])
    [data] = [record for record in read if isinstance(record, DataVersion)]
    assert (data.name, data.role, data.digest, data.rows) == ("digits", "train", "abc", 3)


def test_no_cassette_holds_a_login() -> None:
    cassettes = sorted(CASSETTES.glob("*.yaml"))
    assert len(cassettes) == 2
    for path in cassettes:
        text = path.read_text().lower()
        assert CometDouble.api_key.lower() not in text
        assert "authorization" not in text
        assert "apikey" not in text

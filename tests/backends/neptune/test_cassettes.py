"""What goes over the wire, pinned: the traffic of Neptune's own 1.x client, recorded, and replayed without a server.

The requests must match in method, path, query and body, so a payload that changes fails here even where a server would still take it.
To record again, against the double that the tests start:

    MULTITRACK_RECORD=1 .venv/bin/python -m pytest tests/backends/neptune/test_cassettes.py --vcr-record=all
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

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
from multitrack.state import fold
from multitrack_neptune import NeptuneBackend, NeptuneSettings
from services.neptune_double import NeptuneDouble, api_token, session_token

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PORT = 5997
"""Part of every recorded address."""
T = 1_577_934_245_678_000
RUN = "0123456789abcdef0123456789abcdef"
URL = f"http://127.0.0.1:{PORT}"
TOKEN = api_token(URL)
SESSION = session_token(URL, 2**32)
"""What stands in the cassettes in place of sessions; it opens nothing."""
CASSETTES = Path(__file__).parent / "cassettes"
_TOKENS = {"accessToken", "refreshToken", "access_token", "refresh_token"}


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    return {
        "match_on": ["method", "path", "query", "body"],
        "before_record_request": in_plain_words,
        "before_record_response": with_a_lasting_session,
        "decode_compressed_response": True,
    }


def in_plain_words(request: Any) -> Any:
    """Return the request as it is compared and recorded: without the login, which stands in headers and in the body that renews it."""
    body = request.body
    body = body.read() if hasattr(body, "read") else body
    if urlsplit(request.uri).path.startswith("/auth/"):
        told = parse_qsl(body.decode() if isinstance(body, bytes) else body)
        body = urlencode([(name, value) for name, value in told if name not in _TOKENS]).encode()
    headers = {name: value for name, value in request.headers.items() if name.lower() in ("content-type", "host")}
    return Request(request.method, request.uri, _in_order(body), headers)


def _in_order(body: Any) -> Any:
    """Return the body with sets of strings in order: the client sends them in that of its process's hashes."""
    if not body or b"Strings" not in bytes(body if isinstance(body, bytes) else str(body).encode()):
        return body
    operations = json.loads(body)
    for operation in operations if isinstance(operations, list) else ():
        for name in ("insertStrings", "removeStrings", "assignStringSet"):
            if name in operation and isinstance(operation[name].get("values"), list):
                operation[name]["values"].sort()
    return json.dumps(operations).encode()


def with_a_lasting_session(response: dict[str, Any]) -> dict[str, Any]:
    """Return the answer with a session that is valid whenever it is replayed, in place of one of an hour."""
    try:
        told = json.loads(response["body"]["string"])
    except ValueError:
        return response
    if not isinstance(told, dict) or not _TOKENS & told.keys():
        return response
    body = json.dumps({name: SESSION if name in _TOKENS else value for name, value in told.items()}).encode()
    return {**response, "body": {"string": body}, "headers": {**response["headers"], "Content-Length": [str(len(body))]}}


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    if not os.environ.get("MULTITRACK_RECORD"):
        yield
        return
    with NeptuneDouble(port=PORT):
        yield


@pytest.fixture
def backend() -> Iterator[NeptuneBackend]:
    """The project of the recordings. The client keeps its connections for the whole process; here each test makes its own."""
    from neptune.internal.backends import hosted_client

    kept = ("get_client_config", "create_http_client_with_auth", "create_backend_client", "create_leaderboard_client", "_get_token_client")
    for name in kept:
        getattr(hosted_client, name).cache_clear()
    yield NeptuneBackend("acme/vision", NeptuneSettings(api_token=SecretStr(TOKEN)))
    for name in kept:
        getattr(hosted_client, name).cache_clear()


def records() -> list[Record]:
    return [
        RunStarted(time=T, id=RUN, project="recorded", name="a run", tags={"team": "vision", "base": None}, notes="notes", user="ann"),
        Hyperparameters(time=T, values={"lr": 0.1, "model": {"depth": 3}, "flag": True}),
        CodeVersion(time=T, vcs="git", commit="c0ffee", branch="main", remote="https://h/r.git", diff="+x\n", entry_point="train.py"),
        Environment(time=T, host="node1", python="3.12.1", packages={"numpy": "2.0.0"}),
        DataVersion(time=T, name="digits", role="train", uri="s3://b/d.csv", digest="abc", rows=3),
        Points(time=T, name="loss", steps=[0, 1, 1, None], times=[T, T + 1000, T + 2000, T + 3000], values=[1.0, 0.5, 0.25, 0.125]),
        Metrics(time=T, step=7, values={"system/cpu": 12.5}, source="system"),
        Summary(time=T, values={"best": 0.5, "verdict": "good"}),
        RunUpdated(time=T, tags={"late": "yes"}),
        Artifact(time=T, name="folder/notes.txt", sha256="0" * 64, size=10),
        LogLines(time=T, times=[T, T + 1_000_000], lines=["one", "two"]),
        RunFinished(time=T + 60_000_000, status="failed"),
    ]


@pytest.mark.vcr
def test_a_run_is_written_by_these_requests(backend: NeptuneBackend, tmp_path: Path) -> None:
    whole = records()
    start = whole[0]
    assert isinstance(start, RunStarted)
    (tmp_path / "notes.txt").write_text("some notes")
    sink = backend.sink()
    assert sink.open(start).batches == 0
    batch = Batch(1, [Entry("a" * 16, seq, record) for seq, record in enumerate(whole)], lambda _: tmp_path / "notes.txt")
    assert list(sink.write(batch)) == []
    sink.flush()
    sink.finish(Conclusion("failed", T + 60_000_000, tags={"multitrack.complete": "{}"}))
    assert sink.url() is not None
    sink.close()


@pytest.mark.vcr
def test_a_run_is_read_from_these_answers(backend: NeptuneBackend, tmp_path: Path) -> None:
    source = backend.source()
    [run] = source.runs(RunFilter(ids=[RUN]))
    read = list(source.read(run))
    source.fetch(run, next(record for record in read if isinstance(record, Artifact)), tmp_path / "fetched")
    source.close()

    assert (run.id, run.project, run.name, run.status) == (RUN, "recorded", "a run", "failed")
    assert (tmp_path / "fetched").read_text() == "some notes"
    state = fold(read)
    assert (state.started, state.ended, state.notes, state.user) == (T, T + 60_000_000, "notes", "ann")
    assert state.params == {"lr": 0.1, "model": {"depth": 3}, "flag": True}
    loss = state.metrics["loss"]
    assert (loss.steps, loss.values) == ([0, 1, 1, None], [1.0, 0.5, 0.25, 0.125])
    assert (state.metrics["system/cpu"].steps, state.metrics["system/cpu"].values) == ([7], [12.5])
    assert state.summary == {"best": 0.5, "verdict": "good"}
    assert [line.text for line in state.console] == ["one", "two"]
    [data] = state.data.values()
    assert (data.name, data.role, data.digest, data.rows) == ("digits", "train", "abc", 3)


def test_no_cassette_holds_a_login() -> None:
    cassettes = sorted(CASSETTES.glob("*.yaml"))
    assert len(cassettes) == 2
    for path in cassettes:
        text = path.read_text()
        assert set(re.findall(r"eyJ[\w.=-]+", text)) == {SESSION}  # as every API token and session begins
        assert "a-key-of-the-double" not in text
        assert "Authorization" not in text
        assert "refresh_token=" not in text

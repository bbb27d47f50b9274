"""A server, through the real client against the double: what is interrupted counts once, and other people's runs are read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from multitrack.backend import Batch, Conclusion, Entry, RunFilter
from multitrack.errors import AuthError, ConfigError, PermanentError, TransientError
from multitrack.records import Artifact, Hyperparameters, LogLines, Points, Record, RunStarted
from multitrack.state import RunState, fold
from multitrack_neptune import NeptuneBackend, NeptuneSettings
from services.neptune_double import NeptuneDouble, RefusedError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

RUN = "34e85620af0549da8d12cdae94af775f"
START = 1_700_000_000_123_000
STARTED = RunStarted(time=START, id=RUN, project="digits", name="svc", tags={"multitrack.run_id": RUN})


@pytest.fixture(scope="module")
def server() -> Iterator[NeptuneDouble]:
    with NeptuneDouble() as double:
        yield double


@pytest.fixture
def backend(server: NeptuneDouble) -> Iterator[NeptuneBackend]:
    yield NeptuneBackend(server.add_project(), NeptuneSettings(api_token=SecretStr(server.token)))
    server.fail = lambda _name: None


def points(name: str, *steps: float | None) -> Points:
    return Points(time=START, name=name, steps=list(steps), times=[START] * len(steps), values=[float(n) for n in range(len(steps))])


def batch(number: int, records: list[Record], first: int = 0) -> Batch:
    return Batch(number, [Entry("a" * 16, seq, record) for seq, record in enumerate(records, first)], lambda _: Path())


def state(backend: NeptuneBackend) -> RunState:
    source = backend.source()
    (run,) = source.runs(RunFilter())
    return fold(source.read(run))


def fail_at(server: NeptuneDouble, name: str, count: int) -> None:
    """Refuse the server's `count`th answer to one of its operations, once."""
    calls: list[str] = []

    def fail(called: str) -> None:
        if called == name:
            calls.append(called)
            if len(calls) == count:
                raise RefusedError(400, "not now")

    server.fail = fail


@pytest.mark.parametrize(
    ("name", "where"),
    [("executeOperations", 3), ("executeOperations", 6), ("executeOperations", 10), ("fileAtomUpload", 3), ("fileAtomUpload", 4)],
)
def test_what_was_sent_before_the_connection_broke_is_not_sent_again(
    server: NeptuneDouble, backend: NeptuneBackend, monkeypatch: pytest.MonkeyPatch, name: str, where: int
) -> None:
    monkeypatch.setattr("multitrack_neptune.server.sink.OPERATIONS", 2)
    monkeypatch.setattr("multitrack_neptune.encode.FLOATS", 2)
    batches = [
        batch(1, [STARTED, points("loss", 0, 1, 2, 1, None), LogLines(time=START, times=[START], lines=["one"])]),
        batch(2, [points("loss", 9, 5, 20), points("acc", 0, 1), Hyperparameters(time=START, values={"a": 1})], first=3),
        batch(3, [Hyperparameters(time=START, values={"a": {"b": 1}}), points("loss", 21)], first=6),
    ]
    fail_at(server, name, where)
    for _ in range(3):
        sink = backend.sink()
        try:
            sink.open(STARTED)
            for one in batches:
                sink.write(one)
            sink.finish(Conclusion("finished", START, tags={"multitrack.complete": "{}"}))
        except PermanentError:
            continue
        else:
            break
        finally:
            sink.close()
    found = state(backend)
    assert found.metrics["loss"].steps == [0, 1, 2, 1, None, 9, 5, 20, 21]
    assert found.metrics["acc"].steps == [0, 1]
    assert found.params == {"a": {"b": 1}}
    assert [line.text for line in found.console] == ["one"]
    assert found.status == "finished"
    run = next(run for run in server.runs.values() if run.project == backend.location)
    assert len(run.attributes["monitoring/multitrack/stdout"][1]) == 1


def test_a_large_file_goes_up_in_parts(server: NeptuneDouble, backend: NeptuneBackend, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(os.urandom(1 << 20) * 12)
    record = Artifact(time=START, name="model/weights.bin", sha256="0" * 64, size=12 << 20)
    sink = backend.sink()
    sink.open(STARTED)
    sink.write(Batch(1, [Entry("a" * 16, seq, one) for seq, one in enumerate([STARTED, record])], lambda _: tmp_path / "weights"))
    sink.close()
    assert "fileAtomMultipartUploadPart" in server.requests
    source = backend.source()
    (run,) = source.runs(RunFilter())
    source.fetch(run, record, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "weights").read_bytes()


def test_a_value_that_the_server_refuses_costs_an_error_and_no_more(server: NeptuneDouble, backend: NeptuneBackend) -> None:
    sink = backend.sink()
    sink.open(STARTED)
    sink.write(batch(1, [STARTED, points("loss", 0)]))
    run = next(run for run in server.runs.values() if run.project == backend.location)
    run.attributes["acc"] = ("string", "somebody was here")
    with pytest.raises(PermanentError, match="neptune refuses"):
        sink.write(batch(2, [points("acc", 0)], first=2))
    sink.close()
    assert state(backend).metrics["loss"].steps == [0]


FOREIGN = """
import datetime, neptune
from neptune.types import File
run = neptune.init_run(project=PROJECT, mode="sync", custom_run_id="theirs", name="hello", tags=["a"], capture_hardware_metrics=False,
                       capture_stdout=False, capture_stderr=False, source_files=[], git_ref=False)
run["params"] = {"lr": 0.1, "n": 3, "flag": True}
run["when"] = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
run["loss"].extend([1 / (n + 1) for n in range(2500)], steps=[n / 2 for n in range(2500)], timestamps=[1700000000 + n for n in range(2500)])
run["text"].append("hello")
run["content"].upload(File.from_content("abc", extension="md"))
run.stop()
"""


def test_a_run_of_somebody_else_is_read_unsampled(server: NeptuneDouble, backend: NeptuneBackend, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEPTUNE")}
    environment |= {"NEPTUNE_API_TOKEN": server.token, "OAUTHLIB_INSECURE_TRANSPORT": "1"}
    program = FOREIGN.replace("PROJECT", repr(backend.location))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    source = backend.source()
    (ref,) = source.runs(RunFilter())
    run = fold(source.read(ref))
    assert (run.project, run.name, run.status) == (backend.location, "hello", "finished")
    assert run.params == {"params": {"lr": 0.1, "n": 3, "flag": True}, "when": "2024-01-02T03:04:05+00:00"}
    loss = run.metrics["loss"]
    assert loss.steps == [n // 2 if n % 2 == 0 else n / 2 for n in range(2500)]
    assert loss.values == [1 / (n + 1) for n in range(2500)]
    assert loss.times == [(1_700_000_000 + n) * 1_000_000 for n in range(2500)]
    assert run.metrics["text"].values == ["hello"]
    (artifact,) = run.artifacts.values()
    source.fetch(ref, artifact, tmp_path / "content")
    assert (tmp_path / "content").read_bytes() == b"abc"
    with pytest.raises(PermanentError, match="no artifact"):
        source.fetch(ref, Artifact(time=0, name="never"), tmp_path / "never")


def test_who_and_where(server: NeptuneDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEPTUNE_API_TOKEN", raising=False)
    monkeypatch.delenv("NEPTUNE_PROJECT", raising=False)
    settings = NeptuneSettings(api_token=SecretStr(server.token))
    assert NeptuneBackend("acme/vision", settings).check() == f"acme/vision at {server.url}"
    with pytest.raises(AuthError, match="set NEPTUNE_API_TOKEN"):
        NeptuneBackend("acme/vision").check()
    with pytest.raises(PermanentError, match="nowhere"):
        NeptuneBackend("acme/nowhere", settings).check()
    for name in ("acme", "acme/", "a/b/c", ""):
        with pytest.raises(ConfigError, match="WORKSPACE/PROJECT"):
            NeptuneBackend(name, settings).sink()
    with pytest.raises(AuthError):
        NeptuneBackend("acme/vision", NeptuneSettings(api_token=SecretStr("no token at all"))).check()


def test_a_token_that_the_server_does_not_know(server: NeptuneDouble) -> None:
    with NeptuneDouble() as other:
        pass
    stranger = NeptuneSettings(api_token=SecretStr(other.token.replace(other.token[-4:], "")))
    with pytest.raises((AuthError, TransientError)):
        NeptuneBackend("acme/vision", stranger).check()


LIVE = """
import multitrack as mt
with mt.init(project="digits", name="live", params={"lr": 0.1}, backends=["neptune:PROJECT"], dir="store") as run:
    for step in range(20):
        run.log({"loss": 1 / (step + 1)}, step=step)
"""


def test_a_run_goes_live_through_its_courier_and_the_command_line_reads_it(
    server: NeptuneDouble, backend: NeptuneBackend, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NEPTUNE", "MULTITRACK"))}
    environment["NEPTUNE_API_TOKEN"] = server.token

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert server.token not in done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "has it whole" in run(sys.executable, "-c", LIVE.replace("PROJECT", str(backend.location)))
    multitrack = str(Path(sys.executable).with_name("multitrack"))
    assert "live" in run(multitrack, "runs", f"neptune:{backend.location}")
    assert "identical" in run(multitrack, "verify", "local:./store", f"neptune:{backend.location}")
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or server.token.encode() not in file.read_bytes()

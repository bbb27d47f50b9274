"""`neptune sync`, the real one, brings our offline folders to a server: the double, which refuses what the real server would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from multitrack.backend import Batch, Conclusion, Entry
from multitrack.records import Hyperparameters, LogLines, Metrics, Points, Record, RunStarted, RunUpdated, Summary
from multitrack_neptune.offline.sink import OfflineSink
from services.neptune_double import NeptuneDouble

pytestmark = pytest.mark.slow

RUN = "34e85620af0549da8d12cdae94af775f"
START = 1_700_000_000_123_000


@pytest.fixture
def server() -> Iterator[NeptuneDouble]:
    with NeptuneDouble() as double:
        yield double


def sync(server: NeptuneDouble, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEPTUNE")}
    environment |= {"NEPTUNE_API_TOKEN": server.token, "OAUTHLIB_INSECURE_TRANSPORT": "1"}
    command = [str(Path(sys.executable).with_name("neptune")), "sync", "--path", str(folder), "--project", "acme/vision"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_folder_with_everything_in_it(server: NeptuneDouble, tmp_path: Path) -> None:
    start = RunStarted(time=START, id=RUN, project="p", name="svc", notes="why", group="g", tags={"base": None, "team": "vision"})
    steps = [0, 1, 1, None, 0.5, -3, 10**30, 20, 20.25]
    hard: list[Record] = [
        start,
        Hyperparameters(time=START, values={"lr": 0.1, "n": 2**31, "a": 1, "long": "x" * 16_384}),
        Hyperparameters(time=START, values={"a": {"b": 2}, "lr": "text now"}),
        Points(time=START, name="loss", steps=steps, times=[START + n * 1000 for n in range(9)], values=[n / 8 for n in range(9)]),
        *(Metrics(time=START + n, step=n, values={"acc": n / 10, "word": "w" * 2000}) for n in range(1500)),
        RunUpdated(time=START, tags={"team": "audio"}, removed_tags=["base"]),
        Summary(time=START, values={"best": 0.5, "verdict": "good"}),
        LogLines(time=START, times=[START], lines=["y" * 3000]),
    ]
    sink = OfflineSink(tmp_path)
    sink.open(start)
    sink.write(Batch(1, [Entry("a" * 16, seq, record) for seq, record in enumerate(hard)], lambda _: Path()))
    sink.flush()
    sink.finish(
        Conclusion("failed", START + 1_000_000, files={"multitrack/records.jsonl.zst": Path(__file__)}, tags={"multitrack.complete": "{}"})
    )
    sink.write(Batch(2, [Entry("a" * 16, len(hard), Metrics(time=START, step=9999, values={"acc": 2.0}))], lambda _: Path()))
    sink.finish(Conclusion("finished", START + 2_000_000, tags={"multitrack.complete": "{}"}))
    sink.close()

    told = sync(server, tmp_path)

    assert "Error" not in told
    (run,) = server.runs.values()
    held = run.attributes
    assert (held["sys/name"], held["sys/description"]) == (("string", "svc"), ("string", "why"))
    assert held["sys/tags"] == ("stringSet", {"team=audio"})
    assert held["sys/failed"] == ("bool", False)
    assert held["parameters/a/b"] == ("int", 2)
    assert held["parameters/lr"] == ("string", "text now")
    assert held["parameters/n"] == ("string", str(2**31))
    assert [step for step, _, _ in held["loss"][1]] == [0, 1, 2, 3, 4, 5, 6, 20, 20.25]
    assert [text for _, _, text in held["multitrack/steps/loss"][1]] == ["1", "none", "0.5", "-3", "1" + "0" * 30]
    assert [time for _, time, _ in held["loss"][1]] == [START // 1000 + n for n in range(9)]
    assert [value for _, _, value in held["acc"][1]] == [n / 10 for n in range(1500)] + [2.0]
    assert held["multitrack/conclusion"][1][1].startswith(b'{"status": "finished"')
    assert held["artifacts/multitrack/records.jsonl.zst"][1][1] == Path(__file__).read_bytes()
    assert not any((tmp_path / ".neptune" / "offline").iterdir())


def test_the_run_is_not_written_again_while_a_sync_is_at_work(server: NeptuneDouble, tmp_path: Path) -> None:
    start = RunStarted(time=START, id=RUN, project="p")
    sink = OfflineSink(tmp_path)
    sink.open(start)
    sink.close()
    (tmp_path / ".neptune" / "async").mkdir()
    (folder,) = (tmp_path / ".neptune" / "offline").iterdir()
    shutil.move(folder, tmp_path / ".neptune" / "async" / "run__11111111-2222-3333-4444-555555555555__1__abcdefgh")
    from multitrack.errors import PermanentError

    with pytest.raises(PermanentError, match="`neptune sync` is at work"):
        OfflineSink(tmp_path).open(start)

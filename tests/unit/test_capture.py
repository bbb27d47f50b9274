"""What is recorded without being asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from multitrack.capture import Capture
from multitrack.capture.captures import Captures
from multitrack.capture.environment import environment
from multitrack.capture.recorder import Recorder
from multitrack.journal import RunFolder
from multitrack.masking import Mask, strip_credentials
from multitrack.records import CaptureFailed, Environment, Record


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:token@example.com:8080/a/b.git", "https://example.com:8080/a/b.git"),
        ("https://token@example.com/a", "https://example.com/a"),
        ("ssh://git@example.com/a", "ssh://example.com/a"),
        ("git@example.com:a/b.git", "git@example.com:a/b.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
        ("https://user:to@ken@example.com/a", "https://example.com/a"),
        ("http://[broken", None),
    ],
)
def test_remotes_lose_their_credentials(url: str, expected: str | None) -> None:
    assert strip_credentials(url) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["train.py", "--lr", "0.1", "--token", "abc"], ["train.py", "--lr", "0.1", "--token", "***"]),
        (["--api-key=abc", "--wandb_api_key", "abc", "--epochs=3"], ["--api-key=***", "--wandb_api_key", "***", "--epochs=3"]),
        (["db.password=abc", "--secret", "--verbose"], ["db.password=***", "--secret", "--verbose"]),
        (["postgresql://me:abc@host/db", "--uri=http://me:abc@host"], ["postgresql://***@host/db", "--uri=http://***@host"]),
        (["--tokenizer", "bert", "--max-tokens=5", "--key", "x"], ["--tokenizer", "bert", "--max-tokens=5", "--key", "x"]),
    ],
)
def test_command_lines_lose_what_looks_like_a_secret(command: list[str], expected: list[str]) -> None:
    assert Mask().command(command) == expected


def test_the_environment() -> None:
    here = environment()
    assert here.python == ".".join(map(str, sys.version_info[:3]))
    assert here.packages["pydantic"]
    assert here.host
    assert (here.cpu_count or 0) > 0
    assert (here.memory or 0) > 1 << 20


ALL = Capture(code=True, environment=True, system=True, console=True)


def take(wanted: Capture, folder: Path) -> tuple[list[Record], dict[str, str]]:
    written: list[Record] = []
    captures = Captures(wanted, Recorder(folder=RunFolder(folder), write=written.append, mask=Mask()))
    captures.begin()
    return written, captures.end(30)


def test_what_is_not_wanted_is_not_taken(tmp_path: Path) -> None:
    written, failed = take(Capture(code=False, environment=True, system=False, console=False), tmp_path)
    assert [type(record) for record in written] == [Environment]
    assert failed == {}


def test_a_failure_is_recorded_and_the_rest_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_recorder: Recorder) -> None:
        raise OSError("no folder")

    monkeypatch.setattr("multitrack.capture.code.CodeWatch", fail)
    written, failed = take(ALL, tmp_path)
    assert failed == {"code": "OSError: no folder"}
    failure = next(record for record in written if isinstance(record, CaptureFailed))
    assert (failure.what, failure.error) == ("code", "OSError: no folder")
    assert any(isinstance(record, Environment) for record in written)

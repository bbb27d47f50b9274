"""`multitrack doctor`: what is wrong is found, where it comes from is told, and secrets are not."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import multitrack as mt
from multitrack.cli.app import run as multitrack
from multitrack.config.targets import Target
from multitrack.doctor import storage
from multitrack.doctor.services import _check_clock
from support.couriers import Bench
from support.plugins import SHELF, installed, write_plugin

Output = pytest.CaptureFixture[str]
SECRET = "sesame-open-twice"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without any configuration."""
    work = tmp_path / "work"
    (work / ".git").mkdir(parents=True)
    monkeypatch.chdir(work)
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return work


def look(capsys: Output, *arguments: str, code: int = 0) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the findings, by section and subject."""
    assert multitrack(["doctor", "--json", *arguments]) == code
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] == (code == 0)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in told["findings"]:
        found.setdefault((one["section"], one["subject"]), []).append(one)
    return found


def test_where_nothing_is_set_all_is_well(capsys: Output, folder: Path) -> None:
    found = look(capsys)
    assert {one["level"] for items in found.values() for one in items if one["subject"] != "file system"} == {"ok"}
    assert "the first run makes it" in found["store", "place"][0]["text"]
    assert not (folder / ".multitrack").exists()
    assert multitrack(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert f"multitrack: {mt_version()}" in shown
    assert sys.executable in shown


def mt_version() -> str:
    from importlib.metadata import version

    return version("multitrack")


def test_a_mistake_in_the_configuration_fails(capsys: Output, folder: Path) -> None:
    (folder / "multitrack.toml").write_text('mode = "onlin"\n')
    found = look(capsys, code=1)
    assert f"{folder}/multitrack.toml:1" in found["configuration", "settings"][0]["text"]
    assert found["installation", "multitrack"][0]["level"] == "ok"


def test_what_a_target_needs_and_is_not_installed_fails_with_its_pip_line(
    capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needy = SHELF.replace('"shelf"', '"needy"').replace(
        'label = "Shelf"', 'label = "Needy"\n    extra = "all"\n    requires = ("no_such",)'
    )
    write_plugin(tmp_path / "more", "needy", "needy", "needy_backend:ShelfBackend", needy_backend=needy)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"))
    with installed(tmp_path / "more"):
        assert look(capsys)["installation", "needy"][0]["level"] == "ok"  # nobody uses it
        monkeypatch.setenv("MULTITRACK_BACKENDS", "needy")
        found = look(capsys, code=1)
    assert found["installation", "needy"][0]["remedy"] == "pip install 'needy[all]'"
    assert found["installation", "needy"][0]["level"] == "fail"
    assert "pip install 'needy[all]'" in found["targets", "needy"][0]["text"]


def test_notices_and_modes_are_told(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTITRACK_BACKND", "x")
    monkeypatch.setenv("MULTITRACK_MODE", "disabled")
    found = look(capsys)
    assert [one["level"] for one in found["configuration", "variables"]] == ["ok", "warn"]
    assert "MULTITRACK_BACKENDS" in found["configuration", "variables"][1]["text"]
    assert found["configuration", "mode"][0]["level"] == "warn"


@pytest.mark.slow
def test_services_are_asked_at_the_same_time_and_secrets_are_not_told(bench: Bench) -> None:
    (bench.folder / "multitrack.toml").write_text(
        'backends = ["up", "down", "shut", "slow"]\n'
        + "".join(
            f'[targets.{name}]\nbackend = "flaky"\nlocation = "{bench.folder / name}"\n' for name in ("up", "down", "shut", "slow", "spare")
        )
        + 'wanted_token = "x"\n'
    )
    for service, rule in (("down", "down"), ("spare", "down"), ("shut", "refuse"), ("slow", "hang")):
        bench.rule(service, rule)
    begin = time.monotonic()
    done = bench.multitrack("doctor", "--timeout", "6", env={"MULTITRACK_UP__TOKEN": SECRET, "MULTITRACK_SPARE__TOKEN": SECRET})
    assert time.monotonic() - begin < 25
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("  ok    up: ") for line in lines)
    assert "  ok    up: login: token from MULTITRACK_UP__TOKEN" in lines
    assert "  ok    down: login: none is set here" in lines
    (down,) = [number for number, line in enumerate(lines) if line.startswith("  FAIL  down: ")]
    assert "nothing is lost" in lines[down + 1]
    (shut,) = [number for number, line in enumerate(lines) if line.startswith("  FAIL  shut: ")]
    assert "correct its login (token)" in lines[shut + 1]
    assert any("FAIL  slow: " in line and "no answer within 6 s" in line for line in lines)
    assert any(line.startswith("  WARN  spare: ") for line in lines)  # no run goes there


@pytest.mark.slow
def test_what_is_left_to_deliver_is_told_with_its_reason(bench: Bench) -> None:
    bench.run("run = mt.init(mode='deferred', backends=[address('one'), address('two')], quiet=True)\nrun.log({'a': 1})\nrun.finish()")
    done = bench.multitrack("doctor", "--json")
    left = [one for one in json.loads(done.stdout)["findings"] if one["section"] == "deliveries"]
    assert [one["level"] for one in left] == ["warn", "warn"]
    assert all("1 run and " in one["text"] and "nobody is delivering" in one["text"] for one in left)
    assert {one["remedy"] for one in left} == {"multitrack sync"}
    bench.rule("one", "refuse")
    assert bench.multitrack("sync").returncode == 1
    (left,) = [one for one in json.loads(bench.multitrack("doctor", "--json").stdout)["findings"] if one["section"] == "deliveries"]
    assert "remove the reason" in left["remedy"]
    bench.rule("one", "refuse", on=False)
    assert bench.multitrack("sync").returncode == 0
    assert "nothing is left to deliver" in bench.multitrack("doctor").stdout


# -- the store


def record() -> mt.Run:
    with mt.init(quiet=True, capture=mt.Capture(code=False, environment=False, system=False, console=False)) as run:
        run.log({"loss": 1.0})
        run.log({"loss": 2.0})
    return run


def test_damaged_journals_are_found(capsys: Output) -> None:
    whole, headless, torn = record(), record(), record()
    for run, old, new in ((headless, b'"format":1', b'"format":2'), (torn, b'"loss":1.0', b'"loss')):
        (path,) = (run.dir / "records").glob("*.jsonl")
        path.write_bytes(path.read_bytes().replace(old, new))
    found = look(capsys)
    assert "1 of 3 runs are damaged" in found["store", "journals"][0]["text"]
    assert ("store", headless.id) in found
    found = look(capsys, "--deep")
    assert "2 of 3 runs are damaged" in found["store", "journals"][0]["text"]
    assert "damaged lines: 1" in found["store", torn.id][0]["text"]
    assert ("store", whole.id) not in found
    assert f"multitrack delete {torn.id} --force" in found["store", torn.id][0]["remedy"]


@pytest.mark.skipif(sys.platform != "linux", reason="where nobody, not even root, may write to /proc")
def test_a_store_that_cannot_be_written_to_fails() -> None:
    finding = storage._check_writing(Path("/proc"))
    assert (finding.level, "MULTITRACK_DIR" in (finding.remedy or "")) == ("fail", True)


def test_a_store_without_locks_fails(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    run = record()

    def flock(_fd: int, _flags: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        finding = storage._check_writing(run.dir.parent.parent)
    assert (finding.level, "locks do not work" in finding.text) == ("fail", True)
    assert not list(run.dir.parent.parent.glob(".doctor-*"))


@pytest.mark.parametrize(("free", "level"), [(10, "fail"), (500_000_000, "warn"), (50_000_000_000, "ok")])
def test_a_disk_that_is_nearly_full_is_told(free: int, level: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(10**12, 0, free))
    assert next(iter(storage._check_disk(folder))).level == level


@pytest.mark.parametrize(
    ("kind", "told"),
    [("nfs4", "shared by the network"), ("lustre", "shared"), ("tmpfs", "restart"), ("overlay", "container"), ("ext4", None)],
)
def test_file_systems_that_need_care_are_told(kind: str, told: str | None) -> None:
    text, remedy = storage._judge(kind)
    assert (remedy is None) == (told is None)
    assert told is None or told in text


@pytest.mark.skipif(sys.platform != "linux", reason="where /dev/shm is a tmpfs")
def test_the_file_system_is_that_of_the_folder(folder: Path) -> None:
    assert storage.file_system_of(Path("/dev/shm")) == "tmpfs"
    kind = subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True).stdout.strip()
    assert storage.file_system_of(folder)[:3] == kind[:3]


# -- the clock


@pytest.fixture
def clock() -> Iterator[tuple[str, dict[str, str]]]:
    """A server that says what time it is, and no more."""
    said: dict[str, str] = {}

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(401)
            self.send_header("Date", said["date"])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", said
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("ahead", "told"), [(0, None), (3600, "behind"), (-3600, "ahead of")])
def test_a_clock_that_is_wrong_is_told(clock: tuple[str, dict[str, str]], ahead: float, told: str | None) -> None:
    from multitrack.backend import BackendSettings
    from multitrack.config.filters import Filters

    url, said = clock
    said["date"] = formatdate(time.time() + ahead, usegmt=True)
    finding = _check_clock(Target("team", "mlflow", url, BackendSettings(), Filters()))
    assert (finding is None) == (told is None)
    if finding is not None:
        assert f"{told} the server's" in finding.text
        assert finding.level == "warn"


def test_a_clock_that_nobody_tells_is_no_matter() -> None:
    from multitrack.backend import BackendSettings
    from multitrack.config.filters import Filters

    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        assert _check_clock(Target("team", "mlflow", url, BackendSettings(), Filters())) is None
    assert _check_clock(Target("team", "mlflow", "sqlite:///x.db", BackendSettings(), Filters())) is None


def test_a_login_in_a_file_of_the_vendors_is_named(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MULTITRACK_BACKENDS", "mlflow:http://127.0.0.1:9")
    file = tmp_path / ".netrc"
    file.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    file.chmod(0o600)
    found = look(capsys, "--timeout", "20", code=1)
    texts = [one["text"] for (section, _), items in found.items() if section == "targets" for one in items]
    assert f"login: one in {file}" in texts
    assert not any(SECRET in text for text in texts)

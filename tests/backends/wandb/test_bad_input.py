"""What people give wrongly is answered by one line that says what, on the command line too, and at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import multitrack as mt
from multitrack.backend import RunFilter
from multitrack.cli.app import run as multitrack
from multitrack.errors import ConfigError, PermanentError
from multitrack.testing.scene import Scene
from multitrack_wandb import WandbBackend
from services.wandb_double.server import WandbDouble

Output = pytest.CaptureFixture[str]


@pytest.fixture
def login(double: WandbDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A shell that is logged in, in a folder with one local run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "multitrack.toml").touch()
    for name in ("cache", "config"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    monkeypatch.setenv("WANDB_BASE_URL", double.url)
    monkeypatch.setenv("WANDB_API_KEY", double.key)
    with mt.init(project="digits", backends="local", quiet=True, capture=mt.Capture(code=False, environment=False, console=False)) as run:
        run.log({"loss": 0.5})
    return monkeypatch


def told(capsys: Output, *words: str) -> str:
    """Run a command that fails; return the one line that it tells."""
    capsys.readouterr()
    assert multitrack(list(words)) != 0
    (line,) = capsys.readouterr().err.splitlines()
    return line


READ_AND_WRITE = pytest.mark.parametrize(
    "words", [["runs", "{}"], ["migrate", "{}", "local:./there"], ["migrate", "local", "{}"]], ids=["listed", "read", "written"]
)


def command(words: Sequence[str], address: str) -> list[str]:
    return [word.format(address) for word in words]


@pytest.mark.slow
@READ_AND_WRITE
def test_no_key(words: list[str], login: pytest.MonkeyPatch, double: WandbDouble, capsys: Output) -> None:
    login.delenv("WANDB_API_KEY")
    line = told(capsys, *command(words, "wandb:team/digits"))
    assert line == f"multitrack: there is no login for {double.url}: set WANDB_API_KEY, or run `wandb login`"
    assert double.requests.total() == 0


@pytest.mark.slow
@READ_AND_WRITE
def test_a_wrong_key(words: list[str], login: pytest.MonkeyPatch, double: WandbDouble, capsys: Output) -> None:
    login.setenv("WANDB_API_KEY", "x" * 40)
    line = told(capsys, *command(words, "wandb:team/digits"))
    assert "W&B refuses the login" in line
    assert "Set WANDB_API_KEY" in line
    assert "xxxx" not in line
    assert not list(double.state.all_runs())


@pytest.mark.slow
@READ_AND_WRITE
@pytest.mark.parametrize(("entity", "reason"), [("others", "permission denied: others"), ("nobody", "entity nobody not found")])
def test_an_entity_that_is_not_ones_own(
    words: list[str], entity: str, reason: str, login: pytest.MonkeyPatch, double: WandbDouble, capsys: Output
) -> None:
    assert reason in told(capsys, *command(words, f"wandb:{entity}/digits"))
    assert not list(double.state.all_runs())


@pytest.mark.slow
@pytest.mark.parametrize("words", [["runs", "{}"], ["migrate", "{}", "local:./there"]], ids=["listed", "read"])
def test_a_project_that_is_not_there(words: list[str], login: pytest.MonkeyPatch, capsys: Output) -> None:
    line = told(capsys, *command(words, "wandb:team/no-such"))
    assert line == "multitrack: W&B has no project team/no-such, or does not show it to this login"


@pytest.mark.slow
def test_a_run_that_was_deleted(login: pytest.MonkeyPatch, double: WandbDouble, capsys: Output) -> None:
    assert multitrack(["migrate", "local", "wandb:team/digits"]) == 0
    (there,) = double.state.all_runs()
    double.state.delete_run(there.id)
    assert f"wandb:team/digits has no run '{there.name}'" in told(capsys, "show", f"wandb:team/digits#{there.name}")


@pytest.mark.parametrize("location", ["team/digits/more", "team/a?b", "team/" + "x" * 129])
def test_a_name_that_no_project_has(location: str, capsys: Output) -> None:
    line = told(capsys, "runs", f"wandb:{location}")
    assert "is no W&B location" in line
    assert r"none of / \ # ? % :" in line
    with pytest.raises(ConfigError):
        mt.open(f"wandb:{location}")


def test_a_path_where_nothing_is(tmp_path: Path, capsys: Output) -> None:
    assert f"there is no folder {tmp_path / 'nothing'}" in told(capsys, "runs", f"wandb:{tmp_path / 'nothing'}")


def test_a_path_that_is_no_folder(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "train.py").write_text("print()\n")
    backend = WandbBackend(str(tmp_path / "train.py"))
    words = "train.py is neither a folder nor a .wandb file"
    assert words in told(capsys, "runs", f"wandb:{tmp_path / 'train.py'}")
    for act in (backend.check, lambda: list(backend.source().runs(RunFilter()))):
        with pytest.raises(PermanentError, match=words):
            act()


def test_runs_are_not_written_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "run.wandb").write_bytes(b"")
    scene = Scene(tmp_path, WandbBackend(str(tmp_path / "run.wandb")))
    with pytest.raises(PermanentError, match=r"run\.wandb is no folder"):
        scene.deliver(scene.record(scene.start(project="digits"), []))

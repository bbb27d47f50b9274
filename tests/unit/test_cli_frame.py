"""The command line's frame: exit codes, one-line errors, and commands that are loaded when they are asked for."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from multitrack.cli.app import run
from multitrack.records import Metrics, encode
from support.plugins import SHELF, installed, write_plugin

MULTITRACK = str(Path(sys.executable).with_name("multitrack"))


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder, a home and variables without any configuration, and the backend `shelf`."""
    folder = tmp_path / "work"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    for name in [name for name in os.environ if name.startswith("MULTITRACK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    write_plugin(tmp_path / "site", "shelf", "shelf", "shelf_backend:ShelfBackend", shelf_backend=SHELF)
    with installed(tmp_path / "site"):
        yield folder


Output = pytest.CaptureFixture[str]


# -- the frame --------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(capsys: Output) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("backends", "config", "schema"):
        assert f"\n  {command} " in shown


@pytest.mark.parametrize("command", ["backends", "config", "schema"])
def test_every_command_explains_itself(capsys: Output, command: str) -> None:
    assert run([command, "--help"]) == 0
    assert f"multitrack {command}" in capsys.readouterr().out


def test_the_version_is_the_distributions(capsys: Output) -> None:
    from importlib.metadata import version

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"multitrack {version('multitrack')}\n"


@pytest.mark.parametrize(
    ("arguments", "reason"), [([], "Usage:"), (["confg"], "config"), (["config", "--nope"], "--nope"), (["schema", "a", "b"], "b")]
)
def test_a_command_line_that_is_not_understood_ends_with_2(capsys: Output, arguments: list[str], reason: str) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert reason in out + err


def test_an_error_is_one_line_on_stderr(capsys: Output) -> None:
    assert run(["schema", "metric"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("multitrack: there is no kind of record 'metric'. Did you mean 'metrics'?")
    assert err.count("\n") == 1


def test_debug_shows_where_an_error_comes_from() -> None:
    env = {**os.environ, "MULTITRACK_DEBUG": "1"}
    done = subprocess.run([MULTITRACK, "schema", "metric"], env=env, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
    assert "ConfigError" in done.stderr


def test_an_unforeseen_error_is_one_line_too(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)  # as in a broken installation
    monkeypatch.delitem(sys.modules, "multitrack.cli.output", raising=False)
    monkeypatch.delitem(sys.modules, "multitrack.cli.schema", raising=False)
    assert run(["schema"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("multitrack: this should not have happened: ModuleNotFoundError")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["schema", "backends"])  # more than a buffer holds, and less
def test_a_reader_that_leaves_early_is_no_error_to_read_about(command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([MULTITRACK, command], stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=env)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_ctrl_c_before_a_command_runs_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("multitrack.cli.app.make_app", interrupted)
    assert run(["config"]) == 130
    assert capsys.readouterr().err == ""


def test_ctrl_c_ends_with_130(tmp_path: Path) -> None:
    write_plugin(
        tmp_path / "slow", "slow", "slow", "slow_backend:X", slow_backend="import time\nprint('there', flush=True)\ntime.sleep(60)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path / "slow"), os.environ.get("PYTHONPATH")]))}
    with subprocess.Popen([MULTITRACK, "backends"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_commands_are_imported_when_they_are_run() -> None:
    code = (
        "import sys; from multitrack.cli.app import run; run(['--version'])\n"
        "heavy = {'rich', 'pydantic', 'mlflow', 'pandas', 'numpy', 'multitrack.cli.config', 'multitrack.records'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "run(['--help'])\n"
        "print(sorted({'rich', 'mlflow', 'pandas', 'numpy', 'multitrack_mlflow'} & set(sys.modules)))"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[1] == "[]"
    assert lines[-1] == "[]"


def test_the_command_line_starts_quickly() -> None:
    def measure() -> float:
        start = time.perf_counter()
        subprocess.run([MULTITRACK, "--version"], check=True, capture_output=True)
        return time.perf_counter() - start

    assert min(measure() for _ in range(5)) < 0.5  # 0.08 s on an idle machine


# -- schema -----------------------------------------------------------------------------------------------------------


def test_schema_describes_the_lines_of_a_journal(capsys: Output) -> None:
    assert run(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(encode(Metrics(time=1, values={"loss": 0.5}), 0)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"kind": "metrics", "seq": 0}, schema)


def test_schema_of_one_kind_is_that_kind_alone(capsys: Output) -> None:
    assert run(["schema", "summary"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["oneOf"] == [{"$ref": "#/$defs/Summary"}]


# -- backends ---------------------------------------------------------------------------------------------------------


def test_backends_tells_what_each_can_do_and_lacks(capsys: Output, tmp_path: Path) -> None:
    needy = SHELF.replace('"shelf"', '"needy"').replace(
        'label = "Shelf"', 'label = "Needy"\n    extra = "all"\n    requires = ("no_such_package",)'
    )
    write_plugin(tmp_path / "more", "needy", "needy", "needy_backend:ShelfBackend", needy_backend=needy)
    write_plugin(tmp_path / "more", "splinters", "broken", "broken_backend:X", broken_backend="import no_such_thing")
    with installed(tmp_path / "more"):
        assert run(["backends", "--json"]) == 0
        found = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
        assert run(["backends"]) == 0
        table = capsys.readouterr().out
    assert (found["shelf"]["installed"], found["shelf"]["writes"], found["shelf"]["reads"]) == (True, True, True)
    assert found["needy"]["missing"] == ["no_such_package"]
    assert found["needy"]["install"] == "pip install 'needy[all]'"
    assert "no_such_thing" in found["broken"]["error"]
    assert "pip install 'needy[all]'" in table
    assert "broken: the backend 'broken' of splinters 1.0" in table


def test_a_terminal_gets_a_drawn_table_and_nothing_is_taken_for_markup(tmp_path: Path) -> None:
    odd = SHELF.replace('"shelf"', '"odd"').replace('"Shelf"', '"[red]Odd"')
    write_plugin(tmp_path / "odd", "odd", "odd", "odd_backend:ShelfBackend", odd_backend=odd)
    path = os.pathsep.join(filter(None, [str(tmp_path / "odd"), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "PYTHONPATH": path}
    reader, terminal = pty.openpty()
    subprocess.run([MULTITRACK, "backends"], stdout=terminal, env=env, check=True)
    os.close(terminal)
    shown = os.read(reader, 100_000).decode()
    os.close(reader)
    assert "─" in shown
    assert "[red]Odd" in shown


# -- config -----------------------------------------------------------------------------------------------------------


def test_config_tells_what_holds_and_why_without_secrets(capsys: Output, empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = empty_folder / "multitrack.toml"
    file.write_text(
        'backends = ["prod"]\nproject = "digits"\n[targets.prod]\nbackend = "shelf"\nheight = 2\n[targets.other]\nbackend = "shelf"\n'
    )
    monkeypatch.setenv("MULTITRACK_PROD__KEY", "hush")
    monkeypatch.setenv("MULTITRACK_MODE", "deferred")
    monkeypatch.setenv("MULTITRACK_BACKND", "x")
    assert run(["config", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    settings = {item["name"]: (item["value"], item["origin"]) for item in shown["settings"]}
    assert settings["project"] == ("digits", f"{file}:2")
    assert settings["mode"] == ("deferred", "MULTITRACK_MODE")
    assert settings["quiet"] == (False, "default")
    prod, other = shown["targets"]
    values = {item["name"]: (item["value"], item["origin"]) for item in prod["values"]}
    assert values["location"] == ("/default", "default")
    assert values["height"] == (2.0, f"{file}:5")
    assert values["key"] == ("***", "MULTITRACK_PROD__KEY")
    assert (prod["used"], other["name"], other["used"]) == (True, "other", False)
    assert "MULTITRACK_BACKENDS" in shown["notices"][0]

    assert run(["config"]) == 0
    table = capsys.readouterr().out
    assert f"{file}:5" in table
    assert "hush" not in table
    assert "other (not used)" not in table
    assert "shelf (not used)" in table


def test_config_names_file_and_line_of_a_mistake(capsys: Output, empty_folder: Path) -> None:
    (empty_folder / "multitrack.toml").write_text('\nmode = "onlin"\n')
    assert run(["config"]) == 1
    assert capsys.readouterr().err.startswith(f"multitrack: {empty_folder}/multitrack.toml:2: mode: ")

"""What the documentation shows works: Python runs, commands and options exist, configurations are understood, links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from multitrack.cli.app import make_app
from multitrack.config import load_settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
GENERATED = {ROOT / "docs" / "configuration.md"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_runs(page: Path, tmp_path: Path) -> None:
    """The blocks of a page are one program, in an empty folder with the files that they speak of."""
    (tmp_path / "train.csv").write_text("x,y\n1,2\n")
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "multitrack.toml").touch()  # the project's root
    program = tmp_path / "program.py"
    program.write_text("\n".join(blocks(page, "python")))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MULTITRACK_", "MLFLOW_", "_MLFLOW_"))}
    env |= {name: str(tmp_path / "home") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
    env |= {"PYTHONPATH": str(ROOT / "examples" / "backend-sqlite"), "MULTITRACK_COURIER_LINGER": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run([sys.executable, str(program)], cwd=tmp_path, env=env, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pages
def test_commands_exist(page: Path) -> None:
    for line in "".join(blocks(page, "console")).splitlines():
        assert line.startswith("$ "), f"{line!r}: what a command prints is not shown, since it would not be checked"
        words = [word for word in shlex.split(line[2:]) if not re.fullmatch(r"[A-Z_]+=.*", word)]
        check_command(words)


def check_command(words: list[str]) -> None:
    program, *arguments = words
    if program == "multitrack":
        name, *rest = arguments
        if rest and f"{name} {rest[0]}" in commands():
            name = f"{name} {rest.pop(0)}"
        assert name in commands(), f"there is no command {name!r}"
        unknown = {word for word in rest if word.startswith("-")} - commands()[name]
        assert not unknown, f"multitrack {name} has no {', '.join(unknown)}"
    elif program == "python":
        assert arguments[0] == "train.py" or (ROOT / arguments[0]).exists(), words
    elif program == "pip":
        assert arguments[0] == "install"
        assert_installable(arguments[1])
    else:
        assert program in ("sqlite3", "jq") or words[:2] in (["comet", "upload"], ["neptune", "sync"], ["wandb", "sync"]), words


@cache
def commands() -> dict[str, set[str]]:
    """Return the options of each command and sub-command (`data diff`), as the command line itself knows them."""
    app = make_app()
    known = {name: app.get_command(None, name) for name in app.list_commands(None)}
    known |= {f"{name} {inner}": one for name, group in known.items() for inner, one in getattr(group, "commands", {}).items()}
    found = {}
    for name, command in known.items():
        found[name] = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    return found


def assert_installable(what: str) -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    if match := re.fullmatch(r"(?:multitrack|.*/path/to/.*)\[(\w+)\]", what):
        assert match[1] in extras
    else:
        assert (ROOT / what / "pyproject.toml").is_file(), what


@pages
def test_commands_in_tables_exist(page: Path) -> None:
    for name in re.findall(r"`multitrack ([a-z]+)\b", page.read_text()):
        assert name in commands()


@pages
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^ {4}make ([a-z]+)", page.read_text(), re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml") and page not in GENERATED], ids=lambda page: page.name)
def test_configurations_are_understood(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "toml"):
        if "[project]" in block:
            continue  # a package's pyproject.toml
        (tmp_path / "multitrack.toml").write_text(block)
        settings = load_settings(tmp_path, {"XDG_CONFIG_HOME": str(tmp_path)})
        for target in settings.sources.target_names():
            assert settings.target(target).connect()


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if not re.match(r"[a-z]+://", link):
            path, _, heading = link.partition("#")
            found = page.parent / path if path else page
            assert found.exists(), link
            assert not heading or heading in headings(found), link


def headings(page: Path) -> set[str]:
    """Return a page's anchors, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

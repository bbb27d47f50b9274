"""The wheel and the editable install, each in an environment of its own: they hold everything, and nothing of the checkout is needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("multitrack", "multitrack_local", "multitrack_mlflow", "multitrack_wandb", "multitrack_comet", "multitrack_neptune")
IMPORT_ALL = """
import importlib, json, pkgutil, sys, multitrack
for module in pkgutil.walk_packages(multitrack.__path__, "multitrack."):
    if module.name != "multitrack.testing.conformance":  # a suite for pytest, which backend authors bring
        importlib.import_module(module.name)
print(json.dumps([importlib.import_module(name).__file__ for name in sys.argv[1:]]))
"""
TYPED_USE = """
import multitrack
from multitrack.address import Address
from multitrack_local import LocalBackend
from multitrack_mlflow import MLflowBackend

reveal_type(Address.parse("local").location)
reveal_type(LocalBackend.label)
reveal_type(MLflowBackend.label)
Address.parse(3)
"""


class Environment:
    """A virtual environment that sees this one's other packages, but neither its multitrack nor the checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=True)
        self.python = folder / "bin/python"
        self.packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
        # Folders that a .pth file names bring no .pth files of their own: the editable multitrack there stays behind.
        (self.packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def install(self, *arguments: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet", "--disable-pip-version-check"]
        offline = ["--no-deps", "--no-index", "--no-build-isolation", "--force-reinstall"]
        subprocess.run([*pip, *offline, *arguments], check=True, env=self._env())

    def run(self, *command: str) -> str:
        program = [str(self.folder / "bin" / command[0]), *command[1:]]
        return subprocess.run(program, cwd=self.folder, env=self._env(), capture_output=True, text=True, check=True).stdout

    def _env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MULTITRACK_", "PIP_"))}
        # Build isolation is off: the build backend is this environment's.
        return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the distributions are built from, so that building leaves nothing in the real one."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("src", "backends"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(checkout)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module", params=["wheel", "editable"])
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp(request.param))
    if request.param == "wheel":
        environment.install(str(request.getfixturevalue("wheel")))
    else:
        environment.install("--editable", str(request.getfixturevalue("checkout")))
    return environment


def test_the_wheel_holds_every_package_with_its_types_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for package in PACKAGES:
        assert f"{package}/__init__.py" in names
        assert f"{package}/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0] for name in names} == {*PACKAGES, "multitrack-0.1.0.dist-info"}
    sources = {str(file.relative_to(folder)) for folder in (ROOT / "src", ROOT / "backends") for file in folder.glob("*/**/*.py")}
    assert sources <= set(names)


def test_everything_can_be_imported(environment: Environment, checkout: Path) -> None:
    places = json.loads(environment.run("python", "-c", IMPORT_ALL, *PACKAGES))
    home = checkout if "editable" in str(environment.folder) else environment.packages
    for place in places:
        assert Path(place).is_relative_to(home)


def test_the_command_line_works(environment: Environment) -> None:
    assert "multitrack 0.1.0" in environment.run("multitrack", "--version")
    assert "Commands:" in environment.run("multitrack", "--help")


def test_the_backends_are_found_through_their_entry_points(environment: Environment) -> None:
    found = {item["name"]: item for item in json.loads(environment.run("multitrack", "backends", "--json"))}
    assert {"local", "mlflow"} <= set(found)
    assert all(found[name]["error"] is None for name in ("local", "mlflow"))


def test_type_checkers_find_the_types(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(TYPED_USE)
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        str(environment.python),
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    done = subprocess.run([*mypy, "use.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    revealed = [line.partition("Revealed type is ")[2] for line in done.stdout.splitlines() if "Revealed" in line]
    assert [text.strip('"').replace("builtins.", "") for text in revealed] == ["str | None", "str", "str"], done.stdout
    assert 'incompatible type "int"' in done.stdout
    assert "Found 1 error" in done.stdout

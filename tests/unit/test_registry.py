"""The registry: backends are found without being loaded, and each way of failing to load one has its own message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from multitrack import registry
from multitrack.config import load_settings
from multitrack.errors import ConfigError, MissingExtraError, UnknownBackendError
from support.plugins import SHELF, installed, write_plugin


def test_names_are_known_without_loading_a_backend() -> None:
    code = "import sys; from multitrack.registry import backend_names; print(*backend_names(), 'multitrack_mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"local", "mlflow"} < {*done.stdout.split()}
    assert done.stdout.endswith("False\n")


def test_a_third_party_backend_is_found_like_our_own(tmp_path: Path) -> None:
    write_plugin(tmp_path, "shelf", "shelf", "shelf_backend:ShelfBackend", shelf_backend=SHELF)
    with installed(tmp_path):
        assert "shelf" in registry.backend_names()
        cls = registry.load_backend("shelf")
        assert cls.label == "Shelf"
        assert registry.load_backend("shelf") is cls


def test_an_unknown_backend_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownBackendError, match=r"no backend 'mlfow'. Did you mean 'mlflow'\? Installed are: comet, local, mlflow"):
        registry.load_backend("mlfow")


def test_missing_packages_are_answered_with_the_pip_line(tmp_path: Path) -> None:
    needy = SHELF.replace(
        'label = "Shelf"', 'label = "Shelf"\n    extra = "wood"\n    requires = ("json", "no_such_package", "json.no_such_part")'
    )
    write_plugin(tmp_path, "shelf", "shelf", "shelf_backend:ShelfBackend", shelf_backend=needy)
    with installed(tmp_path):
        with pytest.raises(MissingExtraError) as caught:
            registry.load_backend("shelf")
        assert str(caught.value) == "Shelf needs no_such_package, json.no_such_part: pip install 'shelf[wood]'"
        assert registry.find_backend("shelf").label == "Shelf"


def test_our_own_extra_is_named_after_our_distribution() -> None:
    assert registry.install_line(registry.find_backend("mlflow")) == "pip install 'multitrack[mlflow]'"


def test_looking_for_a_package_imports_neither_it_nor_its_parent(tmp_path: Path) -> None:
    package = tmp_path / "loud_parent"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "part.py").write_text("")
    write_plugin(
        tmp_path,
        "shelf",
        "shelf",
        "shelf_backend:ShelfBackend",
        shelf_backend=SHELF.replace("settings_type", 'requires = ("loud_parent.part",)\n    settings_type'),
    )
    with installed(tmp_path):
        registry.load_backend("shelf")
        assert "loud_parent" not in sys.modules


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [
        ("broken:X", "import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("broken:X", "raise SystemError('boom')", "SystemError: boom"),
        ("broken:X", "", "has no attribute 'X'"),
        ("broken:X", "X = 3", "no subclass of multitrack.backend.Backend"),
        ("broken:ShelfBackend", SHELF, "calls itself 'shelf'"),
    ],
)
def test_a_broken_plugin_is_named_with_its_distribution_and_cause(tmp_path: Path, value: str, code: str, reason: str) -> None:
    write_plugin(tmp_path, "splinters", "broken", value, broken=code)
    with installed(tmp_path), pytest.raises(ConfigError, match=r"'broken' of splinters 1\.0") as caught:
        registry.load_backend("broken")
    assert reason in str(caught.value)


def test_two_distributions_with_one_name_are_both_named(tmp_path: Path) -> None:
    write_plugin(tmp_path, "oak", "shelf", "shelf_backend:ShelfBackend", shelf_backend=SHELF)
    write_plugin(tmp_path, "elm", "shelf", "shelf_backend:ShelfBackend")
    with installed(tmp_path):
        with pytest.raises(ConfigError, match="offered by") as caught:
            registry.load_backend("shelf")
        assert "oak 1.0" in str(caught.value)
        assert "elm 1.0" in str(caught.value)
        assert registry.load_backend("mlflow").name == "mlflow"  # the clash is nobody else's trouble


FOLDERS = """
from multitrack.backend import Backend

class FoldersBackend(Backend):
    name = "folders"
    label = "Folders"
    extra = "folders"
    requires = ("no_such_reader", "no_such_client")

    @classmethod
    def requires_for(cls, location):
        return () if location is not None and location.startswith("/") else cls.requires

    def sink(self): ...
    def source(self): ...
"""


def test_what_has_to_be_installed_may_depend_on_the_location(tmp_path: Path) -> None:
    write_plugin(tmp_path, "folders", "folders", "folders_backend:FoldersBackend", folders_backend=FOLDERS)
    with installed(tmp_path):
        assert registry.load_backend("folders", "/data").name == "folders"
        with pytest.raises(MissingExtraError, match="no_such_client"):
            registry.load_backend("folders", "team/project")
        settings = load_settings(tmp_path, {}, backends=[f"folders:{tmp_path}"])
        assert settings.targets[0].connect().location == str(tmp_path)
        with pytest.raises(MissingExtraError, match="pip install"):
            load_settings(tmp_path, {}, backends=["folders:team/project"])

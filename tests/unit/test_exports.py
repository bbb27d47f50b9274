"""What `import multitrack` offers, and how little it brings along."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import multitrack

SDKS = ("mlflow", "wandb", "comet_ml", "neptune")
HEAVY = ("pandas", "numpy", "rich", "typer", "sklearn", "matplotlib", "sqlalchemy", "requests")
PACKAGES = ("multitrack.records", "multitrack.backend", "multitrack.config", "multitrack.cli", "multitrack_local", "multitrack_mlflow")


def modules_after(code: str) -> set[str]:
    """Return the names of the modules that a fresh interpreter holds after `code`."""
    program = f"{code}\nimport sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_every_public_name_is_there() -> None:
    assert multitrack.__all__ == sorted(multitrack.__all__)
    for name in multitrack.__all__:
        assert getattr(multitrack, name) is not None
    assert set(multitrack.__all__) <= set(dir(multitrack))


def test_every_public_name_is_also_known_to_type_checkers() -> None:
    """The lazily loaded names stand in `__init__.py` a second time, as imports that only type checkers see."""
    tree = ast.parse(Path(multitrack.__file__).read_text("utf-8"))
    imported = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert set(multitrack.__all__) <= imported | defined


def test_no_public_name_is_hidden_by_a_module_of_that_name() -> None:
    """Importing `multitrack.x` sets the attribute `x` of the package to the module, whatever stood there before."""
    code = (
        "import importlib, pkgutil, types, multitrack\n"
        "for module in pkgutil.iter_modules(multitrack.__path__): importlib.import_module('multitrack.' + module.name)\n"
        "hidden = [name for name in multitrack.__all__ if isinstance(getattr(multitrack, name), types.ModuleType)]\n"
        "assert not hidden, hidden"
    )
    modules_after(code)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_modules_all_lists_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        assert getattr(module, public) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'inti'"):
        multitrack.inti  # noqa: B018


def test_importing_multitrack_brings_no_sdk_and_nothing_heavy() -> None:
    assert modules_after("import multitrack").isdisjoint({*SDKS, *HEAVY, "pydantic"})


def test_loading_every_backend_class_and_name_brings_no_sdk_and_nothing_heavy() -> None:
    code = (
        "import multitrack\n"
        "for name in multitrack.__all__: getattr(multitrack, name)\n"
        "from multitrack.registry import backend_names, load_backend\n"
        "for name in backend_names(): load_backend(name)"
    )
    loaded = modules_after(code)
    assert {"multitrack_local", "multitrack_mlflow"} <= loaded
    assert loaded.isdisjoint({*SDKS, *HEAVY})


def test_no_module_of_the_core_imports_an_sdk() -> None:
    names = [module.name for module in pkgutil.walk_packages(multitrack.__path__, "multitrack.") if not module.name.endswith("__main__")]
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    assert modules_after(code).isdisjoint(SDKS)

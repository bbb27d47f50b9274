"""Settings of every form that programs have, with the real libraries."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

import attrs
import click
import omegaconf
import pydantic
import pytest
import typer
from absl import flags
from click.testing import CliRunner
from pydantic import v1
from typer.testing import CliRunner as TyperRunner

from multitrack.params import Given, read_params

NESTED = {"lr": 0.1, "model": {"width": 8, "kind": "mlp"}}


@dataclasses.dataclass
class Model:
    width: int = 8
    kind: str = "mlp"


@dataclasses.dataclass
class Config:
    lr: float = 0.1
    model: Model = dataclasses.field(default_factory=Model)
    late: int = dataclasses.field(init=False, repr=False)


@attrs.define
class AttrsModel:
    width: int = 8
    kind: str = "mlp"


@attrs.frozen
class AttrsConfig:
    lr: float = 0.1
    model: AttrsModel = attrs.Factory(AttrsModel)


class Point(typing.NamedTuple):
    lr: float
    model: Any


class PlainModel:
    kind = "mlp"

    def __init__(self) -> None:
        self.width = 8
        self._cache = object()


class PlainConfig:
    lr = 0.1
    _private = 1

    def __init__(self) -> None:
        self.model = PlainModel()

    @property
    def computed(self) -> int:
        raise AssertionError("a property is nobody's setting")

    def method(self) -> None: ...


class MappingInAllButName:
    """As `ml_collections.ConfigDict` is."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def keys(self) -> Any:
        return self._values.keys()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]


class Slotted:
    __slots__ = ("lr", "model", "unset")

    def __init__(self) -> None:
        self.lr, self.model = 0.1, types.SimpleNamespace(width=8, kind="mlp")


@pytest.mark.parametrize(
    "settings",
    [
        NESTED,
        collections.OrderedDict(NESTED),
        types.MappingProxyType(NESTED),
        collections.ChainMap({"lr": 0.1}, NESTED),
        argparse.Namespace(lr=0.1, model=argparse.Namespace(width=8, kind="mlp")),
        types.SimpleNamespace(lr=0.1, model=Model()),
        Config(),
        AttrsConfig(),
        Point(0.1, Model()),
        Slotted(),
        MappingInAllButName(NESTED),
        omegaconf.OmegaConf.create(NESTED),
        omegaconf.OmegaConf.structured({"lr": 0.1, "model": Model}),
        {"lr": 0.1, "model": omegaconf.OmegaConf.create({"width": 8, "kind": "mlp"})},
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_every_form_says_the_same(settings: object) -> None:
    assert read_params(settings) == Given(NESTED, {})


def test_objects_have_their_attributes_and_those_of_their_classes() -> None:
    assert read_params(PlainConfig()) == Given(NESTED, {"lr": "default", "model": {"kind": "default"}})
    assert read_params(PlainConfig).values == {"lr": 0.1}


def test_a_module_of_settings() -> None:
    module = types.ModuleType("config")
    exec("import os\nLR = 0.1\nmodel = {'width': 8}\n_hidden = 1\ndef f(): ...\nclass C: ...\n", module.__dict__)
    assert read_params(module).values == {"LR": 0.1, "model": {"width": 8}}


@pytest.mark.parametrize(
    "settings", ["lr=0.1", b"x", 3, 0.5, None, [1], (1, 2), {1}, object(), print, lambda: None, object, int, Path("x")]
)
def test_what_has_no_names_is_refused(settings: object) -> None:
    with pytest.raises(TypeError, match="params must be a mapping, or an object with attributes"):
        read_params(settings)


# -- pydantic


class PydanticModel(pydantic.BaseModel):
    width: int = 8
    kind: str = "mlp"


class PydanticConfig(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    lr: float = 0.1
    model: PydanticModel = PydanticModel()
    key: pydantic.SecretStr = pydantic.SecretStr("hush")
    big: list[int] = pydantic.Field(default=[1], exclude=True)


def test_pydantic_knows_what_was_not_given() -> None:
    read = read_params(PydanticConfig(lr=0.1, more=3, model=PydanticModel(width=8)))
    assert read.values == {**NESTED, "key": "***", "more": 3}
    assert read.sources == {"key": "default", "model": {"kind": "default"}}


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="pydantic.v1 ends with Python 3.13")
def test_pydantic_1() -> None:
    class Old(v1.BaseModel):
        lr: float = 0.1
        depth: int = 3
        key: v1.SecretStr = v1.SecretStr("hush")

    assert read_params(Old(depth=3)) == Given({"lr": 0.1, "depth": 3, "key": "***"}, {"lr": "default", "key": "default"})


# -- OmegaConf


def test_interpolations_are_resolved_and_missing_values_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIDTH", "8")
    monkeypatch.setenv("DB_PASSWORD", "hush")
    config = omegaconf.OmegaConf.create(
        {
            "lr": 0.1, "twice": {"lr": "${lr}", "name": "lr-${lr}"}, "data": {"path": "???"}, "lost": "${nowhere.to_be}",
            "to_missing": "${data.path}", "width": "${oc.env:WIDTH}", "login": "me:${oc.env:DB_PASSWORD}",
            "layers": [{"width": "${lr}"}, "???"], "none": None, "part": "${twice}",
        }
    )  # fmt: skip
    read = read_params(config)
    assert read.values == {
        "lr": 0.1, "twice": {"lr": 0.1, "name": "lr-0.1"}, "data": {"path": "???"}, "lost": "${nowhere.to_be}",
        "to_missing": "${data.path}", "width": "8", "login": "***",
        "layers": [{"width": 0.1}, "???"], "none": None, "part": {"lr": 0.1, "name": "lr-0.1"},
    }  # fmt: skip
    assert read.sources == {"data": {"path": "missing"}, "lost": "unresolved", "to_missing": "unresolved"}


HYDRA = """
import hydra, json, omegaconf
from multitrack.params import read_params

@hydra.main(config_path="conf", config_name="config", version_base=None)
def main(config):
    print("READ", json.dumps([read_params(config), read_params(config.optimizer), read_params({"conf": config})]))

main()
"""


def test_hydra_knows_what_its_configs_are_made_of(tmp_path: Path) -> None:
    files = {
        "train.py": HYDRA,
        "conf/config.yaml": "defaults:\n  - optimizer: sgd\n  - _self_\nseed: 1\nepochs: 3\ndata:\n  path: ???\n  rows: 5\n",
        "conf/optimizer/sgd.yaml": "name: sgd\nlr: 0.1\n",
        "conf/optimizer/adam.yaml": "name: adam\nlr: 0.001\nbetas: [0.9, 0.999]\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    command = [sys.executable, "train.py", "optimizer=adam", "optimizer.lr=0.1", "epochs=9", "+new.thing=2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, part, inside = json.loads(done.stdout.rpartition("READ ")[2])
    assert whole[0]["optimizer"] == {"name": "adam", "lr": 0.1, "betas": [0.9, 0.999]}
    optimizer = {"name": "file conf/optimizer/adam.yaml", "lr": "command line", "betas": "file conf/optimizer/adam.yaml"}
    assert whole[1] == {
        "seed": "file conf/config.yaml",
        "epochs": "command line",
        "optimizer": optimizer,
        "data": {"path": "missing", "rows": "file conf/config.yaml"},
        "new": {"thing": "command line"},
    }
    assert part[1] == optimizer
    assert inside == [{"conf": whole[0]}, {"conf": whole[1]}]


# -- absl, click, typer


def test_absl_flags() -> None:
    values = flags.FlagValues()
    flags.DEFINE_float("lr", 0.1, "", flag_values=values)
    flags.DEFINE_integer("depth", 3, "", flag_values=values)
    flags.DEFINE_list("names", ["a"], "", flag_values=values)
    flags.DEFINE_enum("kind", "mlp", ["mlp", "cnn"], "", flag_values=values)
    values(["train", "--lr=0.1", "--kind=cnn"])
    values.depth = 5
    read = read_params(values)
    assert read.values == {"lr": 0.1, "depth": 5, "names": ["a"], "kind": "cnn"}
    assert read.sources == {"lr": "command line", "kind": "command line", "names": "default"}


def test_absls_own_flags_are_no_settings() -> None:
    from absl import logging  # defines `verbosity` and others

    assert logging
    assert "verbosity" in flags.FLAGS
    assert "verbosity" not in read_params({"flags": flags.FLAGS}).values["flags"]


def test_a_context_of_click(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Given] = []

    @click.group()
    @click.option("--verbose", is_flag=True)
    def main(verbose: bool) -> None: ...

    @main.command()
    @click.argument("data")
    @click.option("--lr", default=0.1)
    @click.option("--depth", default=3, envvar="DEPTH")
    @click.option("--width", default=8)
    @click.option("--rows", default=1)
    @click.pass_context
    def train(context: click.Context, **_: Any) -> None:
        found.append(read_params(context))

    monkeypatch.setenv("DEPTH", "5")
    arguments = ["--verbose", "train", "x.csv", "--lr", "0.1"]
    done = CliRunner().invoke(main, arguments, default_map={"train": {"rows": 7}}, catch_exceptions=False)
    assert done.exit_code == 0
    assert found == [
        Given(
            {"verbose": True, "data": "x.csv", "lr": 0.1, "depth": 5, "width": 8, "rows": 7},
            {
                "verbose": "command line",
                "data": "command line",
                "lr": "command line",
                "depth": "environment",
                "width": "default",
                "rows": "file",
            },
        )
    ]


def test_a_context_of_typer() -> None:
    found: list[Given] = []
    app = typer.Typer()

    @app.command()
    def train(context: typer.Context, lr: float = 0.1, depth: int = 3) -> None:
        found.append(read_params(context))

    assert TyperRunner().invoke(app, ["--depth", "3"]).exit_code == 0
    assert found == [Given({"lr": 0.1, "depth": 3}, {"lr": "default", "depth": "command line"})]


def test_nothing_is_imported_for_their_sake() -> None:
    program = (
        "import sys, multitrack.params as p; p.read_params({'a': object(), 'b': (1, 2)})\n"
        "print([m for m in ('attr', 'attrs', 'omegaconf', 'hydra', 'absl', 'click', 'typer', 'numpy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

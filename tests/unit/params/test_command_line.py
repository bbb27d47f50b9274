"""argparse: which values were given, which are defaults, which the program has changed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from multitrack.params import read_params


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    parser.add_argument("data", nargs="?", default="train.csv")
    parser.add_argument("--lr", "--learning-rate", type=float, default=0.1)
    parser.add_argument("-n", "--epochs", type=int, default=3)
    parser.add_argument("--verbose", "-v", action="store_true")
    parser.add_argument("--no-shuffle", dest="shuffle", action="store_false")
    parser.add_argument("--layers", type=int, nargs="+", default=[8, 8])
    parser.add_argument("--out", type=Path, default=Path("out"))
    return parser


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], set()),
        (["--lr", "0.1"], {"lr"}),
        (["--lr=0.5"], {"lr"}),
        (["--learning-rate=0.1"], {"lr"}),
        (["--learn=0.1"], {"lr"}),
        (["-n3"], {"epochs"}),
        (["-n", "5", "-v"], {"epochs", "verbose"}),
        (["--no-shuffle"], {"shuffle"}),
        (["--layers", "8", "8"], {"layers"}),
        (["other.csv"], {"data"}),
        (["--out", "out", "--", "x"], {"out", "data"}),
    ],
)
def test_what_was_given(arguments: list[str], given: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    parser = make_parser()
    read = read_params(parser.parse_args(), parser)
    assert {name for name, source in read.sources.items() if source == "command line"} == given
    assert {name for name, source in read.sources.items() if source == "default"} == set(read.values) - given


def test_what_the_program_has_changed_since_has_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    parser = make_parser()
    args = parser.parse_args()
    args.epochs, args.device = 99, "cuda:0"
    sources = read_params(args, parser).sources
    assert "epochs" not in sources
    assert "device" not in sources


def test_arguments_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "args"
    file.write_text("--lr\n0.5\n")
    monkeypatch.setattr(sys, "argv", ["train.py", f"@{file}", "-n", "4"])
    parser = make_parser()
    sources = read_params(parser.parse_args(), parser).sources
    assert (sources["lr"], sources["epochs"], sources["out"]) == (f"file {file}", "command line", "default")


@pytest.mark.parametrize("options", [{"dest": "command"}, {}])
def test_subcommands(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(**options)
    train, test = commands.add_parser("train"), commands.add_parser("test")
    train.add_argument("--lr", type=float, default=0.1)
    train.add_argument("--depth", type=int, default=3)
    test.add_argument("--lr", type=float, default=0.7)
    monkeypatch.setattr(sys, "argv", ["main.py", "train", "--depth", "3"])
    sources = read_params(parser.parse_args(), parser).sources
    assert (sources["lr"], sources["depth"]) == ("default", "command line")


def test_only_argparse_knows() -> None:
    with pytest.raises(TypeError, match=r"parser is an argparse.ArgumentParser, not str"):
        read_params({"a": 1}, "parser")

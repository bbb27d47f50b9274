"""A program that handles credentials as programs do: none of them is in the store afterwards, wherever it went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from multitrack import open as open_store
from support.credentials import drawn, private_key, web_token

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
SECRETS = {
    "argument": drawn(LETTERS, 20, "argument"),
    "param": drawn(LETTERS, 20, "param"),
    "nested": drawn(LETTERS, 20, "nested"),
    "url": drawn(LETTERS, 20, "url"),
    "signature": drawn("0123456789abcdef", 64, "signature"),
    "github": "gh" + "p_" + drawn(LETTERS, 36, "github"),
    "jwt": web_token(),
    "tag": drawn(LETTERS, 20, "tag"),
    "badge": "BADGE-" + drawn("0123456789", 12, "badge").upper().replace("A", "1"),
    "raised": drawn(LETTERS, 20, "raised"),
    "key": private_key()[1][3],
}

PROGRAM = """
import argparse, json, os, sys
import multitrack as mt

given = json.loads(sys.stdin.read())  # as from a vault: neither in the arguments nor in the variables
parser = argparse.ArgumentParser()
parser.add_argument("--api-key")
parser.add_argument("--db")
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()

run = mt.init(
    project="p",
    name="with " + given["github"],
    params={
        "password": given["param"],
        "db": {"url": f"postgresql://me:{given['url']}@db/x", "auth_token": given["nested"]},
        "max_tokens": 5,
    },
    tags={"api_token": given["tag"], "note": given["jwt"]},
    notes="see https://b.s3.amazonaws.com/k?X-Amz-Signature=" + given["signature"],
    group=given["badge"],
)
run.log_params(args, parser=parser)
run.log_params({"pem": given["pem"], "tokenizer": "gpt2", "authors": ["jo"]})
run.set_notes("with " + given["github"])
run.set_name("named " + given["jwt"])
run.set_tags(["tag " + given["badge"]])
presigned = "https://b.s3.amazonaws.com/k?X-Amz-Signature=" + given["signature"]
run.log_artifact(presigned, "far", reference=True, metadata={"token": given["tag"]})
print("connecting with", given["github"], flush=True)
print("password:", given["raised"], file=sys.stderr, flush=True)
os.write(1, ("Authorization: Bearer " + given["jwt"] + "\\n" + given["pem"] + "\\n").encode())
run.log({"loss": 0.5}, step=1)
raise ConnectionError(f"cannot reach postgresql://me:{given['raised']}@db/x: refused")
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "train.py").write_text(PROGRAM)
    (folder / "multitrack.toml").write_text("secret_patterns = ['BADGE-\\d+']\ncapture = ['code', 'environment', 'console']\n")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MULTITRACK_", "MLFLOW_"))}
    env |= {name: str(folder / "home") for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
    env |= {"SOME_TOKEN": SECRETS["tag"], "DATABASE_URL": f"postgresql://me:{SECRETS['url']}@db/x"}
    command = [sys.executable, "train.py", "--api-key", SECRETS["argument"], f"--db=redis://:{SECRETS['url']}@cache/0"]
    given = json.dumps({**SECRETS, "pem": private_key()[0]})
    done = subprocess.run(command, cwd=folder, env=env, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert "ConnectionError" in done.stderr
    assert SECRETS["raised"] in done.stderr  # the terminal shows what it always shows
    return folder / ".multitrack"


@pytest.mark.parametrize("name", SECRETS)
def test_no_file_of_the_store_holds_one(store: Path, name: str) -> None:
    secret = SECRETS[name].encode()
    files = [path for path in store.rglob("*") if path.is_file()]
    assert any(path.suffix == ".jsonl" for path in files)
    assert [str(path) for path in files if secret in path.read_bytes()] == []


def test_what_is_recorded_in_their_place(store: Path) -> None:
    with open_store(f"local:{store}") as here:
        (view,) = here.runs()
        state = view.state
    assert state.params["password"] == state.params["api_key"] == "***"
    assert state.params["max_tokens"] == 5
    assert state.params["tokenizer"] == "gpt2"
    assert state.params["authors"] == ["jo"]
    assert state.params["db"] == "redis://***@cache/0"
    assert state.param_sources == {"api_key": "command line", "db": "command line", "lr": "default"}
    assert state.tags["api_token"] == "***"
    assert state.error is not None
    assert "ConnectionError: cannot reach postgresql://***@db/x: refused" in state.error
    assert state.code is not None
    assert state.code.command is not None
    assert state.code.command[-3:] == ["--api-key", "***", "--db=redis://***@cache/0"]

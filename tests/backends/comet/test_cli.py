"""Archives from the command line, as people use them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.foreign_comet import write_archive

pytestmark = pytest.mark.slow


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run `multitrack` in the folder; return what it printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "multitrack.cli", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_archives_move_to_mlflow_and_back_and_are_the_same(tmp_path: Path) -> None:
    finished = write_archive(tmp_path / "finished", "finished")
    killed = write_archive(tmp_path / "killed", "killed")
    archives = tmp_path / "archives"
    archives.mkdir()
    shutil.copy(finished.zip, archives)
    shutil.copytree(killed.folder, archives / "killed")

    listed = {ref["id"]: ref["status"] for ref in json.loads(run(tmp_path, "runs", "comet:./archives", "--json"))}
    assert sorted(listed.values()) == ["crashed", "finished"]
    assert listed[finished.key] == "finished"
    assert "model.depth" in run(tmp_path, "show", f"comet:./archives#{finished.key}")

    run(tmp_path, "migrate", "comet:./archives", "mlflow:sqlite:///mlflow.db")
    assert "2 identical but for declared losses" in run(tmp_path, "verify", "comet:./archives", "mlflow:sqlite:///mlflow.db")
    run(tmp_path, "migrate", "mlflow:sqlite:///mlflow.db", "comet:./back")
    assert "2 are restored exactly" in run(tmp_path, "verify", "comet:./archives", "comet:./back")
    run(tmp_path, "migrate", "comet:./back", "local:./home")
    run(tmp_path, "migrate", "comet:./archives", "local:./straight")
    assert "2 identical;" in run(tmp_path, "verify", "local:./straight", "local:./home")


def test_one_archive_that_cannot_be_read_keeps_no_other_back(tmp_path: Path) -> None:
    finished = write_archive(tmp_path / "finished", "finished")
    archives = finished.zip.parent
    (archives / "broken.zip").write_bytes(finished.zip.read_bytes()[:100])
    listing = run(tmp_path, "runs", f"comet:{archives}")
    assert "broken.zip (cannot be read)" in listing
    assert finished.key in listing
    report = run(tmp_path, "migrate", f"comet:{archives}", "local:./there", code=1)
    assert "1 failed, 1 migrated" in report
    assert "broken.zip is no archive of Comet's: File is not a zip file" in report
    assert finished.key in run(tmp_path, "runs", "local:./there")


def test_what_is_no_place_is_said_in_one_line(tmp_path: Path) -> None:
    assert run(tmp_path, "runs", "comet:./nothing", code=1) == f"multitrack: there is no archive or folder {tmp_path / 'nothing'}\n"
    assert "Did you mean ./x.zip?" in run(tmp_path, "runs", "comet:x.zip", code=1)

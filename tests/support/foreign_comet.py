"""Archives as Comet's own SDK writes them: this file is the program, and `write_archive` runs it.

python foreign_comet.py FOLDER finished|killed
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

GIT = ("git", "-c", "user.email=ann@example.org", "-c", "user.name=Ann")
REMOTE = "https://example.org/digits.git"


@dataclass(frozen=True)
class Written:
    """What the program left."""

    key: str
    zip: Path
    folder: Path
    """In which the SDK kept what it was told."""
    commit: str


def write_archive(root: Path, ending: str) -> Written:
    """Let Comet's SDK write an offline experiment, from within a git repository with a change."""
    work = root / "work"
    work.mkdir(parents=True)
    (work / "train.txt").write_text("one\n")
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"], ["remote", "add", "origin", REMOTE]):
        subprocess.run([*GIT, *arguments], cwd=work, check=True, capture_output=True)
    (work / "train.txt").write_text("two\n")
    commit = subprocess.run([*GIT, "rev-parse", "HEAD"], cwd=work, check=True, capture_output=True, text=True).stdout.strip()
    (root / "tmp").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(root),
        "TMPDIR": str(root / "tmp"),
        "COMET_DISABLE_AUTO_LOGGING": "1",
        "COMET_ERROR_TRACKING_ENABLE": "0",
        "COMET_OFFLINE_DIRECTORY": str(root / "archives"),
    }
    command = [sys.executable, __file__, str(root / "archives"), ending]
    done = subprocess.run(command, cwd=work, env=environment, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == (0 if ending == "finished" else -9), done.stderr
    key, folder = (root / "work" / "told").read_text().split()
    return Written(key, root / "archives" / f"{key}.zip", Path(folder), commit)


def _record(place: str, ending: str) -> None:
    import time

    from comet_ml import OfflineExperiment

    run = OfflineExperiment(
        offline_directory=place, project_name="digits", workspace="team", display_summary_level=0, log_env_gpu=False, log_env_cpu=False
    )
    Path("told").write_text(f"{run.id} {run.tmpdir}")
    run.set_name("svc")
    run.add_tags(["base"])
    run.log_other("verdict", "good")
    run.log_parameters({"lr": 0.1, "model": {"depth": 3, "wide": True}, "none": None, "list": [1, 2], "x" * 150: "y" * 1500})
    for step in range(4):
        run.log_metric("loss", 1 / (step + 1), step=step, epoch=step // 2)
    with run.train():
        run.log_metric("acc", 0.5, step=1, epoch=0)
    for step, value in enumerate((float("nan"), float("inf"), float("-inf"), 2**70, 3)):
        run.log_metric("odd", value, step=step + 0.5, epoch=2)
    Path("a.txt").write_text("content")
    run.log_asset("a.txt", file_name="x/a.txt", step=2, metadata={"k": 1})
    run.log_asset("a.txt", file_name="/abs/../a.txt")
    run.log_asset("a.txt", file_name="twice.txt")
    run.log_asset("a.txt", file_name="twice.txt")
    run.log_text("a text", step=3)
    run.log_html("<b>report</b>")
    run.log_remote_asset("s3://bucket/key", remote_file_name="far/key")
    run.log_model("net", "a.txt")
    print("a line of output")
    print("a line of errors", file=sys.stderr)
    run.log_metric("last", 1.0, step=9, epoch=2)
    if ending == "killed":
        messages = Path(run.tmpdir) / "messages.json"
        while b'"last"' not in messages.read_bytes():
            time.sleep(0.02)
        os.kill(os.getpid(), 9)
    run.end()


if __name__ == "__main__":
    _record(*sys.argv[1:])

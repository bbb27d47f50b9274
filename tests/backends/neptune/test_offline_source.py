"""Folders that the real 1.x client writes, in processes of their own: one that ends well, one that is killed, one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from multitrack.backend import RunFilter, RunRef
from multitrack.errors import PermanentError
from multitrack.migration import migrate
from multitrack.records import Artifact, ArtifactRef
from multitrack.state import RunState, fold
from multitrack.verification import verify
from multitrack_neptune import NeptuneBackend, NeptuneSettings

pytestmark = pytest.mark.slow

START = """
import base64, datetime, os, signal, neptune
from neptune.types import File
run = neptune.init_run(mode="offline", name="hello", description="why", tags=["a", "b"], source_files=["*.py"],
                       capture_hardware_metrics=False, capture_stdout=True, capture_stderr=False)
"""
WHOLE = (
    START
    + """
run["params"] = {"lr": 0.1, "n": 3, "flag": True, "opt": "adam"}
run["when"] = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
for i in range(5):
    run["metrics/loss"].append(1 / (i + 1), step=i * 0.5, timestamp=1700000000.25 + i)
run["metrics/acc"].append(1.0)
run["metrics/acc"].append(2.0)
run["monitoring/abcd1234/cpu"].append(12.5)
run["text"].append("hello")
print("one", "two")
run["file"].upload("notes.txt")
run["content"].upload(File.from_content("abc", extension="md"))
run["gone"].upload("gone.txt")
run["files"].upload_files("*.txt")
run["data/train"].track_files("notes.txt")
run["source_code/requirements"].upload("requirements.txt")
run["sys/group_tags"].add(["g"])
run["mistake"] = 1
del run["mistake"]
png = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
run["img"].append(File.from_content(png, extension="png"), step=3, name="a dot")
run.stop()
"""
)
KILLED = (
    START
    + """
for i in range(500):
    run["loss"].append(i / 2, step=i)
os.kill(os.getpid(), signal.SIGKILL)
"""
)
FAILED = (
    START
    + """
run["sys/failed"] = True
run.stop()
"""
)


def write(folder: Path, program: str) -> None:
    folder.mkdir()
    for name, text in {"notes.txt": "notes", "gone.txt": "x", "requirements.txt": "numpy==2.0.0\n", "train.py": program}.items():
        (folder / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEPTUNE")}
    subprocess.run([sys.executable, "train.py"], cwd=folder, env=environment, capture_output=True, check=False, timeout=120)
    (folder / "gone.txt").unlink()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("neptune")
    for name, program in (("whole", WHOLE), ("killed", KILLED), ("failed", FAILED)):
        write(root / name, program)
    return root


def read(folder: Path, settings: NeptuneSettings | None = None) -> tuple[RunRef, RunState]:
    source = NeptuneBackend(str(folder), settings).source()
    (run,) = source.runs(RunFilter())
    return run, fold(source.read(run))


def test_a_run_of_the_real_client_is_read_whole(folder: Path) -> None:
    ref, run = read(folder / "whole")
    assert (run.id, run.project, run.name, run.notes, run.group, run.status) == (ref.id, "offline", "hello", "why", "g", "finished")
    assert (ref.status, ref.started, ref.ended) == (run.status, run.started, run.ended)
    assert {"a": None, "b": None}.items() <= run.tags.items()
    assert run.params == {
        "params": {"lr": 0.1, "n": 3, "flag": True, "opt": "adam"},
        "when": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC).isoformat(),
    }
    assert [type(value) for value in run.params["params"].values()] == [bool, float, int, str]
    loss = run.metrics["metrics/loss"]
    assert loss.steps == [0, 0.5, 1, 1.5, 2]
    assert loss.values == [1.0, 0.5, 1 / 3, 0.25, 0.2]
    assert loss.times == [1_700_000_000_250_000 + place * 1_000_000 for place in range(5)]
    assert run.metrics["metrics/acc"].steps == [0, 1]
    assert (run.metrics["system/cpu"].values, run.metrics["system/cpu"].source) == ([12.5], "system")
    assert run.metrics["text"].values == ["hello"]
    assert "one two" in [line.text for line in run.console]
    assert run.code is not None
    assert run.code.entry_point == "train.py"
    assert [module.name for module in run.code.modules] == ["code/modules/train.py"]
    assert run.environments[run.host].packages == {"numpy": "2.0.0"}
    ((name, _, digest),) = run.data
    assert (name, digest) == ("data/train", None)


def test_files_and_images_have_their_contents_and_a_lost_one_its_reason(folder: Path, tmp_path: Path) -> None:
    source = NeptuneBackend(str(folder / "whole")).source()
    (ref,) = source.runs(RunFilter())
    run = fold(source.read(ref))
    wanted = {"file.txt": b"notes", "content.md": b"abc", "files/notes.txt": b"notes", "files/requirements.txt": b"numpy==2.0.0\n"}
    for name, content in wanted.items():
        source.fetch(ref, run.artifacts[name], tmp_path / "content")
        assert (tmp_path / "content").read_bytes() == content
    (point,) = run.metrics["img"].values
    assert isinstance(point, ArtifactRef)
    image = run.artifacts[point.name]
    assert (image.step, image.metadata) == (3, {"name": "a dot"})
    source.fetch(ref, image, tmp_path / "image")
    assert (tmp_path / "image").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(PermanentError, match=r"gone.txt is not on this machine"):
        source.fetch(ref, run.artifacts["gone.txt"], tmp_path / "gone")
    with pytest.raises(PermanentError, match="no artifact"):
        source.fetch(ref, Artifact(time=0, name="never"), tmp_path / "never")


def test_files_of_somebody_elses_folder_are_left_alone_where_that_is_wanted(folder: Path, tmp_path: Path) -> None:
    source = NeptuneBackend(str(folder / "whole"), NeptuneSettings(local_files=False)).source()
    (ref,) = source.runs(RunFilter())
    run = fold(source.read(ref))
    source.fetch(ref, run.artifacts["content.md"], tmp_path / "kept")  # the client's own copy, in the folder
    with pytest.raises(PermanentError, match="left alone"):
        source.fetch(ref, run.artifacts["file.txt"], tmp_path / "file")
    assert not run.environments[run.host].packages


def test_what_a_killed_client_lost_is_counted(folder: Path) -> None:
    ref, run = read(folder / "killed")
    assert (ref.status, run.status) == ("crashed", "crashed")
    (log,) = (folder / "killed" / ".neptune" / "offline").iterdir()
    put = int((log / "last_put_version").read_text())
    kept = len(run.metrics["loss"])
    other = sum(1 for line in (log / "data-1.log").read_text().splitlines() if line.endswith("}") and '"LogFloats"' not in line)
    lost = put - kept - other
    assert lost > 0
    assert run.failures["neptune operations"].startswith(f"{lost:,} of {put:,} operations")
    assert run.metrics["loss"].steps == list(range(kept))


def test_a_run_that_failed(folder: Path) -> None:
    ref, run = read(folder / "failed")
    assert (ref.status, run.status) == ("failed", "failed")


def test_a_run_moves_with_all_it_has_and_what_is_lost_is_named(folder: Path, tmp_path: Path) -> None:
    report = migrate(f"neptune:{folder}", f"local:{tmp_path / 'store'}")
    assert report.ok
    assert report.counts == {"migrated": 3}
    killed, gone = sorted(outcome.problems for outcome in report.outcomes if outcome.problems)
    assert (len(killed), len(gone)) == (1, 1)
    assert "never reached run__" in killed[0]
    assert "gone.txt is not on this machine" in gone[0]
    assert migrate(f"neptune:{folder}", f"local:{tmp_path / 'store'}").counts == {"unchanged": 3}


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_holds_no_runs(tmp_path: Path, there: bool) -> None:
    place = tmp_path if there else tmp_path / "nowhere"
    with pytest.raises(PermanentError, match=r"neither a neptune-exporter folder nor|there is no folder"):
        NeptuneBackend(str(place)).source()


def test_a_project_is_told_by_a_setting(folder: Path) -> None:
    ref, _ = read(folder / "whole", NeptuneSettings(project="acme/vision"))
    assert ref.project == "acme/vision"


def test_a_run_moves_into_a_folder_that_is_not_there_yet(folder: Path, tmp_path: Path) -> None:
    report = migrate(f"neptune:{folder / 'whole'}", f"neptune:{tmp_path / 'out'}")
    assert report.ok
    (run,) = verify(f"neptune:{folder / 'whole'}", f"neptune:{tmp_path / 'out'}").runs
    assert [difference.field for difference in run.differences] == ["artifact 'gone.txt'"]  # of which nobody has the content
    assert run.attached == "exact"
    assert migrate(f"neptune:{folder / 'whole'}", f"neptune:{tmp_path / 'out'}").counts == {"unchanged": 1}

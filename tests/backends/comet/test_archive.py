"""Archives that are damaged, hostile or not archives at all: one clear line each, and the others are read all the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from multitrack.backend import RunFilter
from multitrack.errors import PermanentError
from multitrack.records import Artifact
from multitrack.state import RunState, fold
from multitrack_comet import CometBackend

KEY = "a" * 32
TOLD = {"offline_id": KEY, "project_name": "digits", "workspace": "team", "start_time": 1000, "stop_time": 2000, "tags": []}
POINT: dict[str, Any] = {"local_timestamp": 1500, "metric": {"metricName": "loss", "metricValue": 0.5, "step": 1, "epoch": None}}


def line(kind: str, payload: Mapping[str, object]) -> str:
    return json.dumps({"type": kind, "payload": payload}) + "\n"


def write_zip(path: Path, files: Mapping[str, str | bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def whole(*messages: str, **told: object) -> dict[str, str | bytes]:
    return {"experiment.json": json.dumps({**TOLD, **told}), "messages.json": "".join(messages) or line("metric_msg", POINT)}


def read(path: Path) -> RunState:
    source = CometBackend(str(path)).source()
    (ref,) = source.runs(RunFilter())
    return fold(source.read(ref))


def refusal(path: Path) -> str:
    with pytest.raises(PermanentError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def test_what_is_no_zip_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(b"no zip")
    assert "is no archive of Comet's: File is not a zip file" in refusal(path)


def test_a_zip_of_something_else_is_said(tmp_path: Path) -> None:
    assert "there is no messages.json in it" in refusal(write_zip(tmp_path / "x.zip", {"photo.png": b"x"}))


def test_a_damaged_member_is_said(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", whole())
    data = bytearray(path.read_bytes())
    at = data.index(b"metricValue")
    data[at : at + 4] = b"XXXX"
    path.write_bytes(data)
    assert "messages.json cannot be read: Bad CRC-32" in refusal(path)


def test_a_zip_that_was_cut_is_said(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", whole())
    path.write_bytes(path.read_bytes()[:-40])
    assert "is no archive of Comet's" in refusal(path)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x", "sub/x", ".."])
def test_a_name_that_leads_out_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = write_zip(folder / "x.zip", {**whole(), name: b"evil"})
    assert "leads out of it; nothing of it is read" in refusal(path)
    assert [file.name for file in tmp_path.rglob("*")] == ["in", "x.zip"]


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {**whole(), "messages.json": b"0" * (32 << 20)}, zipfile.ZIP_DEFLATED)
    assert "would unpack from" in refusal(path)


def test_a_well_packed_archive_is_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", whole(line("metric_msg", POINT) * 5000), zipfile.ZIP_DEFLATED)
    assert len(read(path).metrics["loss"]) == 5000


@pytest.mark.parametrize("told", ["no JSON", "[]", ""])
def test_a_damaged_description_is_said(tmp_path: Path, told: str) -> None:
    assert "experiment.json is damaged" in refusal(write_zip(tmp_path / "x.zip", {**whole(), "experiment.json": told}))


@pytest.mark.parametrize("file", ["../secret", "/etc/passwd", "link"])
def test_a_message_cannot_name_a_file_outside_its_folder(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    details = {"assetId": "1", "fileName": "x", "context": None, "step": None}
    upload = {"additional_params": details, "file_path": file, "local_timestamp": 1, "upload_type": "asset"}
    (folder / "messages.json").write_text(line("file_upload", upload))
    source = CometBackend(str(folder)).source()
    (ref,) = source.runs(RunFilter())
    artifact = next(record for record in source.read(ref) if isinstance(record, Artifact))
    with pytest.raises(PermanentError, match="there is no file"):
        source.fetch(ref, artifact, tmp_path / "content")


def test_the_others_are_read_beside_one_that_cannot_be(tmp_path: Path) -> None:
    write_zip(tmp_path / "good.zip", whole())
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    source = CometBackend(str(tmp_path)).source()
    found = {ref.native_id: ref for ref in source.runs(RunFilter())}
    assert found.keys() == {KEY, "bad"}
    assert fold(source.read(found[KEY])).metrics["loss"].values == [0.5]
    assert (found["bad"].name, found["bad"].status) == ("bad.zip (cannot be read)", None)
    with pytest.raises(PermanentError, match="is no archive of Comet's"):
        list(source.read(found["bad"]))


def test_lines_that_are_no_messages_are_counted_and_passed_over(tmp_path: Path) -> None:
    bad = ["no JSON\n", "[]\n", '{"type": "log_other", "payload": {}}\n', line("parameter_msg", {"param": 3})]
    metric = POINT["metric"]
    for wrong in ({"metricValue": None}, {"metricName": 3}, {"step": "x"}, {"epoch": []}):
        bad.append(json.dumps({"payload": {**POINT, "metric": {**metric, **wrong}}, "type": "metric_msg"}, separators=(",", ":")) + "\n")
    bad.append('{"payload":{"local_timestamp":"x","metric":{"metricName":"loss","metricValue":1,"step":1}},"type":"metric_msg"}\n')
    write_zip(tmp_path / "x.zip", whole(*bad, line("metric_msg", POINT), line("from_tomorrow", {"x": 1})))
    source = CometBackend(str(tmp_path)).source()
    (ref,) = source.runs(RunFilter())
    assert fold(source.read(ref)).metrics["loss"].values == [0.5]
    assert source.problems(ref) == ("9 damaged lines of messages.json were passed over",)


def test_a_last_line_that_was_not_written_whole_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "messages.json").write_text(line("metric_msg", POINT) + line("metric_msg", POINT)[:-20])
    source = CometBackend(str(tmp_path)).source()
    (ref,) = source.runs(RunFilter())
    assert fold(source.read(ref)).metrics["loss"].values == [0.5]
    assert (ref.status, source.problems(ref)) == ("crashed", ())


def test_messages_of_an_old_sdk_are_read(tmp_path: Path) -> None:
    messages = [
        line("ws_msg", {"local_timestamp": 1500, "metric": POINT["metric"], "context": None}),
        line("ws_msg", {"local_timestamp": 1500, "param": {"paramName": "lr", "paramValue": 0.1, "step": None}}),
        line("ws_msg", {"local_timestamp": 1500, "log_other": {"key": "Name", "val": "old"}}),
        line("ws_msg", {"local_timestamp": 1500, "stdout": "hello\n", "stderr": False}),
        line("ws_msg", {"local_timestamp": 1500, "fileName": "train.py"}),
        line("ws_msg", {"local_timestamp": 1500, "git_meta": {"parent": "c0ffee", "branch": "refs/heads/main", "origin": None}}),
        line("ws_msg", {"local_timestamp": 1500, "env_details": {"hostname": "node1", "user": "ann", "python_version": "3.6.9"}}),
    ]
    state = read(write_zip(tmp_path / "x.zip", whole(*messages, offline_id=None)))
    assert state.metrics["loss"].values == [0.5]
    assert (state.params, state.name, state.user, state.host) == ({"lr": 0.1}, "old", "ann", "node1")
    assert [text.text for text in state.console] == ["hello"]
    assert state.code is not None
    assert (state.code.commit, state.code.branch, state.code.entry_point) == ("c0ffee", "main", "train.py")


def test_an_archive_without_a_project_is_in_comets_default_one(tmp_path: Path) -> None:
    assert read(write_zip(tmp_path / "x.zip", whole(project_name=None))).project == "general"


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="there is no archive or folder"):
        CometBackend(str(tmp_path / "nothing")).source()
    assert list(CometBackend(str(tmp_path)).source().runs(RunFilter())) == []


def test_a_run_that_went_while_it_was_read_is_said(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", whole())
    source = CometBackend(str(tmp_path)).source()
    (ref,) = source.runs(RunFilter())
    path.unlink()
    with pytest.raises(PermanentError, match="no longer in"):
        list(source.read(ref))


def test_a_changed_archive_has_another_version(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", whole())
    source = CometBackend(str(tmp_path)).source()
    (before,) = source.runs(RunFilter())
    write_zip(path, whole(line("metric_msg", POINT), line("metric_msg", POINT)))
    (after,) = source.runs(RunFilter())
    assert before.version != after.version
    assert len(fold(source.read(after)).metrics["loss"]) == 2


def test_check_tells_what_is_there_and_makes_nothing(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", whole())
    shutil.copy(tmp_path / "x.zip", tmp_path / "y.zip")
    assert CometBackend(str(tmp_path)).check() == f"2 archives in {tmp_path}"
    assert CometBackend(str(tmp_path / "none")).check() == f"no archives in {tmp_path / 'none'} yet; the first run makes the folder"
    assert not (tmp_path / "none").exists()


def test_archives_need_no_comet_ml(tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", whole())
    program = (
        "import sys; sys.modules['comet_ml'] = None\n"
        "import multitrack as mt\n"
        f"with mt.open('comet:{tmp_path}/x.zip') as store: print(next(iter(store.runs())).project)\n"
        f"run = mt.init(project='p', backends=['comet:{tmp_path}/out'], dir='{tmp_path}/store', mode='inline')\n"
        "run.log({'a': 1}); run.finish()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[0] == "digits"
    assert len(list((tmp_path / "out").glob("*.zip"))) == 1

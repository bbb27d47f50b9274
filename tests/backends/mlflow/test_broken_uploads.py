"""What MLflow leaves behind when an upload is broken off."""

from __future__ import annotations

from pathlib import Path

from multitrack_mlflow.files import LocalFolder


def test_a_file_that_was_being_uploaded_is_no_artifact(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("a.txt", ".artifact.uploading.1avmrudf", "models/.artifact.uploading.x", "models/.hidden"):
        (tmp_path / name).write_text("x")
    assert [file[0] for file in LocalFolder(tmp_path).walk()] == ["a.txt", "models/.hidden"]

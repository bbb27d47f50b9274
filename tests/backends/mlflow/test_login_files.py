"""Which of the vendors' own files hold a login: told to people by `doctor`, which reads no secret from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitrack_mlflow.login_files import find_login_files

FILES = {
    ".mlflow/credentials": "[mlflow]\nmlflow_tracking_username = a\nmlflow_tracking_password = 100%\n",
    ".databrickscfg": "[DEFAULT]\nhost = https://x\ntoken = t\n[team]\nhost = https://y\n",
    ".netrc": "machine tracking.example.com login a password b\n",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o600)
    return tmp_path


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://tracking.example.com/base", [".mlflow/credentials", ".netrc"]),
        ("http://127.0.0.1:5000", [".mlflow/credentials"]),
        ("databricks", [".databrickscfg"]),
        ("databricks://team", [".databrickscfg"]),
        ("databricks://other", []),
        ("sqlite:////x.db", []),
        (None, []),
    ],
)
def test_a_login_is_found_where_mlflow_takes_it_from(home: Path, location: str | None, expected: list[str]) -> None:
    assert list(find_login_files(location, home)) == [home / name for name in expected]


def test_what_holds_no_login_is_not_named(tmp_path: Path) -> None:
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow/credentials").write_text("[other]\nx = 1\n")
    (tmp_path / ".databrickscfg").write_text("no section\n")
    (tmp_path / ".netrc").write_bytes(b"machine \xff\n")
    assert list(find_login_files("https://tracking.example.com", tmp_path)) == []
    assert list(find_login_files("databricks", tmp_path)) == []


def test_mlflow_takes_its_login_from_that_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.utils.credentials import read_mlflow_creds

    monkeypatch.setenv("HOME", str(home))
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    (home / ".mlflow/credentials").write_text(FILES[".mlflow/credentials"].replace("%", ""))
    assert read_mlflow_creds().username == "a"
    assert find_login_files("https://x", home)

"""Comet's SDK in a process of ours: nothing of what its import does to others, and nothing of the key in a log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from multitrack.errors import PermanentError
from multitrack_comet import sdk
from services.comet.double import CometDouble

LOAD = """
import logging, os, sys
hook = sys.excepthook
from multitrack_comet.sdk import load_sdk
assert "comet_ml" not in sys.modules
assert load_sdk() is load_sdk() is sys.modules["comet_ml"]
assert sys.excepthook is hook
assert "Comet" not in repr(sys.meta_path)
assert not logging.getLogger("comet_ml").handlers
assert "COMET_DISABLE_AUTO_LOGGING" not in os.environ
assert "COMET_ERROR_TRACKING_ENABLE" not in os.environ
assert "sentry_sdk" not in sys.modules or not sys.modules["sentry_sdk"].Hub.current.client
"""
DELIVER = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from pydantic import SecretStr
from multitrack.backend import Batch, Entry
from multitrack.records import Hyperparameters, RunStarted
from multitrack_comet import CometBackend, CometSettings
backend = CometBackend("team/", CometSettings(api_key=SecretStr({key!r}), url={url!r}))
print(backend.check())
sink = backend.sink()
run = RunStarted(time=0, id="a" * 32, project="digits")
sink.open(run)
sink.write(Batch(1, [Entry("w", 0, run), Entry("w", 1, Hyperparameters(time=0, values={{"lr": "0.1"}}))], lambda _: None))
sink.close()
"""


def python(script: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_it_is_imported_without_its_patches(tmp_path: Path) -> None:
    python(LOAD, tmp_path)


@pytest.mark.slow
def test_no_log_holds_the_key(tmp_path: Path, comet: CometDouble) -> None:
    said = python(DELIVER.format(key=comet.api_key, url=comet.root), tmp_path)
    assert "as ann" in said
    assert comet.experiment("a" * 32).params["lr"].current == "0.1"
    assert comet.api_key not in said


@pytest.mark.parametrize("installed", ["3.57.4", "4.0.0", "2.1"])
def test_a_version_outside_the_bounds_is_refused(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: installed)
    monkeypatch.delitem(sys.modules, "comet_ml", raising=False)
    with pytest.raises(PermanentError, match=rf"comet-ml {installed} is installed.*3\.58 to below 4.*pip install"):
        sdk.load_sdk()
    assert "comet_ml" not in sys.modules

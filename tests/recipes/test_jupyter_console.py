"""What the cells of a notebook print, run by a real kernel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from multitrack.journal import Journal, Store
from multitrack.state import fold

pytestmark = pytest.mark.slow

CELLS = [
    "import sys, logging, multitrack as mt; print('before')",
    "run = mt.init(quiet=True); print('first cell')",
    "print('to standard error', file=sys.stderr)",
    "for n in range(4): print(f'\\rbar {n}', end='')\nprint()",
    "run.finish(); print('behind')",
]


def test_cells_show_and_record_what_they_print(tmp_path: Path) -> None:
    kernel = KernelManager()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MULTITRACK_")}
    env = {"MULTITRACK_DIR": str(tmp_path / "store"), "MULTITRACK_CAPTURE": "console", "IPYTHONDIR": str(tmp_path / ".ipython")}
    kernel.start_kernel(cwd=str(tmp_path), env={**plain, **env})
    client: Any = kernel.blocking_client()
    shown: dict[str, str] = {"stdout": "", "stderr": ""}

    def show(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            shown[message["content"]["name"]] += message["content"]["text"]

    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        for cell in CELLS:
            assert client.execute_interactive(cell, timeout=60, output_hook=show)["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    assert shown["stdout"] == "before\nfirst cell\n" + "".join(f"\rbar {n}" for n in range(4)) + "\nbehind\n"
    assert shown["stderr"] == "to standard error\n"
    (folder,) = Store(tmp_path / "store").runs()
    console = fold(Journal(folder).records()).console
    assert [(line.stream, line.text) for line in console] == [
        ("stdout", "first cell"),
        ("stdout", "bar 3"),
        ("stderr", "to standard error"),
    ]

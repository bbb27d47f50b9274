"""Writes down what a program printed that can no longer do it itself: it was killed, it aborted, or left by `os._exit`.

Started by the pump (see there), with what is to be written on standard input. A run that has ended meanwhile is left alone.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

from ...delivery.ledger import Ledger
from ...journal import Journal, JournalWriter, RunFolder
from ...masking import Mask
from ...records import now
from ..recorder import Recorder
from . import pump
from .lines import Lines
from .places import Split
from .streams import Stream
from .writer import LineWriter


def main() -> None:
    """Read, and write."""
    left = json.load(sys.stdin)
    printed = [(kind.encode(), place, time, base64.b64decode(data)) for kind, place, time, data in left["printed"]]
    for run in left["runs"]:
        write_down(run, printed, shared=left["shared"])


def write_down(run: dict[str, Any], printed: list[tuple[bytes, int, int, bytes]], *, shared: bool) -> None:
    """Write what is left of one run: `run` is what `Console.state` returned, `printed` what the pump kept: kind, place, time, data."""
    folder = RunFolder(Path(run["folder"]))
    if not folder.exists() or Journal(folder).verdict().status in ("finished", "failed", "killed"):
        return
    writer = JournalWriter(folder)
    try:
        lines: dict[Stream, Lines] = {"stdout": Lines(), "stderr": Lines()}
        out = LineWriter(Recorder(folder=folder, write=writer.append, mask=Mask(run["patterns"])), run["label"])
        for stream, text in run["pending"].items():
            out.add(stream, lines[stream].feed(text, run["time"]))
        places = [Split(["stdout", "stderr"])] if shared else [Split(["stdout"]), Split(["stderr"])]
        for kind, place, time, data in printed:
            parts = places[place].text(data) if kind == pump.PRINTED else [(places[place].streams[0], pump.unkept(int(data)))]
            for stream, text in parts:
                out.add(stream, lines[stream].feed(text, time))
        for stream, rest in lines.items():
            out.add(stream, rest.close(now()))
        out.close(now())
    finally:
        writer.close()
    for ledger in Ledger.of(folder):
        folder.store.add_pending(ledger.target, folder)


if __name__ == "__main__":
    main()

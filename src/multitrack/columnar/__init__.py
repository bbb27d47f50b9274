"""A run read from its journal, as quickly as its size asks for: straight from the lines, or, where it is large and pyarrow is installed,
from side files that hold the points as columns, one metric without the others.

    files.py   which side files there are, and their making      segment.py   one side file, in Parquet
    places.py  a stretch of a journal, from either               lines.py     points and other records told apart
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec

from ..journal import Journal, RunFolder
from ..state import RunState, fold, take_line

WORTH = 16 << 20
"""Bytes of lines, not covered yet, from which on a side file is made."""


def read_run(folder: RunFolder) -> RunState:
    """Return the run as its journal has it at this moment. Points that side files hold are read when they are asked for.

    Raises:
        RecordError: the journal was written by a newer multitrack.
    """
    journal = Journal(folder)
    if sum(journal.sizes().values()) >= WORTH and find_spec("pyarrow") is not None:
        from .stored import read_stored

        return read_stored(journal, WORTH)
    state = RunState()
    return fold(journal.records_but(partial(take_line, state)), state)


__all__ = ["WORTH", "read_run"]

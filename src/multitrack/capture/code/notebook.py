"""The cells that were executed, as a notebook: what was run, in that order, without what it showed."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from typing import Any

from ...masking import Mask
from ...records import Omission

NAME = "code/notebook.ipynb"
MEDIA_TYPE = "application/x-ipynb+json"


def executed_cells(shell: Any) -> list[str]:
    """Return the cells of an IPython session, as they were typed; the n-th is `In [n]`."""
    return [str(cell) for cell in shell.history_manager.input_hist_raw[1:]]


def make_notebook(cells: Sequence[str], mask: Mask) -> tuple[bytes, list[Omission]]:
    """Return cells as the JSON of a notebook (nbformat 4.5), and those left out since they seem to hold a credential."""
    shown, omitted = [], []
    for number, source in enumerate(cells, start=1):
        secret = mask.find(source.encode("utf-8", "surrogatepass"))
        text = source
        if secret is not None:
            omitted.append(Omission(name=f"{NAME}, cell {number}", reason=f"it seems to hold a credential: {secret}"))
            text = f"# left out: this cell seems to hold a credential: {secret}"
        shown.append(_cell(number, text))
    notebook = {
        "cells": shown,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "version": platform.python_version()},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1, ensure_ascii=True).encode() + b"\n", omitted


def _cell(number: int, source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": number,
        "id": f"cell-{number}",
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }

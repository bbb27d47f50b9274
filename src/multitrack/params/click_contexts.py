"""click's and typer's context: the options and arguments of a command, and of the groups that it belongs to."""

from __future__ import annotations

import sys
from typing import Any

from .given import COMMAND_LINE, DEFAULT, ENVIRONMENT, Form, Given

_SOURCES = {
    "COMMANDLINE": COMMAND_LINE,
    "ENVIRONMENT": ENVIRONMENT,
    "DEFAULT": DEFAULT,
    "DEFAULT_MAP": "file",  # what a program hands over as `default_map` it has mostly read from one
    "PROMPT": "prompt",
}


def _read(context: Any) -> Given:
    values: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    chain = [context]
    while (parent := chain[-1].parent) is not None:
        chain.append(parent)
    for each in reversed(chain):
        for name, value in each.params.items():
            values[name] = value
            source = each.get_parameter_source(name)
            sources[name] = _SOURCES.get(getattr(source, "name", ""))
    return Given(values, {name: source for name, source in sources.items() if source is not None})


CLICK = Form("click", lambda value: isinstance(value, sys.modules["click"].Context), _read)
TYPER = Form("typer", lambda value: isinstance(value, sys.modules["typer"].Context.__bases__[0]), _read)
"""typer has brought a click of its own since 0.20 or so."""

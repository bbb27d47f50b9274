"""absl's flags: all that the program and its modules define, without absl's own."""

from __future__ import annotations

import sys
from typing import Any

from .given import COMMAND_LINE, DEFAULT, Form, Given


def _is_one(value: Any) -> bool:
    return isinstance(value, sys.modules["absl.flags"].FlagValues)


def _read(value: Any) -> Given:
    values: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    for module, flags in value.flags_by_module_dict().items():
        if module.startswith("absl.") or module == "absl":
            continue
        for flag in flags:
            values[flag.name] = flag.value
            if flag.present:  # in a --flagfile, too
                sources[flag.name] = COMMAND_LINE
            elif flag.using_default_value:
                sources[flag.name] = DEFAULT
    return Given(values, sources)


ABSL = Form("absl.flags", _is_one, _read)

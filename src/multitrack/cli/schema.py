"""`multitrack schema`"""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import ConfigError, did_you_mean
from .output import print_json


def schema(kind: Annotated[str | None, typer.Argument(help="One kind of record, such as metrics; all without it.")] = None) -> None:
    """Print the JSON Schema of a journal's lines."""
    from ..records import json_schema
    from ..records.codec import RECORD_TYPES

    if kind is not None and kind not in RECORD_TYPES:
        raise ConfigError(f"there is no kind of record {kind!r}.{did_you_mean(kind, RECORD_TYPES)} There are {', '.join(RECORD_TYPES)}")
    print_json(json_schema(kind))
